using System.Globalization;
using System.Text.Json.Nodes;
using System.Text.Json.Serialization.Metadata;
using Volant.Contracts;
using Volant.Contracts.Manifests;
using Volant.Fledge.Toml;

namespace Volant.Fledge.Manifests;

/// <summary>Turns TOML into the JSON of a manifest and reports every unknown key and wrong type with its place.</summary>
/// <remarks>The shape is read from the manifest's own JSON metadata, so a member added there is known here.</remarks>
internal sealed class ManifestShape(TomlFaults faults)
{
    /// <summary>Converts a table that must look like a <see cref="PluginManifest"/>.</summary>
    public JsonObject Convert(TomlNode root) => ConvertObject(root, string.Empty, ContractsJson.Strict.PluginManifest);

    private JsonObject ConvertObject(TomlNode node, string path, JsonTypeInfo type)
    {
        var result = new JsonObject();
        foreach (var (key, value) in node.Table!)
        {
            var member = path.Length == 0 ? key : $"{path}.{key}";
            if (type.Properties.FirstOrDefault(property => property.Name == key) is { } property)
            {
                result[key] = Convert(value, member, property.PropertyType);
            }
            else
            {
                faults.Add(value, member, "is not a known key of a manifest; remove it or check its spelling");
            }
        }

        return result;
    }

    private JsonNode? Convert(TomlNode node, string path, Type type)
    {
        var wanted = Nullable.GetUnderlyingType(type) ?? type;
        switch (node.Value)
        {
            case string text when wanted == typeof(string):
                return JsonValue.Create(text);
            case bool flag when wanted == typeof(bool):
                return JsonValue.Create(flag);
            case long number when wanted == typeof(int):
                return JsonValue.Create(number);
        }

        if (wanted != typeof(string) && wanted != typeof(bool) && wanted != typeof(int))
        {
            var info = ContractsJson.Strict.Options.GetTypeInfo(wanted);
            switch (info.Kind)
            {
                case JsonTypeInfoKind.Object when node.Table is not null:
                    return ConvertObject(node, path, info);
                case JsonTypeInfoKind.Dictionary when node.Table is { } table:
                    return new JsonObject(table.Select(item => KeyValuePair.Create(item.Key, Convert(item.Value, $"{path}.{item.Key}", info.ElementType!))));
                case JsonTypeInfoKind.Enumerable when node.Array is { } array:
                    return new JsonArray([.. array.Select((item, i) =>
                        Convert(item, string.Create(CultureInfo.InvariantCulture, $"{path}[{i}]"), info.ElementType!))]);
                default:
                    faults.Add(node, path, $"must be {(info.Kind == JsonTypeInfoKind.Enumerable ? "an array" : "a table")}, not {node.Kind}");
                    return null;
            }
        }

        faults.Add(node, path, $"must be {(wanted == typeof(string) ? "a string" : wanted == typeof(bool) ? "a boolean" : "an integer")}, not {node.Kind}");
        return null;
    }
}
