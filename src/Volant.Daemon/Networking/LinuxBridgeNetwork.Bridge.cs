using System.ComponentModel;
using System.Net;
using System.Net.Sockets;
using System.Text;
using Volant.Contracts.Api;
using Volant.Linux;
using Volant.Linux.Networking;

namespace Volant.Daemon.Networking;

// The bridge, and the host's address on it.
internal sealed partial class LinuxBridgeNetwork
{
    private const string DisableIPv6 = "disable_ipv6";

    private readonly Lock _making = new();

    /// <summary>One at a time: what another thread makes between two looks would seem to be somebody else's.</summary>
    private int EnsureBridge(Netlink netlink)
    {
        lock (_making)
        {
            return EnsureBridge_NeedsLock(netlink);
        }
    }

    private int EnsureBridge_NeedsLock(Netlink netlink)
    {
        var found = netlink.FindLink(_bridge);
        if (found is { IsBridge: false })
        {
            throw new VolantException(
                ErrorCodes.NetworkUnavailable,
                $"Interface '{_bridge}' is not a bridge but {found.Kind ?? "hardware"}; choose another bridge name or remove that interface.");
        }

        // Before anything is made.
        var hasAddress = CheckSubnet(netlink, found?.Index);
        var bridge = found ?? CreateBridge(netlink);

        // Only a bridge of ours has this address, also when an earlier attempt broke off half-way.
        if (bridge.Mac == _bridgeMac.ToString() && !bridge.IsUp)
        {
            Set(_bridge, DisableIPv6, "1");
        }

        if (!hasAddress)
        {
            netlink.ReplaceAddress(bridge.Index, _subnet.HostAddress, _subnet.PrefixLength);
            LogHostAddressAdded(_subnet.HostAddress, _subnet.PrefixLength, _bridge);
        }

        if (!bridge.IsUp)
        {
            netlink.SetUp(bridge.Index);
        }

        if (_subnet.IPv6 is { } ipv6)
        {
            EnsureIPv6(netlink, bridge.Index, ipv6);
        }

        return bridge.Index;
    }

    private void EnsureIPv6(Netlink netlink, int bridge, UniqueLocalPrefix prefix)
    {
        var host = prefix.AddressOf(_subnet.HostAddress);
        var addresses = netlink.ListAddresses(family: AddressFamily.InterNetworkV6);
        if (addresses.Any(address => address.LinkIndex == bridge && address.Address.Equals(host)))
        {
            return;
        }

        if (addresses.FirstOrDefault(address => address.LinkIndex != bridge && prefix.Network.Contains(address.Address)) is { } address)
        {
            throw Refused($"The IPv6 network {prefix} has {address.Address} of interface '{NameOf(netlink, address.LinkIndex)}'; choose another VOLANT_SUBNET6.");
        }

        if (netlink.ListRoutes(AddressFamily.InterNetworkV6).FirstOrDefault(route => route.LinkIndex != bridge && route.PrefixLength > 0 && Overlap(prefix.Network, route)) is { } route)
        {
            throw Refused($"The IPv6 network {prefix} overlaps the route to {route.Destination}/{route.PrefixLength} by interface '{NameOf(netlink, route.LinkIndex)}'; choose another VOLANT_SUBNET6.");
        }

        // No address of its own choice, none from a guest that plays the router.
        Set(_bridge, "accept_ra", "0");
        Set(_bridge, "addr_gen_mode", "1");
        if (!Set(_bridge, DisableIPv6, "0"))
        {
            throw Refused($"IPv6 cannot be switched on for bridge '{_bridge}' (/proc/sys/net/ipv6/conf/{_bridge}/{DisableIPv6}): the kernel has none, or this process may not; set VOLANT_SUBNET6=off.");
        }

        netlink.ReplaceAddress(bridge, host, UniqueLocalPrefix.Length);
        LogHostAddressAdded(host, UniqueLocalPrefix.Length, _bridge);
    }

    private static bool Overlap(IPNetwork network, LinkRoute route) =>
        network.Contains(route.Destination) || (route.PrefixLength <= network.PrefixLength && new IPNetwork(route.Destination, route.PrefixLength).Contains(network.BaseAddress));

    /// <summary>Sets a property of an interface's IPv6; false where it cannot be set: without IPv6 in the kernel, or with /proc/sys read-only, as in some containers.</summary>
    private static bool Set(string name, string property, string value)
    {
        try
        {
            // Opened, never created.
            using var setting = File.OpenHandle($"/proc/sys/net/ipv6/conf/{name}/{property}", FileMode.Open, FileAccess.Write);
            RandomAccess.Write(setting, Encoding.ASCII.GetBytes(value), 0);
            return true;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return false;
        }
    }

    private NetworkLink CreateBridge(Netlink netlink)
    {
        try
        {
            var bridge = netlink.CreateBridge(_bridge, _bridgeMac.ToArray());
            LogBridgeCreated(_bridge);
            return bridge;
        }
        catch (Win32Exception e) when (e.NativeErrorCode == Errno.Exists)
        {
            return netlink.GetLink(_bridge); // Another thread was faster.
        }
    }

    /// <summary>Refuses a subnet that the host uses for something else.</summary>
    /// <returns>Whether the bridge has the host's address already; then it was checked before, and what came later is not ours to judge.</returns>
    private bool CheckSubnet(Netlink netlink, int? bridge)
    {
        var addresses = netlink.ListAddresses();
        if (addresses.FirstOrDefault(address => address.Address.Equals(_subnet.HostAddress)) is { } present)
        {
            return present.LinkIndex != bridge
                ? throw Refused($"Host address {present.Address} belongs to interface '{NameOf(netlink, present.LinkIndex)}', not to bridge '{_bridge}'; choose another host address and subnet.")
                : present.PrefixLength == _subnet.PrefixLength ? true
                : throw Refused($"Bridge '{_bridge}' has {present.Address}/{present.PrefixLength}, but the subnet is {_subnet}; configure the subnet of the bridge, or delete the bridge.");
        }

        if (addresses.FirstOrDefault(address => address.LinkIndex != bridge && Overlaps(address.Address, address.PrefixLength)) is { } address)
        {
            throw Refused($"Subnet {_subnet} overlaps {address.Address}/{address.PrefixLength} of interface '{NameOf(netlink, address.LinkIndex)}'; choose another VOLANT_SUBNET and VOLANT_HOST_IP.");
        }

        if (netlink.ListRoutes().FirstOrDefault(route => route.LinkIndex != bridge && Overlaps(route.Destination, route.PrefixLength)) is { } route)
        {
            throw Refused($"Subnet {_subnet} overlaps the route to {route.Destination}/{route.PrefixLength} by interface '{NameOf(netlink, route.LinkIndex)}'; choose another VOLANT_SUBNET and VOLANT_HOST_IP.");
        }

        return false;
    }

    private static VolantException Refused(string message) => new(ErrorCodes.NetworkUnavailable, message);

    private static string NameOf(Netlink netlink, int index) =>
        netlink.ListLinks().FirstOrDefault(link => link.Index == index)?.Name ?? $"number {index}";

    private bool Overlaps(IPAddress other, int prefixLength)
    {
        // The shorter prefix of the two decides; one of 0 bits is the default route, which everything is in.
        var prefix = Math.Min(prefixLength, _subnet.PrefixLength);
        return prefix > 0 && ((Subnet.ToNumber(other) ^ Subnet.ToNumber(_subnet.HostAddress)) >> (32 - prefix)) == 0;
    }

    [LoggerMessage(EventId = 3001, Level = LogLevel.Information, Message = "Bridge {Bridge} created")]
    private partial void LogBridgeCreated(string bridge);

    [LoggerMessage(EventId = 3002, Level = LogLevel.Information, Message = "Address {Address}/{PrefixLength} added to bridge {Bridge}")]
    private partial void LogHostAddressAdded(IPAddress address, int prefixLength, string bridge);
}
