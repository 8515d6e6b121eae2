using System.Diagnostics.CodeAnalysis;

namespace Volant.Contracts;

/// <summary>The grammar of every name that a user may choose (contract §1).</summary>
public static class Names
{
    /// <summary>Longest name of a VM, deployment or plugin, in characters.</summary>
    public const int MaxLength = 63;

    /// <summary>Whether <paramref name="name"/> is a DNS label: lower-case letters, digits and inner hyphens, 1 to 63.</summary>
    public static bool IsDnsLabel([NotNullWhen(true)] string? name) => IsName(name, inner: "-");

    /// <summary>Whether <paramref name="name"/> may name a plugin: a DNS label that may also hold <c>_</c> and <c>.</c> inside.</summary>
    public static bool IsPluginName(string? name) => IsName(name, inner: "-_.");

    private static bool IsName([NotNullWhen(true)] string? name, string inner) =>
        name is { Length: > 0 and <= MaxLength } &&
        IsLetterOrDigit(name[0]) &&
        IsLetterOrDigit(name[^1]) &&
        name.All(c => IsLetterOrDigit(c) || inner.Contains(c, StringComparison.Ordinal));

    private static bool IsLetterOrDigit(char c) => char.IsAsciiLetterLower(c) || char.IsAsciiDigit(c);
}
