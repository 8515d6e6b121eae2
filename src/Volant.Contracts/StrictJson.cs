using System.Text.Json;

namespace Volant.Contracts;

/// <summary>Words for what a strict JSON reader refuses.</summary>
public static class StrictJson
{
    /// <summary>Deepest nesting of any document from outside (reliability G19).</summary>
    public const int MaxDepth = 32;

    /// <summary>Turns a reader's exception into a field error that names the member.</summary>
    public static FieldError Explain(JsonException failure)
    {
        ArgumentNullException.ThrowIfNull(failure);
        var path = failure.Path is { Length: > 2 } text && text.StartsWith("$.", StringComparison.Ordinal) ? text[2..] : "$";
        if (failure.Message.Contains("could not be mapped to any .NET member", StringComparison.Ordinal))
        {
            var name = failure.Message.Split('\'') is [_, var member, ..] ? member : path;
            return new FieldError(path == "$" ? name : path, $"is not a known member ('{name}'); remove it or check its spelling");
        }

        if (failure.Message.Contains("uplicate", StringComparison.Ordinal))
        {
            return new FieldError(path, "appears twice");
        }

        return failure.LineNumber is { } line
            ? new FieldError(path, $"is not valid JSON for this member (line {line + 1}, byte {failure.BytePositionInLine + 1})")
            : new FieldError(path, "is not valid JSON for this member");
    }
}
