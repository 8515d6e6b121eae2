using System.Text;

namespace Volant.Daemon;

/// <summary>The end of a log file that a guest writes: bounded, and safe to show on a terminal.</summary>
internal static class LogTail
{
    private const int MaxBytes = 256 * 1024;

    /// <summary>The last lines, without control characters; empty when there is no file.</summary>
    /// <param name="path">The log file.</param>
    /// <param name="maxLines">Most lines to return; the last 256 KiB are looked at.</param>
    public static IReadOnlyList<string> Read(string path, int maxLines) =>
        [.. Encoding.UTF8.GetString(ReadBytes(path, MaxBytes)).Split('\n').Select(Clean).Where(line => line.Length > 0).TakeLast(maxLines)];

    /// <summary>The last bytes, as the guest wrote them; the file beside it is read too when the log was emptied not long ago.</summary>
    public static byte[] ReadBytes(string path, int maxBytes)
    {
        var end = ReadOne(path, maxBytes);
        return end.Length == maxBytes ? end : [.. ReadOne(PreviousOf(path), maxBytes - end.Length), .. end];
    }

    /// <summary>The file that keeps the end of a log from before it was emptied.</summary>
    public static string PreviousOf(string path) => path + ".1";

    /// <summary>Removes control characters: guest text must not drive anybody's terminal.</summary>
    public static string Clean(string line) => string.Concat(line.Where(c => c == '\t' || !char.IsControl(c)));

    private static byte[] ReadOne(string path, int maxBytes)
    {
        try
        {
            using var file = new FileStream(path, FileMode.Open, FileAccess.Read, FileShare.ReadWrite | FileShare.Delete);
            var buffer = new byte[Math.Min(file.Length, maxBytes)];
            file.Seek(-buffer.Length, SeekOrigin.End);
            var length = file.ReadAtLeast(buffer, buffer.Length, throwOnEndOfStream: false);
            return buffer[..length];
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return [];
        }
    }
}
