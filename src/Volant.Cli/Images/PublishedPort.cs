using System.Globalization;
using Volant.Contracts.Api;

namespace Volant.Cli.Images;

/// <summary>Reads <c>--publish</c>.</summary>
internal static class PublishedPort
{
    /// <summary>Reads <c>HOST:GUEST</c> or <c>GUEST</c>, either with <c>/tcp</c> or <c>/udp</c> behind it; without a host port a free one is taken.</summary>
    /// <exception cref="CliException">It is none of these.</exception>
    public static ExposedPort Parse(string text)
    {
        var (ports, protocol) = text.Split('/') switch
        {
            [var alone] => (alone, "tcp"),
            [var before, "tcp" or "udp"] => (before, text[(before.Length + 1)..]),
            _ => throw Wrong(text),
        };
        return ports.Split(':') switch
        {
            [var guest] => new ExposedPort { Protocol = protocol, Port = Port(guest, text) },
            [var host, var guest] => new ExposedPort { Protocol = protocol, Port = Port(guest, text), HostPort = Port(host, text) },
            _ => throw Wrong(text),
        };
    }

    private static int Port(string text, string all) =>
        int.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out var port) && port is > 0 and <= ushort.MaxValue ? port : throw Wrong(all);

    private static CliException Wrong(string text) => CliException.Usage($"--publish '{text}' must be HOST:GUEST or GUEST, ports from 1 to 65535, perhaps with /udp behind them.");
}
