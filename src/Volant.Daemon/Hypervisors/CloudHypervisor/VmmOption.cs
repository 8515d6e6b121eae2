using Volant.Contracts.Api;

namespace Volant.Daemon.Hypervisors.CloudHypervisor;

/// <summary>Option strings of Cloud Hypervisor's command line: <c>key=value</c>, a value with a comma or bracket between quotation marks.</summary>
/// <remarks>Source: Cloud Hypervisor, option_parser. A quotation mark inside a value cannot be written.</remarks>
internal static class VmmOption
{
    private const string Key = "path=";

    /// <summary><c>path=VALUE</c>.</summary>
    /// <exception cref="VolantException"><c>unsupported</c>: the path holds a quotation mark.</exception>
    public static string OfPath(string path) => path.Contains('"', StringComparison.Ordinal)
        ? throw new VolantException(ErrorCodes.Unsupported, $"Cloud Hypervisor cannot be told the path '{path}', which holds a quotation mark. Set VOLANT_RUNTIME_DIR to another directory.")
        : path.AsSpan().ContainsAny(",[]=") ? $"{Key}\"{path}\"" : Key + path;

    /// <summary>The path in what <see cref="OfPath"/> wrote; null when it is something else.</summary>
    public static string? PathOf(string? option) =>
        option?.StartsWith(Key, StringComparison.Ordinal) is not true ? null
        : option.Length > Key.Length + 1 && option[Key.Length] == '"' && option[^1] == '"' ? option[(Key.Length + 1)..^1]
        : option[Key.Length..];
}
