using System.Globalization;

namespace Volant.Fledge.Toml;

/// <summary>Reads the members of one table by name and type, and knows which were not asked for.</summary>
internal sealed class TomlTableReader(TomlNode table, string path, TomlFaults faults)
{
    private readonly HashSet<string> _read = new(StringComparer.Ordinal);

    /// <summary>Every member in the order of the document.</summary>
    public IEnumerable<KeyValuePair<string, TomlNode>> Members => table.Table!;

    /// <summary>A string member; null when absent or of another type.</summary>
    public string? String(string key, bool required = false) => Value<string>(key, "a string", required);

    /// <summary>A boolean member; null when absent or of another type.</summary>
    public bool? Boolean(string key) => Value<object>(key, "a boolean", required: false, node => node.Value is bool) as bool?;

    /// <summary>An integer member within bounds; null when absent or wrong.</summary>
    public int? Integer(string key, int min, int max)
    {
        if (Value<object>(key, "an integer", required: false, node => node.Value is long) is not long value)
        {
            return null;
        }

        if (value >= min && value <= max)
        {
            return (int)value;
        }

        Fault(key, string.Create(CultureInfo.InvariantCulture, $"must be {min} to {max}, not {value}"));
        return null;
    }

    /// <summary>Whether there is such a member, whatever it is; it is not marked as read.</summary>
    public bool Has(string key) => table.TryGet(key, out _);

    /// <summary>A table member; null when absent or of another type.</summary>
    public TomlTableReader? Table(string key)
    {
        if (Value<OrderedDictionary<string, TomlNode>>(key, "a table", required: false) is null)
        {
            return null;
        }

        return new TomlTableReader(table.Table![key], Join(key), faults);
    }

    /// <summary>The elements of a member that is an array of strings; none when absent or something else.</summary>
    public IEnumerable<string> Strings(string key)
    {
        foreach (var node in Value<List<TomlNode>>(key, "an array", required: false) ?? [])
        {
            if (node.Value is string text)
            {
                yield return text;
            }
            else
            {
                faults.Add(node, Join(key), $"must hold strings, not {node.Kind}");
            }
        }
    }

    /// <summary>The elements of a member that is an array of tables; none when absent or something else.</summary>
    public IEnumerable<TomlTableReader> Tables(string key)
    {
        foreach (var node in Value<List<TomlNode>>(key, "an array of tables", required: false) ?? [])
        {
            if (node.Table is not null)
            {
                yield return new TomlTableReader(node, Join(key), faults);
            }
            else
            {
                faults.Add(node, Join(key), $"must hold tables, not {node.Kind}");
            }
        }
    }

    /// <summary>Marks a member as read.</summary>
    public void Skip(string key) => _read.Add(key);

    /// <summary>Notes a fault of a member, or of the table itself when <paramref name="key"/> is empty.</summary>
    public void Fault(string key, string message) => faults.Add(table.TryGet(key, out var node) ? node : table, Join(key), message);

    /// <summary>Notes every member that was never asked for as unknown.</summary>
    public void RefuseUnread(string? where = null)
    {
        foreach (var (key, node) in table.Table!)
        {
            if (!_read.Contains(key))
            {
                faults.Add(node, Join(key), $"is not a known key{(where is null ? string.Empty : " " + where)}; remove it or check its spelling");
            }
        }
    }

    private T? Value<T>(string key, string kind, bool required, Func<TomlNode, bool>? accept = null)
        where T : class
    {
        _read.Add(key);
        if (!table.TryGet(key, out var node))
        {
            if (required)
            {
                Fault(key, "is required");
            }

            return null;
        }

        if (node.Value is T value && (accept is null || accept(node)))
        {
            return value;
        }

        faults.Add(node, Join(key), $"must be {kind}, not {node.Kind}");
        return null;
    }

    private string Join(string key) => path.Length == 0 ? key : key.Length == 0 ? path : $"{path}.{key}";
}
