using System.Globalization;
using System.Text;
using Volant.Contracts.Api;
using Volant.Linux.Processes;

namespace Volant.Agent.Commands;

/// <summary>A user of the guest.</summary>
/// <param name="Name">Login name; the number when it has none.</param>
/// <param name="Home">Home directory.</param>
/// <param name="Rights">For the kernel.</param>
internal sealed record GuestUser(string Name, string Home, ProcessUser Rights)
{
    /// <summary>Root, who is there without any file.</summary>
    public static GuestUser Root { get; } = new("root", Directory.Exists("/root") ? "/root" : "/", new ProcessUser(0, 0, []));
}

/// <summary>Reads users from /etc/passwd and /etc/group (<c>man 5 passwd</c>, <c>man 5 group</c>): the C library's own look-up needs shared libraries.</summary>
/// <param name="directory">Where the two files are.</param>
internal sealed class UserDatabase(string directory = "/etc")
{
    private const int MaxBytes = 1024 * 1024;
    private const int MaxGroups = 1024;

    /// <summary>Finds a user.</summary>
    /// <param name="text"><c>USER</c> or <c>USER:GROUP</c>, names or numbers. A number that /etc/passwd does not have gets the group of the same number.</param>
    /// <exception cref="FormatException">A name that does not exist, or not such a text; the message says so.</exception>
    public GuestUser Find(string text)
    {
        if (!UserText.IsValid(text))
        {
            throw new FormatException($"The user '{text}' {UserText.Rule}.");
        }

        var parts = text.Split(':');
        var (name, uid, gid, home) = FindUser(parts[0]);
        if (parts is [_, var group])
        {
            // Like su: who names a group gets that one alone.
            return new GuestUser(name, home, new ProcessUser(uid, FindGroup(group), []));
        }

        var groups = Lines("group").Where(fields => fields.Length >= 4 && fields[3].Split(',').Contains(name, StringComparer.Ordinal))
            .Select(fields => ToId(fields[2])).OfType<uint>().Where(id => id != gid).Distinct().Take(MaxGroups);
        return new GuestUser(name, home, new ProcessUser(uid, gid, [.. groups]));
    }

    private (string Name, uint Uid, uint Gid, string Home) FindUser(string word)
    {
        var id = ToId(word);
        foreach (var fields in Lines("passwd"))
        {
            if (fields.Length >= 6 && (fields[0] == word || (id is not null && ToId(fields[2]) == id)) && ToId(fields[2]) is { } uid && ToId(fields[3]) is { } gid)
            {
                return (fields[0], uid, gid, fields[5].StartsWith('/') ? fields[5] : "/");
            }
        }

        return (id, word) switch
        {
            (0, _) or (_, "root") => ("root", 0, 0, GuestUser.Root.Home),
            ({ } number, _) => (word, number, number, "/"),
            _ => throw new FormatException($"There is no user '{word}' in the guest's {directory}/passwd; use a number, or add the user to the image."),
        };
    }

    private uint FindGroup(string word) =>
        ToId(word) ?? Lines("group").Where(fields => fields.Length >= 3 && fields[0] == word).Select(fields => ToId(fields[2])).FirstOrDefault(id => id is not null)
            ?? (word == "root" ? 0u : throw new FormatException($"There is no group '{word}' in the guest's {directory}/group; use a number, or add the group to the image."));

    /// <summary>The fields of each line; none when there is no such file.</summary>
    private IEnumerable<string[]> Lines(string file)
    {
        string text;
        try
        {
            using var stream = File.OpenRead(Path.Combine(directory, file));
            var bytes = new byte[Math.Min(stream.Length, MaxBytes)];
            text = Encoding.UTF8.GetString(bytes, 0, stream.ReadAtLeast(bytes, bytes.Length, throwOnEndOfStream: false));
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            yield break;
        }

        foreach (var line in text.Split('\n'))
        {
            yield return line.TrimEnd('\r').Split(':');
        }
    }

    private static uint? ToId(string text) => uint.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out var id) && id != uint.MaxValue ? id : null;
}
