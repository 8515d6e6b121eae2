using System.Globalization;
using System.Text;

namespace Volant.Linux.Kernel;

/// <summary>A mount that this process can see.</summary>
/// <param name="Source">Device, or whatever word the mount was made with.</param>
/// <param name="Target">Where it is mounted, seen from the root directory of this process.</param>
/// <param name="Type">Kind of file system.</param>
/// <param name="IsReadOnly">Whether nothing can be written through it.</param>
public readonly record struct MountEntry(string Source, string Target, string Type, bool IsReadOnly);

/// <summary>What is mounted, in the order in which it was mounted (<c>/proc/mounts</c>, fstab(5)).</summary>
public static class MountTable
{
    private const string File = "/proc/mounts";
    private const int EscapeLength = 4;

    /// <summary>The mounts of this process.</summary>
    /// <exception cref="IOException">There is no /proc.</exception>
    public static IReadOnlyList<MountEntry> Read() => Parse(System.IO.File.ReadAllText(File));

    /// <summary>Reads the text of <c>/proc/mounts</c>; a line that is none is left out.</summary>
    internal static IReadOnlyList<MountEntry> Parse(string text)
    {
        var entries = new List<MountEntry>();
        foreach (var line in text.Split('\n', StringSplitOptions.RemoveEmptyEntries))
        {
            if (line.Split(' ') is [var source, var target, var type, var options, ..])
            {
                entries.Add(new MountEntry(Unescape(source), Unescape(target), type, options.Split(',').Contains("ro", StringComparer.Ordinal)));
            }
        }

        return entries;
    }

    /// <summary>White space and backslashes stand as three octal digits behind a backslash; each is one byte of UTF-8.</summary>
    private static string Unescape(string field)
    {
        if (!field.Contains('\\', StringComparison.Ordinal))
        {
            return field;
        }

        var bytes = new List<byte>();
        for (var i = 0; i < field.Length; i++)
        {
            if (field[i] == '\\' && i + EscapeLength <= field.Length && field[(i + 1)..(i + EscapeLength)].All(c => c is >= '0' and <= '7'))
            {
                bytes.Add((byte)(((field[i + 1] - '0') << 6) | ((field[i + 2] - '0') << 3) | (field[i + 3] - '0')));
                i += EscapeLength - 1;
            }
            else
            {
                bytes.AddRange(Encoding.UTF8.GetBytes(field[i].ToString(CultureInfo.InvariantCulture)));
            }
        }

        return Encoding.UTF8.GetString([.. bytes]);
    }
}
