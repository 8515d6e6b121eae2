using System.Globalization;
using System.Text.Json;

namespace Volant.Cli.Output;

/// <summary>How plugins are shown. Reads loose JSON, because a newer daemon may send more than this version knows.</summary>
internal static class PluginView
{
    /// <summary>A table of plugins, one row each.</summary>
    public static TextTable Table(IEnumerable<JsonElement> manifests)
    {
        var table = new TextTable("NAME", "VERSION", "RUNTIME", "ENABLED", "CPU", "MEMORY");
        foreach (var manifest in manifests)
        {
            table.Add(
                Text(manifest, "name"),
                Text(manifest, "version"),
                Text(manifest, "runtime"),
                Text(manifest, "enabled") is "no" ? new Cell("no", Paint.Yellow) : "yes",
                Text(manifest, "resources", "cpu_cores"),
                Text(manifest, "resources", "memory_mb") is { Length: > 0 } memory ? $"{memory} MiB" : string.Empty);
        }

        return table;
    }

    /// <summary>One plugin in detail.</summary>
    public static TextTable Details(JsonElement manifest)
    {
        var table = new TextTable();
        table.Add("Name:", Text(manifest, "name"));
        table.Add("Version:", Text(manifest, "version"));
        table.Add("Runtime:", Text(manifest, "runtime"));
        table.Add("Enabled:", Text(manifest, "enabled"));
        table.Add("CPU:", Text(manifest, "resources", "cpu_cores"));
        table.Add("Memory:", $"{Text(manifest, "resources", "memory_mb")} MiB");
        table.Add("Entrypoint:", Words(manifest, "workload", "entrypoint"));
        table.Add("Base URL:", Text(manifest, "workload", "base_url"));
        AddIfPresent(table, "Health check:", Text(manifest, "health_check", "endpoint"));
        AddIfPresent(table, "Initramfs:", Text(manifest, "initramfs", "url"));
        AddIfPresent(table, "Rootfs:", Text(manifest, "rootfs", "url"));
        AddIfPresent(table, "Network:", Text(manifest, "network", "mode"));
        AddIfPresent(table, "Image:", Text(manifest, "image"));
        if (Find(manifest, "actions") is { ValueKind: JsonValueKind.Object } actions)
        {
            foreach (var action in actions.EnumerateObject())
            {
                table.Add("Action:", $"{action.Name}: {Text(action.Value, "method")} {Text(action.Value, "path")}");
            }
        }

        return table;
    }

    private static void AddIfPresent(TextTable table, string label, string value)
    {
        if (value.Length > 0)
        {
            table.Add(label, value);
        }
    }

    private static string Words(JsonElement element, params string[] path) => Find(element, path) is { ValueKind: JsonValueKind.Array } words
        ? string.Join(' ', words.EnumerateArray().Select(word => word.ToString()))
        : string.Empty;

    private static string Text(JsonElement element, params string[] path) => Find(element, path) switch
    {
        { ValueKind: JsonValueKind.String } text => text.GetString() ?? string.Empty,
        { ValueKind: JsonValueKind.Number } number => number.TryGetInt64(out var integer) ? integer.ToString(CultureInfo.InvariantCulture) : number.GetRawText(),
        { ValueKind: JsonValueKind.True } => "yes",
        { ValueKind: JsonValueKind.False } => "no",
        _ => string.Empty,
    };

    private static JsonElement? Find(JsonElement element, params string[] path)
    {
        foreach (var name in path)
        {
            if (element.ValueKind != JsonValueKind.Object || !element.TryGetProperty(name, out element))
            {
                return null;
            }
        }

        return element;
    }
}
