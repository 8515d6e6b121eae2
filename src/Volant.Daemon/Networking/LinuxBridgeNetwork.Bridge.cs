using System.ComponentModel;
using System.Net;
using Volant.Contracts.Api;
using Volant.Linux;
using Volant.Linux.Networking;

namespace Volant.Daemon.Networking;

// The bridge, and the host's address on it.
internal sealed partial class LinuxBridgeNetwork
{
    private int EnsureBridge(Netlink netlink)
    {
        var bridge = netlink.FindLink(_bridge) ?? CreateBridge(netlink);
        if (!bridge.IsBridge)
        {
            throw new VolantException(
                ErrorCodes.NetworkUnavailable,
                $"Interface '{_bridge}' is not a bridge but {bridge.Kind ?? "hardware"}; choose another bridge name or remove that interface.");
        }

        // Only a bridge of ours has this address, also when an earlier attempt broke off half-way.
        if (bridge.Mac == _bridgeMac.ToString() && !bridge.IsUp)
        {
            DisableIPv6(_bridge);
        }

        EnsureHostAddress(netlink, bridge);
        if (!bridge.IsUp)
        {
            netlink.SetUp(bridge.Index);
        }

        return bridge.Index;
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

    private void EnsureHostAddress(Netlink netlink, NetworkLink bridge)
    {
        var addresses = netlink.ListAddresses();
        var present = false;
        foreach (var address in addresses.Where(address => address.Address.Equals(_subnet.HostAddress)))
        {
            if (address.LinkIndex != bridge.Index)
            {
                throw new VolantException(
                    ErrorCodes.NetworkUnavailable,
                    $"Host address {address.Address} belongs to interface '{NameOf(netlink, address.LinkIndex)}', not to bridge '{_bridge}'; choose another host address and subnet.");
            }

            if (address.PrefixLength != _subnet.PrefixLength)
            {
                throw new VolantException(
                    ErrorCodes.NetworkUnavailable,
                    $"Bridge '{_bridge}' has {address.Address}/{address.PrefixLength}, but the subnet is {_subnet}; configure the subnet of the bridge, or delete the bridge.");
            }

            present = true;
        }

        if (present)
        {
            return;
        }

        foreach (var other in addresses.Where(address => address.LinkIndex != bridge.Index && Overlaps(address)))
        {
            var name = NameOf(netlink, other.LinkIndex);
            LogSubnetOverlaps(_subnet, name, other.Address, other.PrefixLength);
        }

        netlink.ReplaceAddress(bridge.Index, _subnet.HostAddress, _subnet.PrefixLength);
        LogHostAddressAdded(_subnet.HostAddress, _subnet.PrefixLength, _bridge);
    }

    private static string NameOf(Netlink netlink, int index) =>
        netlink.ListLinks().FirstOrDefault(link => link.Index == index)?.Name ?? $"number {index}";

    private bool Overlaps(LinkAddress other)
    {
        // The shorter prefix of the two decides; a prefix of 0 bits would be everything, but is no subnet.
        var prefix = Math.Min(other.PrefixLength, _subnet.PrefixLength);
        return prefix > 0 && ((Subnet.ToNumber(other.Address) ^ Subnet.ToNumber(_subnet.HostAddress)) >> (32 - prefix)) == 0;
    }

    [LoggerMessage(EventId = 3001, Level = LogLevel.Information, Message = "Bridge {Bridge} created")]
    private partial void LogBridgeCreated(string bridge);

    [LoggerMessage(EventId = 3002, Level = LogLevel.Information, Message = "Address {Address}/{PrefixLength} added to bridge {Bridge}")]
    private partial void LogHostAddressAdded(IPAddress address, int prefixLength, string bridge);

    [LoggerMessage(EventId = 3003, Level = LogLevel.Warning, Message = "Subnet {Subnet} overlaps {Address}/{PrefixLength} of interface {Interface}: hosts or VMs may not be reachable; choose another subnet")]
    private partial void LogSubnetOverlaps(Subnet subnet, string @interface, IPAddress address, int prefixLength);
}
