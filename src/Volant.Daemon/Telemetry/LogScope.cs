using System.Collections;

namespace Volant.Daemon.Telemetry;

/// <summary>Facts that every log line within a scope carries: fields in a structured log, <c>name:value</c> in a text.</summary>
internal sealed class LogScope(params (string Name, string Value)[] facts) : IReadOnlyList<KeyValuePair<string, object?>>
{
    /// <inheritdoc/>
    public int Count => facts.Length;

    /// <inheritdoc/>
    public KeyValuePair<string, object?> this[int index] => new(facts[index].Name, facts[index].Value);

    /// <inheritdoc/>
    public IEnumerator<KeyValuePair<string, object?>> GetEnumerator() => facts.Select(fact => new KeyValuePair<string, object?>(fact.Name, fact.Value)).GetEnumerator();

    /// <inheritdoc/>
    public override string ToString() => string.Join(' ', facts.Select(fact => $"{fact.Name}:{fact.Value}"));

    IEnumerator IEnumerable.GetEnumerator() => GetEnumerator();
}
