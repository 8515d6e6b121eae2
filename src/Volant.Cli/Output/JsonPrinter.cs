using System.Buffers;
using System.Text;
using System.Text.Encodings.Web;
using System.Text.Json;

namespace Volant.Cli.Output;

/// <summary>Prints JSON of the API indented, members and numbers as they came.</summary>
internal static class JsonPrinter
{
    // Relaxed: text stays readable; control characters are escaped all the same.
    private static readonly JsonWriterOptions Indented = new() { Indented = true, NewLine = "\n", Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping };

    /// <summary>Prints one value and a line break.</summary>
    public static void Write(TextWriter writer, JsonElement value) => Write(writer, value.WriteTo);

    /// <summary>Prints several values as one array.</summary>
    public static void WriteArray(TextWriter writer, IEnumerable<JsonElement> values) => Write(writer, json =>
    {
        json.WriteStartArray();
        foreach (var value in values)
        {
            value.WriteTo(json);
        }

        json.WriteEndArray();
    });

    /// <summary>Prints what <paramref name="write"/> writes, and a line break.</summary>
    public static void Write(TextWriter writer, Action<Utf8JsonWriter> write)
    {
        var buffer = new ArrayBufferWriter<byte>();
        using (var json = new Utf8JsonWriter(buffer, Indented))
        {
            write(json);
        }

        writer.WriteLine(Encoding.UTF8.GetString(buffer.WrittenSpan));
    }
}
