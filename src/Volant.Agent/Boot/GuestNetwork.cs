using System.ComponentModel;
using System.Net;
using Volant.Contracts.Boot;
using Volant.Linux.Networking;

namespace Volant.Agent.Boot;

/// <summary>Applies <c>ip=</c> as a kernel with IP_PNP would; most distribution kernels have none. Applying it twice does no harm.</summary>
internal sealed class GuestNetwork(TimeProvider clock)
{
    private static readonly TimeSpan DeviceWait = TimeSpan.FromSeconds(2);
    private static readonly TimeSpan DevicePoll = TimeSpan.FromMilliseconds(5);

    /// <summary>Switches loopback on.</summary>
    /// <returns>What went wrong; null for nothing.</returns>
    public static string? SetUpLoopback()
    {
        try
        {
            using var netlink = Netlink.Open();
            netlink.SetUp(netlink.GetLink("lo").Index);
            return null;
        }
        catch (Exception e) when (e is Win32Exception or IOException)
        {
            return $"The loopback interface could not be switched on: {e.Message}.";
        }
    }

    /// <summary>Configures the guest's Ethernet interface and waits for it to appear if need be.</summary>
    /// <returns>What went wrong; null for nothing.</returns>
    public Task<string?> ApplyAsync(IpArgument argument, CancellationToken cancellationToken) =>
        ApplyAsync(argument.Device, argument.Address, argument.PrefixLength, argument.Gateway, $"ip={argument}", cancellationToken);

    /// <summary>Gives the guest's Ethernet interface an IPv6 address as well.</summary>
    /// <returns>What went wrong; null for nothing.</returns>
    public Task<string?> ApplyAsync(Ip6Argument argument, CancellationToken cancellationToken) =>
        ApplyAsync(device: null, argument.Address, argument.PrefixLength, argument.Gateway, $"{BootKeys.Ip6}={argument}", cancellationToken);

    private async Task<string?> ApplyAsync(string? device, IPAddress? address, int prefixLength, IPAddress? gateway, string argument, CancellationToken cancellationToken)
    {
        try
        {
            using var netlink = Netlink.Open();
            if (await FindAsync(netlink, device, cancellationToken) is not { } link)
            {
                return $"The boot arguments ask for the address {address}, but the guest has no Ethernet interface.";
            }

            netlink.SetUp(link.Index);
            if (address is not null)
            {
                netlink.ReplaceAddress(link.Index, address, prefixLength);
            }

            if (gateway is not null && !gateway.Equals(IPAddress.Any))
            {
                netlink.ReplaceDefaultRoute(gateway, link.Index);
            }

            return null;
        }
        catch (Exception e) when (e is Win32Exception or IOException)
        {
            return $"The network could not be configured from '{argument}': {e.Message}.";
        }
    }

    /// <summary>The interface of that name, else the first that is real Ethernet: names depend on the order in which drivers load.</summary>
    public async Task<NetworkLink?> FindAsync(Netlink netlink, string? name, CancellationToken cancellationToken)
    {
        var start = clock.GetTimestamp();
        while (true)
        {
            var links = netlink.ListLinks();
            var link = links.FirstOrDefault(l => l.Name == name) ?? links.Where(IsEthernet).OrderBy(l => l.Index).FirstOrDefault();
            if (link is not null || clock.GetElapsedTime(start) > DeviceWait)
            {
                return link;
            }

            await Task.Delay(DevicePoll, clock, cancellationToken);
        }
    }

    // Software links (dummy, bridge, sit) have a kind; a NIC has none, and shows its device.
    private static bool IsEthernet(NetworkLink link) =>
        !link.IsLoopback && link.Kind is null && link.Mac is not null && Directory.Exists($"/sys/class/net/{link.Name}/device");
}
