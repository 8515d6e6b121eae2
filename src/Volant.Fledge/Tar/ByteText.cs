using System.Text;

namespace Volant.Fledge.Tar;

/// <summary>Names of a Linux file system as strings that lose nothing: one character per byte, since a name need not be UTF-8.</summary>
/// <remarks>Such strings compare ordinally as the bytes do. Everything that people or manifests see goes through <see cref="Show"/>.</remarks>
internal static class ByteText
{
    /// <summary>The string of some bytes.</summary>
    public static string Of(ReadOnlySpan<byte> bytes) => Encoding.Latin1.GetString(bytes);

    /// <summary>The bytes of such a string.</summary>
    public static byte[] Bytes(string text) => Encoding.Latin1.GetBytes(text);

    /// <summary>Turns ordinary text, such as a path of a manifest, into one.</summary>
    public static string Encode(string text) => Of(Encoding.UTF8.GetBytes(text));

    /// <summary>Turns one into ordinary text; bytes that are not UTF-8 become U+FFFD.</summary>
    public static string Decode(string text) => Encoding.UTF8.GetString(Bytes(text));

    /// <summary>For messages: ordinary text that cannot command a terminal, of bounded length.</summary>
    public static string Show(string text)
    {
        var shown = string.Concat(Decode(text).Select(c => char.IsControl(c) ? '?' : c));
        return shown.Length <= 200 ? shown : shown[..200] + "…";
    }
}
