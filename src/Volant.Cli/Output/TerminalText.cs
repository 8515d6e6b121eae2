using System.Globalization;
using System.Text;

namespace Volant.Cli.Output;

/// <summary>Makes text of others safe to print: a server or a guest must not drive the operator's terminal.</summary>
internal static class TerminalText
{
    private const char ByteOrderMark = '\ufeff';

    /// <summary>Whether a character may act on a terminal: controls of C0, DEL and C1, and marks that reorder text.</summary>
    public static bool IsHostile(char c) => char.IsControl(c) || c is '\u061c' or '\u200e' or '\u200f' or (>= '\u2028' and <= '\u202e') or (>= '\u2066' and <= '\u2069');

    /// <summary>JSON or a part of it with <c>\u</c> escapes in place of what may act on a terminal; between its strings there are line breaks at most.</summary>
    public static string EscapeHostile(string json)
    {
        if (!json.Any(c => c != '\n' && (IsHostile(c) || c == ByteOrderMark)))
        {
            return json;
        }

        var escaped = new StringBuilder(json.Length * 2);
        foreach (var c in json)
        {
            if (c != '\n' && (IsHostile(c) || c == ByteOrderMark))
            {
                escaped.Append(CultureInfo.InvariantCulture, $"\\u{(int)c:x4}");
            }
            else
            {
                escaped.Append(c);
            }
        }

        return escaped.ToString();
    }

    /// <summary>One printable line: line breaks and tabs become spaces, every other control character is dropped.</summary>
    public static string Clean(string? text)
    {
        if (string.IsNullOrEmpty(text))
        {
            return string.Empty;
        }

        if (!text.Any(c => IsHostile(c) || char.IsSurrogate(c)))
        {
            return text;
        }

        var clean = new StringBuilder(text.Length);
        foreach (var rune in text.EnumerateRunes())
        {
            if (rune.Value is '\n' or '\r' or '\t')
            {
                clean.Append(' ');
            }
            else if (!rune.IsBmp || !IsHostile((char)rune.Value))
            {
                clean.Append(rune);
            }
        }

        return clean.ToString();
    }
}
