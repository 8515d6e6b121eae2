namespace Volant.Contracts;

/// <summary>SHA-256 checksums as text; the canonical form is 64 lower-case hex digits.</summary>
public static class Sha256Text
{
    /// <summary>Optional prefix on the wire.</summary>
    public const string Prefix = "sha256:";

    /// <summary>Removes the prefix and lower-cases; does not check.</summary>
    public static string Normalise(string text)
    {
        ArgumentNullException.ThrowIfNull(text);
        var bare = text.StartsWith(Prefix, StringComparison.OrdinalIgnoreCase) ? text[Prefix.Length..] : text;
        return bare.ToLowerInvariant();
    }

    /// <summary>Whether <paramref name="text"/> is in canonical form.</summary>
    public static bool IsValid(string? text) => text is { Length: 64 } && text.All(char.IsAsciiHexDigitLower);
}
