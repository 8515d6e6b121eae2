using System.Text.Json;
using ModelContextProtocol.Protocol;
using Volant.Contracts;
using Volant.Contracts.Api;

namespace Volant.Daemon.Api.Mcp;

/// <summary>Holds the arguments of a call against the schema of its tool, so that an agent reads what is wrong with all of them.</summary>
/// <remarks>Knows the keywords that the tools' own schemas use: type, enum, minimum, maximum and maxLength, one level deep (members of objects, items of lists).</remarks>
internal static class ToolArguments
{
    private const int MaxEcho = 64;

    /// <summary>Checks them, and leaves out those that are null, which many clients send for absent ones.</summary>
    /// <exception cref="VolantException"><c>invalid_request</c> with every fault.</exception>
    public static IDictionary<string, JsonElement>? Check(Tool tool, IDictionary<string, JsonElement>? arguments)
    {
        var given = (arguments ?? new Dictionary<string, JsonElement>(StringComparer.Ordinal))
            .Where(argument => argument.Value.ValueKind != JsonValueKind.Null)
            .ToDictionary(StringComparer.Ordinal);
        var properties = tool.InputSchema.GetProperty("properties");
        var faults = new List<FieldError>();
        foreach (var (name, value) in given)
        {
            if (!properties.TryGetProperty(name, out var schema))
            {
                faults.Add(new(Clip(name), $"is no argument of {tool.Name}, which takes: {string.Join(", ", properties.EnumerateObject().Select(property => property.Name))}"));
            }
            else if (FindFault(schema, value) is { } message)
            {
                faults.Add(new(name, message));
            }
        }

        if (tool.InputSchema.TryGetProperty("required", out var required))
        {
            faults.AddRange(from name in required.EnumerateArray() where !given.ContainsKey(name.GetString()!) select new FieldError(name.GetString()!, "is required"));
        }

        return faults.Count == 0
            ? given
            : throw new VolantException(ErrorCodes.InvalidRequest, $"The arguments are not valid: {string.Join("; ", faults.Select(fault => $"{fault.Path} {fault.Message}"))}.") { Fields = faults };
    }

    private static string? FindFault(JsonElement schema, JsonElement value)
    {
        if (schema.ValueKind == JsonValueKind.Object && schema.TryGetProperty("enum", out var words) && !words.EnumerateArray().Any(word => JsonElement.DeepEquals(word, value)))
        {
            return $"must be one of {string.Join(", ", words.EnumerateArray().Select(word => word.ToString()))}";
        }

        return TypeOf(schema) switch
        {
            "string" => FindTextFault(schema, value),
            "integer" => FindNumberFault(schema, value),
            "boolean" => value.ValueKind is JsonValueKind.True or JsonValueKind.False ? null : "must be true or false",
            "object" => FindObjectFault(schema, value),
            "array" => FindListFault(schema, value),
            _ => null,
        };
    }

    private static string? FindTextFault(JsonElement schema, JsonElement value)
    {
        if (value.ValueKind != JsonValueKind.String)
        {
            return "must be text";
        }

        return schema.TryGetProperty("maxLength", out var most) && value.GetString()!.Length > most.GetInt32() ? $"must have at most {most.GetInt32()} characters" : null;
    }

    private static string? FindNumberFault(JsonElement schema, JsonElement value)
    {
        var least = schema.TryGetProperty("minimum", out var minimum) ? minimum.GetInt32() : int.MinValue;
        var most = schema.TryGetProperty("maximum", out var maximum) ? maximum.GetInt32() : int.MaxValue;
        return value.ValueKind == JsonValueKind.Number && value.TryGetInt32(out var number) && number >= least && number <= most
            ? null
            : least == int.MinValue ? "must be a whole number" : $"must be a whole number from {least} to {most}";
    }

    private static string? FindListFault(JsonElement schema, JsonElement value) =>
        value.ValueKind == JsonValueKind.Array && (!schema.TryGetProperty("items", out var each) || value.EnumerateArray().All(item => FindFault(each, item) is null))
            ? null
            : "must be a list, as its schema says";

    private static string? FindObjectFault(JsonElement schema, JsonElement value)
    {
        if (value.ValueKind != JsonValueKind.Object)
        {
            return "must be an object";
        }

        return schema.TryGetProperty("additionalProperties", out var each) && value.EnumerateObject().Any(member => FindFault(each, member.Value) is not null)
            ? $"must have members of type {TypeOf(each)}"
            : null;
    }

    /// <summary>The type of a schema besides null; null when it has none.</summary>
    private static string? TypeOf(JsonElement schema) => schema.ValueKind == JsonValueKind.Object && schema.TryGetProperty("type", out var type)
        ? type.ValueKind == JsonValueKind.Array ? type.EnumerateArray().Select(one => one.GetString()).First(one => one != "null") : type.GetString()
        : null;

    private static string Clip(string text) => text.Length <= MaxEcho ? text : text[..MaxEcho] + "…";
}
