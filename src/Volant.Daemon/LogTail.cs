using System.Text;

namespace Volant.Daemon;

/// <summary>The end of a log file that a guest writes: bounded, and safe to show on a terminal.</summary>
internal static class LogTail
{
    private const int MaxBytes = 256 * 1024;

    /// <summary>The last lines, without control characters; empty when there is no file.</summary>
    /// <param name="path">The log file.</param>
    /// <param name="maxLines">Most lines to return; the last 256 KiB are looked at.</param>
    public static IReadOnlyList<string> Read(string path, int maxLines)
    {
        try
        {
            using var file = new FileStream(path, FileMode.Open, FileAccess.Read, FileShare.ReadWrite | FileShare.Delete);
            file.Seek(-Math.Min(file.Length, MaxBytes), SeekOrigin.End);
            var buffer = new byte[MaxBytes];
            var length = file.ReadAtLeast(buffer, buffer.Length, throwOnEndOfStream: false);
            var lines = Encoding.UTF8.GetString(buffer, 0, length).Split('\n').Select(Clean).Where(line => line.Length > 0).ToArray();
            return [.. lines.TakeLast(maxLines)];
        }
        catch (IOException)
        {
            return [];
        }
    }

    /// <summary>Removes control characters: guest text must not drive anybody's terminal.</summary>
    public static string Clean(string line) => string.Concat(line.Where(c => c == '\t' || !char.IsControl(c)));
}
