using System.Globalization;
using System.Net;
using Volant.Contracts.Boot;

namespace Volant.Agent.Boot;

/// <summary>What the kernel command line asks of the agent. Pure; what cannot be understood is a problem in words, never an exception.</summary>
internal sealed record BootPlan
{
    /// <summary>Host name when nothing names the guest.</summary>
    public const string DefaultHostname = "volant";

    /// <summary>Longest host name in bytes that Linux takes.</summary>
    public const int MaxHostname = 64;

    /// <summary>Encoded manifest or <see cref="BootKeys.InInitrd"/>; null when the line has none.</summary>
    public string? Manifest { get; private init; }

    /// <summary>Host name.</summary>
    public string Hostname { get; private init; } = DefaultHostname;

    /// <summary>Where the manifest lies when <see cref="Manifest"/> is <see cref="BootKeys.InInitrd"/>.</summary>
    public string ManifestFile { get; init; } = BootKeys.ManifestFile;

    /// <summary>The root disk to change over to; null to stay in the initramfs.</summary>
    public RootPlan? Root { get; private init; }

    /// <summary>Network configuration to apply; null for none.</summary>
    public IpArgument? Network { get; private init; }

    /// <summary>IPv6 address, length of its prefix and gateway; null for none.</summary>
    public Ip6Argument? NetworkV6 { get; private init; }

    /// <summary>Name servers from the last fields of <c>ip=</c>.</summary>
    public IReadOnlyList<IPAddress> NameServers { get; private init; } = [];

    /// <summary>Where to listen on TCP; null for nowhere.</summary>
    public IPEndPoint? Api { get; private init; }

    /// <summary>Whether the agent waits for its identity before it serves anything.</summary>
    public bool IsGated { get; private init; }

    /// <summary>What is wrong with the line, one sentence each.</summary>
    public IReadOnlyList<string> Problems { get; private init; } = [];

    /// <summary>Reads the line.</summary>
    public static BootPlan Read(string line)
    {
        var values = KernelCommandLine.Parse(line);
        var problems = new List<string>();
        var network = ReadNetwork(values.GetValueOrDefault(BootKeys.Ip), problems);
        return new BootPlan
        {
            Manifest = values.GetValueOrDefault(BootKeys.Manifest),
            Root = RootPlan.Read(values, problems),
            Hostname = ReadHostname(values.GetValueOrDefault(BootKeys.Hostname) ?? network?.Hostname ?? values.GetValueOrDefault(BootKeys.Plugin), problems),
            Network = network,
            NetworkV6 = ReadNetworkV6(values.GetValueOrDefault(BootKeys.Ip6), problems),
            NameServers = [.. new[] { network?.NameServer, network?.OtherNameServer }.OfType<IPAddress>()],
            Api = ReadApi(values.GetValueOrDefault(BootKeys.ApiHost), values.GetValueOrDefault(BootKeys.ApiPort), problems),
            IsGated = ReadGate(values.GetValueOrDefault(BootKeys.Gate), problems),
            Problems = problems,
        };
    }

    private static IpArgument? ReadNetwork(string? text, List<string> problems)
    {
        if (text is null or "off" or "none")
        {
            return null;
        }

        if (!IpArgument.TryParse(text, out var argument))
        {
            problems.Add($"The boot argument 'ip={text}' is not an IPv4 configuration; the network is left alone.");
            return null;
        }

        return argument;
    }

    private static Ip6Argument? ReadNetworkV6(string? text, List<string> problems)
    {
        if (text is null)
        {
            return null;
        }

        if (Ip6Argument.TryParse(text, out var argument))
        {
            return argument;
        }

        problems.Add($"The boot argument '{BootKeys.Ip6}={text}' is not an IPv6 configuration; there is no IPv6 address.");
        return null;
    }

    private static string ReadHostname(string? name, List<string> problems)
    {
        if (name is null)
        {
            return DefaultHostname;
        }

        if (IsHostname(name))
        {
            return name;
        }

        problems.Add($"The host name '{name}' is not 1 to {MaxHostname} letters, digits, '-', '.' and '_'; the guest is called '{DefaultHostname}'.");
        return DefaultHostname;
    }

    /// <summary>Whether a text can be a host name.</summary>
    internal static bool IsHostname(string name) => name.Length is > 0 and <= MaxHostname && name.All(c => char.IsAsciiLetterOrDigit(c) || c is '-' or '.' or '_');

    private static bool ReadGate(string? gate, List<string> problems)
    {
        if (gate is not (null or "open" or "closed"))
        {
            // Open would be the mistake that cannot be undone.
            problems.Add($"The boot argument {BootKeys.Gate}={gate} must be 'open' or 'closed'; it counts as closed.");
        }

        return gate is not (null or "open");
    }

    private static IPEndPoint? ReadApi(string? host, string? port, List<string> problems)
    {
        if (host is null && port is null)
        {
            return null;
        }

        if (IPAddress.TryParse(host, out var address) && ushort.TryParse(port, NumberStyles.None, CultureInfo.InvariantCulture, out var number) && number > 0)
        {
            return new IPEndPoint(address, number);
        }

        problems.Add($"The boot arguments volant.api_host='{host}' and volant.api_port='{port}' are not an IP address and a port; there is no TCP listener.");
        return null;
    }
}
