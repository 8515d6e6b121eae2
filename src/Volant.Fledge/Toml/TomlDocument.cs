using System.Text;
using Tomlyn;
using Tomlyn.Parsing;
using Tomlyn.Syntax;

namespace Volant.Fledge.Toml;

/// <summary>Reads a TOML 1.1 file into nodes that know their place.</summary>
internal static class TomlDocument
{
    /// <summary>Largest file that is read.</summary>
    public const int MaxBytes = 1024 * 1024;

    /// <summary>Reads <paramref name="path"/>.</summary>
    /// <exception cref="FledgeException">It cannot be read, or is not valid TOML: every syntax error with its line and column.</exception>
    public static TomlNode Read(string path)
    {
        string text;
        try
        {
            if (new FileInfo(path).Length > MaxBytes)
            {
                throw new FledgeException($"'{path}' is larger than {MaxBytes} bytes; it cannot be a build file.");
            }

            text = new UTF8Encoding(false, throwOnInvalidBytes: true).GetString(File.ReadAllBytes(path));
        }
        catch (DecoderFallbackException e)
        {
            throw new FledgeException($"'{path}' is not UTF-8 text (byte {e.Index}); save it as UTF-8.", e);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new FledgeException($"Cannot read '{path}': {e.Message}", e);
        }

        return Parse(text, path);
    }

    /// <summary>Reads <paramref name="text"/>; <paramref name="file"/> names it in messages.</summary>
    /// <exception cref="FledgeException">It is not valid TOML.</exception>
    public static TomlNode Parse(string text, string file)
    {
        var faults = new TomlFaults(file);
        DocumentSyntax document;
        try
        {
            document = SyntaxParser.Parse(text.TrimStart('\uFEFF'), file, validate: true);
        }
        catch (TomlException e)
        {
            throw new FledgeException($"{file}: {OneLine(e.Message)}", e);
        }
        catch (ArgumentOutOfRangeException e)
        {
            // The parser lets this through for an escape such as \ud800.
            throw new FledgeException($"{file}: a \\u or \\U escape names no character; see TOML 1.0, section String.", e);
        }

        foreach (var message in document.Diagnostics)
        {
            if (message.Kind == DiagnosticMessageKind.Error)
            {
                faults.AddText(message.Span.Start.Line + 1, message.Span.Start.Column + 1, OneLine(message.Message));
            }
        }

        return faults.None ? Convert(document) : throw new FledgeException([.. faults.All]);
    }

    private static TomlNode Convert(DocumentSyntax document)
    {
        var root = TomlNode.NewTable(1, 1);
        AddAll(root, document.KeyValues);
        foreach (var table in document.Tables)
        {
            var node = OpenTable(root, table.Name!, asElement: table is TableArraySyntax);
            AddAll(node, table.Items);
        }

        return root;
    }

    private static void AddAll(TomlNode table, SyntaxList<KeyValueSyntax> items)
    {
        foreach (var item in items)
        {
            Add(table, item);
        }
    }

    private static void Add(TomlNode table, KeyValueSyntax item)
    {
        var (line, column) = Place(item);
        var parts = Parts(item.Key!);
        foreach (var part in parts[..^1])
        {
            table = Descend(table, part, line, column);
        }

        table.Table![parts[^1]] = new TomlNode(Value(item.Value!), line, column);
    }

    /// <summary>The table that a header opens; of an array of tables, the new last element.</summary>
    private static TomlNode OpenTable(TomlNode root, KeySyntax name, bool asElement)
    {
        var (line, column) = Place(name);
        var parts = Parts(name);
        var node = root;
        foreach (var part in asElement ? parts[..^1] : parts)
        {
            node = Descend(node, part, line, column);
        }

        if (!asElement)
        {
            return node;
        }

        if (!node.TryGet(parts[^1], out var array))
        {
            array = node.Table![parts[^1]] = new TomlNode(new List<TomlNode>(), line, column);
        }

        var element = TomlNode.NewTable(line, column);
        array.Array!.Add(element);
        return element;
    }

    /// <summary>The member table, made when missing; of an array of tables, its last element. The parser has already refused anything else.</summary>
    private static TomlNode Descend(TomlNode table, string name, int line, int column)
    {
        if (!table.TryGet(name, out var member))
        {
            member = table.Table![name] = TomlNode.NewTable(line, column);
        }

        return member.Array is { } array ? array[^1] : member;
    }

    private static object Value(ValueSyntax syntax) => syntax switch
    {
        StringValueSyntax text => text.Value!,
        IntegerValueSyntax number => number.Value,
        FloatValueSyntax number => number.Value,
        BooleanValueSyntax flag => flag.Value,
        DateTimeValueSyntax time => time.Value.DateTime,
        ArraySyntax array => array.Items.Select(item => Node(item.Value!)).ToList(),
        InlineTableSyntax table => InlineTable(table),
        _ => throw new InvalidOperationException($"Unknown TOML value {syntax.Kind}."),
    };

    private static TomlNode Node(ValueSyntax syntax)
    {
        var (line, column) = Place(syntax);
        return new TomlNode(Value(syntax), line, column);
    }

    private static OrderedDictionary<string, TomlNode> InlineTable(InlineTableSyntax table)
    {
        var node = TomlNode.NewTable(1, 1);
        foreach (var item in table.Items)
        {
            Add(node, item.KeyValue!);
        }

        return node.Table!;
    }

    private static List<string> Parts(KeySyntax key)
    {
        var parts = new List<string> { Text(key.Key!) };
        parts.AddRange(key.DotKeys.Select(dotted => Text(dotted.Key!)));
        return parts;
    }

    private static string Text(BareKeyOrStringValueSyntax key) => key switch
    {
        BareKeySyntax bare => bare.Key!.Text!,
        StringValueSyntax quoted => quoted.Value!,
        _ => throw new InvalidOperationException($"Unknown TOML key {key.Kind}."),
    };

    private static (int Line, int Column) Place(SyntaxNode node) => (node.Span.Start.Line + 1, node.Span.Start.Column + 1);

    private static string OneLine(string message) => string.Join(' ', message.Split('\n', '\r')).TrimEnd('.') + ".";
}
