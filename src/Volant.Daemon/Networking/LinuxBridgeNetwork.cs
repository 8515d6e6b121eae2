using System.ComponentModel;
using System.Net;
using Volant.Contracts.Api;
using Volant.Linux;
using Volant.Linux.Networking;

namespace Volant.Daemon.Networking;

/// <summary>Connects the VMs' taps by a Linux bridge, on which the host has an address. Needs CAP_NET_ADMIN.</summary>
/// <remarks>
/// The bridge is checked, and made when it is absent, at every attach: so it comes back after someone deleted it. One that others made is
/// used as it is, apart from the host's address and being up. Work runs on the thread pool, a few calls at a time, because all of them
/// wait for one lock of the kernel (RTNL); deletions have a queue of their own, so that a mass of them does not delay a VM that starts.
/// </remarks>
internal sealed partial class LinuxBridgeNetwork : IHostNetwork, IDisposable
{
    /// <summary>Most ports of a Linux bridge (<c>BR_MAX_PORTS</c> less port 0).</summary>
    public const int MaxPorts = 1023;

    /// <summary>Four deletions at a time share most of the kernel's waiting: 8 ms each, against 20 ms one by one.</summary>
    private const int MaxConcurrentDeletions = 4;

    private const int MaxConcurrentChanges = 2;

    private readonly string _bridge;
    private readonly Subnet _subnet;
    private readonly MacAddress _bridgeMac;
    private readonly ILogger _logger;
    private readonly SemaphoreSlim _changes = new(MaxConcurrentChanges);
    private readonly SemaphoreSlim _deletions = new(MaxConcurrentDeletions);

    /// <summary>Does not touch the host yet.</summary>
    /// <param name="bridge">Name of the bridge.</param>
    /// <param name="hostAddress">The host's address on it.</param>
    /// <param name="prefixLength">Length of the subnet prefix, 8 to 30.</param>
    /// <param name="logger">Where changes of the host are told.</param>
    /// <exception cref="ArgumentException">A value cannot be used; the message names it and the remedy.</exception>
    public LinuxBridgeNetwork(string bridge, IPAddress hostAddress, int prefixLength, ILogger logger)
    {
        if (!InterfaceName.IsValid(bridge) || IsTapName(bridge))
        {
            throw new ArgumentException(
                $"'{bridge}' cannot name the bridge: use 1 to {InterfaceName.MaxLength} ASCII characters without spaces, '/', ':' and '%', such as vbr0.",
                nameof(bridge));
        }

        _bridge = bridge;
        _subnet = Subnet.Around(hostAddress, prefixLength);
        _bridgeMac = MacAddress.ForBridge(Subnet.ToNumber(hostAddress));
        _logger = logger;
    }

    /// <summary>Makes and sets up the bridge if need be, so that a fault of the host shows before the first VM.</summary>
    /// <exception cref="VolantException"><c>network_unavailable</c>: the message names the cause and the remedy.</exception>
    public Task EnsureBridgeAsync(CancellationToken cancellationToken) => RunAsync(_changes, EnsureBridge, cancellationToken);

    /// <inheritdoc/>
    public Task<string> AttachAsync(Guid uid, uint? owner, CancellationToken cancellationToken) => RunAsync(_changes, () => Attach(uid, owner), cancellationToken);

    /// <inheritdoc/>
    public Task DetachAsync(string tap, CancellationToken cancellationToken)
    {
        RequireTapName(tap);
        return RunAsync(_deletions, () => Detach(tap), cancellationToken);
    }

    /// <inheritdoc/>
    /// <remarks>Taps in another bridge are left out: they belong to another daemon.</remarks>
    public Task<IReadOnlyList<string>> ListAsync() => RunAsync(_changes, List, CancellationToken.None);

    /// <inheritdoc/>
    public void Dispose()
    {
        _changes.Dispose();
        _deletions.Dispose();
    }

    // The synchronous core serves the network namespace of the thread that calls it.

    internal int EnsureBridge() => Explain($"Setting up bridge '{_bridge}'", () =>
    {
        using var netlink = Netlink.Open();
        return EnsureBridge(netlink);
    });

    internal string Attach(Guid uid, uint? owner = null)
    {
        var name = TapNameFor(uid);
        return Explain($"Attaching tap '{name}' to bridge '{_bridge}'", () =>
        {
            using var netlink = Netlink.Open();
            var bridge = EnsureBridge(netlink);
            var created = TapDevice.Create(name, owner);
            try
            {
                Connect(netlink, name, MacAddress.ForTap(uid), bridge);
                return name;
            }
            catch when (created)
            {
                Forget(netlink, name);
                throw;
            }
        });
    }

    internal static bool Detach(string tap)
    {
        RequireTapName(tap);
        return Explain($"Deleting tap '{tap}'", () => TapDevice.Delete(tap));
    }

    internal IReadOnlyList<string> List() => Explain("Listing taps", () =>
    {
        using var netlink = Netlink.Open();
        var links = netlink.ListLinks();
        var bridge = links.FirstOrDefault(link => link.Name == _bridge)?.Index;
        return (IReadOnlyList<string>)
        [
            .. from link in links
               where link.IsTap && IsTapName(link.Name) && (link.Master is null || link.Master == bridge)
               select link.Name,
        ];
    });

    private static void RequireTapName(string tap)
    {
        if (!IsTapName(tap))
        {
            throw new ArgumentException($"'{tap}' is not the name of a VM's tap.", nameof(tap));
        }
    }

    private static void Connect(Netlink netlink, string name, MacAddress mac, int bridge)
    {
        DisableIPv6(name);
        var tap = netlink.GetLink(name);
        var change = new LinkChange
        {
            Mac = tap.Mac == mac.ToString() ? default : mac.ToArray(),
            Master = tap.Master == bridge ? null : bridge,
            Up = tap.IsUp ? null : true,
        };

        // A tap that a hypervisor uses is normally right already, and then not touched.
        if (change != default)
        {
            netlink.SetLink(tap.Index, change);
        }
    }

    /// <summary>Guests get no IPv6 yet, so the host offers none: no link-local address, no router solicitation.</summary>
    private static void DisableIPv6(string name)
    {
        try
        {
            // Open, never create: without IPv6 in the kernel there is no such file. Some containers have /proc/sys read-only.
            using var setting = File.OpenHandle($"/proc/sys/net/ipv6/conf/{name}/disable_ipv6", FileMode.Open, FileAccess.Write);
            RandomAccess.Write(setting, "1"u8, 0);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return;
        }
    }

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

    private void Forget(Netlink netlink, string tap)
    {
        try
        {
            netlink.DeleteLink(tap);
        }
        catch (Win32Exception e)
        {
            LogTapLeft(tap, e);
        }
    }

    private static T Explain<T>(string what, Func<T> action)
    {
        try
        {
            return action();
        }
        catch (Win32Exception e)
        {
            throw new VolantException(ErrorCodes.NetworkUnavailable, Message(what, e), e);
        }
    }

    private static string Message(string what, Win32Exception e) => e.NativeErrorCode switch
    {
        Errno.NotPermitted or Errno.AccessDenied =>
            $"{what} needs CAP_NET_ADMIN; run volantd as root or use network mode vsock.",
        Errno.ExchangeFull =>
            $"{what} failed: the bridge has all of its {MaxPorts} ports; destroy VMs that are not needed, or run further VMs on another bridge.",
        Errno.NoEntry or Errno.NotSupported =>
            $"{what} failed: {e.Message}; load the kernel modules 'tun' and 'bridge', or use network mode vsock.",
        _ => $"{what} failed: {e.Message}.",
    };

    private static async Task<T> RunAsync<T>(SemaphoreSlim queue, Func<T> work, CancellationToken cancellationToken)
    {
        await queue.WaitAsync(cancellationToken);
        try
        {
            // Not cancelled half-way: what has begun is finished, and takes milliseconds.
            return await Task.Run(work, CancellationToken.None);
        }
        finally
        {
            queue.Release();
        }
    }

    [LoggerMessage(EventId = 3001, Level = LogLevel.Information, Message = "Bridge {Bridge} created")]
    private partial void LogBridgeCreated(string bridge);

    [LoggerMessage(EventId = 3002, Level = LogLevel.Information, Message = "Address {Address}/{PrefixLength} added to bridge {Bridge}")]
    private partial void LogHostAddressAdded(IPAddress address, int prefixLength, string bridge);

    [LoggerMessage(EventId = 3003, Level = LogLevel.Warning, Message = "Subnet {Subnet} overlaps {Address}/{PrefixLength} of interface {Interface}: hosts or VMs may not be reachable; choose another subnet")]
    private partial void LogSubnetOverlaps(Subnet subnet, string @interface, IPAddress address, int prefixLength);

    [LoggerMessage(EventId = 3004, Level = LogLevel.Warning, Message = "Tap {Tap} could not be deleted after attaching it had failed")]
    private partial void LogTapLeft(string tap, Exception exception);
}
