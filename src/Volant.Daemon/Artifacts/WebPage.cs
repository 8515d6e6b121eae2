using System.Text;

namespace Volant.Daemon.Artifacts;

/// <summary>Recognises a web page where an image was expected: a login, a page about the file, an error with status 200.</summary>
/// <remarks>Source: WHATWG MIME Sniffing, section 7.1: what a page begins with.</remarks>
internal static class WebPage
{
    /// <summary>Bytes from the start that are looked at.</summary>
    public const int ProbeLength = 512;

    private static readonly string[] Starts = ["<!doctype html", "<html", "<head", "<!--", "<?xml"];

    /// <summary>Whether an answer is a page.</summary>
    public static bool Is(string? mediaType, ReadOnlySpan<byte> start)
    {
        if (mediaType is "text/html" or "application/xhtml+xml")
        {
            return true;
        }

        var text = Encoding.Latin1.GetString(start[..Math.Min(start.Length, ProbeLength)]).TrimStart('ï', '»', '¿', ' ', '\t', '\r', '\n', '\f');
        return Starts.Any(prefix => text.StartsWith(prefix, StringComparison.OrdinalIgnoreCase));
    }
}
