using System.Buffers;
using System.Text.Encodings.Web;
using System.Text.Json;

namespace Volant.Cli.Output;

/// <summary>Writes JSON as block-style YAML 1.2.</summary>
/// <remarks>
/// Text that could be taken for anything else stands in double quotes with JSON's escapes, which YAML 1.2 shares (section 7.3.1): no library
/// is needed to write, only to read.
/// </remarks>
internal static class YamlWriter
{
    private const int Step = 2;

    private static readonly SearchValues<char> Plain = SearchValues.Create("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_./@+-");

    /// <summary>Words that YAML 1.1 readers, which are still around, take for something else than text.</summary>
    private static readonly HashSet<string> Reserved = new(StringComparer.OrdinalIgnoreCase) { "null", "true", "false", "yes", "no", "on", "off", "y", "n" };

    /// <summary>Writes one value and a line break.</summary>
    public static void Write(TextWriter writer, JsonElement value)
    {
        if (IsBlock(value))
        {
            WriteBlock(writer, value, indent: 0, startsLine: true);
        }
        else
        {
            writer.WriteLine(Scalar(value));
        }
    }

    private static void WriteBlock(TextWriter writer, JsonElement value, int indent, bool startsLine)
    {
        var first = startsLine;
        if (value.ValueKind == JsonValueKind.Object)
        {
            foreach (var member in value.EnumerateObject())
            {
                Indent(writer, indent, ref first, startsLine);
                writer.Write(Quote(member.Name));
                writer.Write(':');
                if (!IsBlock(member.Value))
                {
                    writer.Write(' ');
                    writer.WriteLine(Scalar(member.Value));
                    continue;
                }

                writer.WriteLine();
                WriteBlock(writer, member.Value, indent + Step, startsLine: true);
            }

            return;
        }

        foreach (var item in value.EnumerateArray())
        {
            Indent(writer, indent, ref first, startsLine);
            writer.Write("- ");
            if (IsBlock(item))
            {
                WriteBlock(writer, item, indent + Step, startsLine: false);
            }
            else
            {
                writer.WriteLine(Scalar(item));
            }
        }
    }

    /// <summary>The first line of what follows a dash has its indentation already.</summary>
    private static void Indent(TextWriter writer, int indent, ref bool first, bool startsLine)
    {
        if (first || startsLine)
        {
            writer.Write(new string(' ', indent));
        }

        first = true;
    }

    private static bool IsBlock(JsonElement value) =>
        (value.ValueKind == JsonValueKind.Object && value.EnumerateObject().Any()) || (value.ValueKind == JsonValueKind.Array && value.GetArrayLength() > 0);

    private static string Scalar(JsonElement value) => value.ValueKind switch
    {
        JsonValueKind.Object => "{}",
        JsonValueKind.Array => "[]",
        JsonValueKind.String => Quote(value.GetString() ?? string.Empty),
        _ => value.GetRawText(),
    };

    private static string Quote(string text) =>
        text.Length > 0 && (char.IsAsciiLetter(text[0]) || text[0] is '/' or '_') && !text.AsSpan().ContainsAnyExcept(Plain) && !Reserved.Contains(text)
            ? text
            : $"\"{Escape(text)}\"";

    /// <summary>Beyond JSON's own: what YAML does not allow in a line, or what could drive a terminal.</summary>
    private static string Escape(string text) => TerminalText.EscapeHostile(JavaScriptEncoder.UnsafeRelaxedJsonEscaping.Encode(text));
}
