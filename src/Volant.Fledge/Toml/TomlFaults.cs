using System.Globalization;
using Volant.Contracts;

namespace Volant.Fledge.Toml;

/// <summary>Collects every fault of one TOML document, each with its place.</summary>
internal sealed class TomlFaults(string file)
{
    private readonly List<(int Line, int Column, string Text)> _faults = [];
    private readonly HashSet<string> _paths = new(StringComparer.Ordinal);

    /// <summary>Whether nothing is wrong so far.</summary>
    public bool None => _faults.Count == 0;

    /// <summary>Every fault as <c>file:line:column: sentence</c>, in the order of the document.</summary>
    public IEnumerable<string> All =>
        from fault in _faults.Distinct()
        orderby fault.Line, fault.Column
        select string.Create(CultureInfo.InvariantCulture, $"{file}:{fault.Line}:{fault.Column}: {fault.Text}");

    /// <summary>Notes that the value at <paramref name="path"/> is wrong.</summary>
    /// <param name="node">Where.</param>
    /// <param name="path">The key, dotted.</param>
    /// <param name="message">The end of a sentence that starts with the key: "must be at least 1".</param>
    public void Add(TomlNode node, string path, string message)
    {
        _paths.Add(path);
        AddText(node.Line, node.Column, $"'{path}' {message}.");
    }

    /// <summary>Whether a fault of exactly this key has been noted.</summary>
    public bool Has(string path) => _paths.Contains(path);

    /// <summary>Notes a fault that is not about one key.</summary>
    public void AddText(int line, int column, string text) => _faults.Add((line, column, text));

    /// <summary>Notes faults of the manifest that the document was turned into.</summary>
    public void Add(TomlNode root, IEnumerable<FieldError> errors)
    {
        foreach (var error in errors)
        {
            Add(root.Nearest(error.Path), error.Path == "$" ? "manifest" : error.Path, error.Message);
        }
    }
}
