namespace Volant.Linux.Networking;

/// <summary>The names that the kernel accepts for an interface, less those that mean something else to one of its entry points.</summary>
public static class InterfaceName
{
    /// <summary>Longest name in bytes (<c>IFNAMSIZ</c> less the terminator).</summary>
    public const int MaxLength = 15;

    /// <summary>
    /// Whether <paramref name="name"/> has 1 to 15 printable ASCII characters without space, <c>/</c>, <c>:</c> and <c>%</c>
    /// (which the kernel replaces by a number), and is neither <c>.</c> nor <c>..</c>.
    /// </summary>
    public static bool IsValid(string? name) =>
        name is { Length: > 0 and <= MaxLength } and not ("." or "..") &&
        name.All(c => c is > ' ' and < '\u007f' and not ('/' or ':' or '%'));

    /// <summary>Returns <paramref name="name"/> if it is valid.</summary>
    /// <exception cref="ArgumentException">It is not.</exception>
    internal static string Require(string? name) => IsValid(name)
        ? name!
        : throw new ArgumentException(
            $"'{name}' is not an interface name: use 1 to {MaxLength} ASCII characters without spaces, '/', ':' and '%'.", nameof(name));
}
