using System.Text.Json;
using YamlDotNet.Core;
using YamlDotNet.Core.Events;

namespace Volant.Cli.OpenApi;

/// <summary>Reads a YAML document as JSON. The document comes from a guest: its depth and the number of its values are limited, and aliases are refused.</summary>
/// <remarks>Scalars have the types of YAML's core schema (YAML 1.2, section 10.3.2). Keys of mappings are text.</remarks>
internal static class YamlReader
{
    private const int MaxDepth = 64;
    private const int MaxValues = 1_000_000;

    /// <summary>Reads the first document.</summary>
    /// <exception cref="FormatException">It is no YAML, or breaks a limit.</exception>
    public static JsonElement Read(string text)
    {
        try
        {
            var parser = new Parser(new StringReader(text));
            parser.Consume<StreamStart>();
            parser.Consume<DocumentStart>();
            var values = 0;
            return Output.JsonPrinter.Make(json => Copy(parser, json, depth: 0, ref values));
        }
        catch (YamlException e)
        {
            throw new FormatException($"line {e.Start.Line}: {e.Message}", e);
        }
        catch (Exception e) when (e is InvalidOperationException or ArgumentException)
        {
            throw new FormatException(e.Message, e);
        }
    }

    private static void Copy(Parser parser, Utf8JsonWriter json, int depth, ref int values)
    {
        if (depth > MaxDepth || ++values > MaxValues)
        {
            throw new FormatException("it is nested too deeply or holds too many values");
        }

        if (parser.TryConsume<MappingStart>(out _))
        {
            json.WriteStartObject();
            while (!parser.TryConsume<MappingEnd>(out _))
            {
                json.WritePropertyName(parser.Consume<Scalar>().Value);
                Copy(parser, json, depth + 1, ref values);
            }

            json.WriteEndObject();
        }
        else if (parser.TryConsume<SequenceStart>(out _))
        {
            json.WriteStartArray();
            while (!parser.TryConsume<SequenceEnd>(out _))
            {
                Copy(parser, json, depth + 1, ref values);
            }

            json.WriteEndArray();
        }
        else if (parser.TryConsume<Scalar>(out var scalar))
        {
            Write(json, scalar);
        }
        else
        {
            throw new FormatException("it holds an alias, which is not read");
        }
    }

    private static void Write(Utf8JsonWriter json, Scalar scalar)
    {
        switch (scalar.Value)
        {
            case var text when scalar.Style != ScalarStyle.Plain:
                json.WriteStringValue(text);
                break;
            case "" or "~" or "null" or "Null" or "NULL":
                json.WriteNullValue();
                break;
            case "true" or "True" or "TRUE":
                json.WriteBooleanValue(true);
                break;
            case "false" or "False" or "FALSE":
                json.WriteBooleanValue(false);
                break;
            case var number when IsJsonNumber(number):
                json.WriteRawValue(number);
                break;
            case var text:
                json.WriteStringValue(text);
                break;
        }
    }

    /// <summary>Whether JSON writes the number the same way; others stay text.</summary>
    private static bool IsJsonNumber(string text)
    {
        if (text[0] is not ('-' or (>= '0' and <= '9')))
        {
            return false;
        }

        try
        {
            return JsonElement.Parse(text).ValueKind == JsonValueKind.Number;
        }
        catch (JsonException)
        {
            return false;
        }
    }
}
