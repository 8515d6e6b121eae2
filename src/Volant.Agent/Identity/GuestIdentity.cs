using System.ComponentModel;
using System.Globalization;
using Volant.Agent.Boot;
using Volant.Contracts;
using Volant.Contracts.Api;
using Volant.Contracts.Boot;
using Volant.Linux.Kernel;
using Volant.Linux.Networking;

namespace Volant.Agent.Identity;

/// <summary>Makes this guest another one than the machine whose memory it started from (hypervisors.md §C).</summary>
internal static class GuestIdentity
{
    private const int MacBytes = 6;

    /// <summary>Every broken rule of a request.</summary>
    public static IEnumerable<FieldError> FaultsOf(IdentifyRequest request)
    {
        if (request.Seed is not { Length: >= IdentifyRequest.MinSeed and <= AgentClock.MaxSeed })
        {
            yield return new FieldError("seed", $"must be {IdentifyRequest.MinSeed} to {AgentClock.MaxSeed} bytes as base64");
        }

        if (request.Hostname is { } name && !BootPlan.IsHostname(name))
        {
            yield return new FieldError("hostname", $"must be 1 to {BootPlan.MaxHostname} letters, digits, '-', '.' and '_'");
        }

        if (request.MacAddress is { } mac && ParseMac(mac) is null)
        {
            yield return new FieldError("mac_address", "must be six bytes in hex, separated by ':', and no group address");
        }

        if (request.Network is { } network && !(IpArgument.TryParse(network, out var argument) && argument.Address is not null))
        {
            yield return new FieldError("network", "must have the form of the kernel's ip= argument, with an address");
        }
    }

    /// <summary>Takes a valid request over: generator, clock, host name, network.</summary>
    /// <exception cref="Win32Exception">The kernel refused; what came before is done, and harmless.</exception>
    /// <exception cref="IOException">The network could not be configured.</exception>
    public static async Task ApplyAsync(IdentifyRequest request, TimeProvider clock, CancellationToken cancellationToken)
    {
        GuestClock.Apply(new AgentClock { Time = request.Time, Seed = request.Seed }, clock);
        if (request.Hostname is { } name)
        {
            HostName.Set(name);
        }

        if (request.MacAddress is { } mac)
        {
            SetMac(ParseMac(mac)!);
        }

        if (IpArgument.TryParse(request.Network, out var network) && await new GuestNetwork(clock).ApplyAsync(network, cancellationToken) is { } problem)
        {
            throw new IOException(problem);
        }
    }

    /// <summary>Six bytes; null when the text has another form.</summary>
    internal static byte[]? ParseMac(string text)
    {
        var bytes = new byte[MacBytes];
        var parts = text.Split(':');
        for (var i = 0; i < MacBytes; i++)
        {
            if (parts.Length != MacBytes || parts[i].Length != 2 || !byte.TryParse(parts[i], NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture, out bytes[i]))
            {
                return null;
            }
        }

        return (bytes[0] & 1) == 0 ? bytes : null;
    }

    /// <summary>Gives the first network card another address, and takes its IPv4 addresses away, which were another guest's.</summary>
    private static void SetMac(byte[] mac)
    {
        using var netlink = Netlink.Open();
        var link = netlink.ListLinks().Where(link => !link.IsLoopback && link.Kind is null && link.Mac is not null).OrderBy(link => link.Index).FirstOrDefault()
            ?? throw new IOException("The guest has no Ethernet interface that could get the address.");
        netlink.SetDown(link.Index);
        foreach (var address in netlink.ListAddresses(link.Index))
        {
            netlink.DeleteAddress(link.Index, address.Address, address.PrefixLength);
        }

        netlink.SetMac(link.Index, mac);
        netlink.SetUp(link.Index);
    }
}
