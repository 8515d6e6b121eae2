using System.Buffers;
using System.Text;
using System.Text.Encodings.Web;
using System.Text.Json;

namespace Volant.Cli.Output;

/// <summary>Prints JSON of the API, members and numbers as they came: indented, as YAML, or as one line.</summary>
internal static class JsonPrinter
{
    // Relaxed: text stays readable; control characters are escaped all the same, what else could drive a terminal by us.
    private static readonly JsonWriterOptions Indented = new() { Indented = true, NewLine = "\n", Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping };

    private static readonly JsonWriterOptions OneLine = Indented with { Indented = false };

    /// <summary>Prints one value and a line break.</summary>
    public static void Write(TextWriter writer, JsonElement value, OutputFormat format = OutputFormat.Json)
    {
        if (format == OutputFormat.Yaml)
        {
            YamlWriter.Write(writer, value);
        }
        else
        {
            writer.WriteLine(Text(value.WriteTo, Indented));
        }
    }

    /// <summary>Prints one of several values that come one after another: a line of JSON, or a YAML document.</summary>
    public static void WriteItem(TextWriter writer, JsonElement value, OutputFormat format)
    {
        if (format == OutputFormat.Yaml)
        {
            writer.WriteLine("---");
            YamlWriter.Write(writer, value);
        }
        else
        {
            writer.WriteLine(Text(value.WriteTo, OneLine));
        }
    }

    /// <summary>The JSON that <paramref name="write"/> writes, as a value.</summary>
    public static JsonElement Make(Action<Utf8JsonWriter> write) => JsonElement.Parse(Bytes(write, OneLine).Span);

    /// <summary>A name and one fact about it.</summary>
    public static JsonElement MakeFlag(string name, string member, bool value) => Make(json =>
    {
        json.WriteStartObject();
        json.WriteString("name", name);
        json.WriteBoolean(member, value);
        json.WriteEndObject();
    });

    /// <summary>Several values as one array.</summary>
    public static JsonElement MakeArray(IEnumerable<JsonElement> values) => Make(json =>
    {
        json.WriteStartArray();
        foreach (var value in values)
        {
            value.WriteTo(json);
        }

        json.WriteEndArray();
    });

    private static string Text(Action<Utf8JsonWriter> write, JsonWriterOptions options) => TerminalText.EscapeHostile(Encoding.UTF8.GetString(Bytes(write, options).Span));

    private static ReadOnlyMemory<byte> Bytes(Action<Utf8JsonWriter> write, JsonWriterOptions options)
    {
        var buffer = new ArrayBufferWriter<byte>();
        using (var json = new Utf8JsonWriter(buffer, options))
        {
            write(json);
        }

        return buffer.WrittenMemory;
    }
}
