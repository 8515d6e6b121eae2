namespace Volant.Contracts.Boot;

/// <summary>The last line on the console of a guest that could not boot. It powers off then, before its agent could answer anybody.</summary>
public static class BootFailure
{
    /// <summary>How the line begins.</summary>
    public const string Prefix = "volant: boot failed: ";

    /// <summary>The line for a reason, without its end.</summary>
    public static string Line(string reason)
    {
        ArgumentNullException.ThrowIfNull(reason);
        return Prefix + reason.ReplaceLineEndings(" | ");
    }

    /// <summary>The reason in the last such line; null when there is none. The guest wrote it: text to show, nothing to believe.</summary>
    public static string? Find(IEnumerable<string> lines)
    {
        ArgumentNullException.ThrowIfNull(lines);
        return lines.LastOrDefault(line => line.StartsWith(Prefix, StringComparison.Ordinal))?[Prefix.Length..];
    }
}
