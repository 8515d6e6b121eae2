using System.Diagnostics.CodeAnalysis;
using System.Globalization;

namespace Volant.Fledge.Toml;

/// <summary>A value of a TOML document and where it stands.</summary>
/// <param name="value">A <see cref="string"/>, <see cref="long"/>, <see cref="double"/>, <see cref="bool"/>, <see cref="DateTimeOffset"/>, list or table.</param>
/// <param name="line">Line, from 1.</param>
/// <param name="column">Column, from 1.</param>
internal sealed class TomlNode(object value, int line, int column)
{
    /// <summary>The value.</summary>
    public object Value { get; } = value;

    /// <summary>Line, from 1.</summary>
    public int Line { get; } = line;

    /// <summary>Column, from 1.</summary>
    public int Column { get; } = column;

    /// <summary>The members when this is a table, in the order of the document; else null.</summary>
    public OrderedDictionary<string, TomlNode>? Table => Value as OrderedDictionary<string, TomlNode>;

    /// <summary>The elements when this is an array; else null.</summary>
    public List<TomlNode>? Array => Value as List<TomlNode>;

    /// <summary>What kind of value this is, for people.</summary>
    public string Kind => Value switch
    {
        string => "a string",
        long => "an integer",
        double => "a float",
        bool => "a boolean",
        List<TomlNode> => "an array",
        OrderedDictionary<string, TomlNode> => "a table",
        _ => "a date or time",
    };

    /// <summary>An empty table.</summary>
    public static TomlNode NewTable(int line, int column) =>
        new(new OrderedDictionary<string, TomlNode>(StringComparer.Ordinal), line, column);

    /// <summary>The member of a table; false when this is no table or has no such member.</summary>
    public bool TryGet(string name, [NotNullWhen(true)] out TomlNode? member)
    {
        member = null;
        return Table is { } table && table.TryGetValue(name, out member);
    }

    /// <summary>The deepest existing node along a path such as <c>disks[0].source</c>; this node when not even the first member exists.</summary>
    public TomlNode Nearest(string path)
    {
        var node = this;
        foreach (var part in path.Split('.', '['))
        {
            var next = part.EndsWith(']')
                ? int.TryParse(part.AsSpan(0, part.Length - 1), NumberStyles.None, CultureInfo.InvariantCulture, out var index) && index < node.Array?.Count
                    ? node.Array[index]
                    : null
                : node.TryGet(part, out var member) ? member : null;
            if (next is null)
            {
                break;
            }

            node = next;
        }

        return node;
    }
}
