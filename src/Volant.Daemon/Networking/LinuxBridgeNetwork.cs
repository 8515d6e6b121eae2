using System.ComponentModel;
using System.Net;
using Volant.Contracts.Api;
using Volant.Linux;
using Volant.Linux.Networking;
using Volant.Linux.Processes;

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
    private readonly BridgePolicy _policy;
    private readonly Firewall _firewall;
    private readonly GuestServices? _services;
    private readonly ILogger _logger;
    private readonly SemaphoreSlim _changes = new(MaxConcurrentChanges);
    private readonly SemaphoreSlim _deletions = new(MaxConcurrentDeletions);
    private bool _settled;

    /// <summary>Does not touch the host yet.</summary>
    /// <param name="bridge">Name of the bridge.</param>
    /// <param name="subnet">Its addresses, and the host's among them.</param>
    /// <param name="policy">What guests may do.</param>
    /// <param name="logger">Where changes of the host are told.</param>
    /// <param name="services">DHCP and DNS on the bridge; needed when <paramref name="policy"/> wants them, else it is ended.</param>
    /// <exception cref="ArgumentException">A value cannot be used; the message names it and the remedy.</exception>
    public LinuxBridgeNetwork(string bridge, Subnet subnet, BridgePolicy policy, ILogger logger, GuestServices? services = null)
    {
        // The rest of what interfaces may be called has a meaning in the language of packet filter rules.
        if (!InterfaceName.IsValid(bridge) || IsTapName(bridge) || !bridge.All(c => char.IsAsciiLetterOrDigit(c) || c is '-' or '_' or '.'))
        {
            throw new ArgumentException(
                $"'{bridge}' cannot name the bridge: use 1 to {InterfaceName.MaxLength} ASCII letters, digits, '-', '_' and '.', such as vbr0.",
                nameof(bridge));
        }

        _bridge = bridge;
        _subnet = subnet;
        _bridgeMac = MacAddress.ForBridge(Subnet.ToNumber(subnet.HostAddress));
        _policy = policy;
        _firewall = new Firewall(new FirewallRules(bridge, policy.Isolates, policy.ServesGuests), logger);
        _services = services;
        _logger = logger;
    }

    /// <summary>Makes and sets up the bridge if need be, so that a fault of the host shows before the first VM.</summary>
    /// <exception cref="VolantException"><c>network_unavailable</c>: the message names the cause and the remedy.</exception>
    public Task EnsureBridgeAsync(CancellationToken cancellationToken) => RunAsync(_changes, EnsureBridge, cancellationToken);

    /// <inheritdoc/>
    public bool ServesGuests => _policy.ServesGuests;

    /// <inheritdoc/>
    public Task<string> AttachAsync(AttachedGuest guest, CancellationToken cancellationToken) => RunAsync(_changes, () => Attach(guest), cancellationToken);

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
    public Task<IReadOnlyList<TapFault>> CheckAsync(IReadOnlyCollection<AttachedGuest> guests) => RunAsync(_changes, () => Check(guests), CancellationToken.None);

    /// <inheritdoc/>
    public void Dispose()
    {
        _services?.Dispose();
        _changes.Dispose();
        _deletions.Dispose();
    }

    // The synchronous core serves the network namespace of the thread that calls it.

    internal int EnsureBridge() => Explain($"Setting up bridge '{_bridge}'", () =>
    {
        using var netlink = Netlink.Open();
        return EnsureBridge(netlink);
    });

    internal string Attach(AttachedGuest guest)
    {
        var name = TapNameFor(guest.Uid);
        return Explain($"Attaching tap '{name}' to bridge '{_bridge}'", () =>
        {
            Settle();
            using var netlink = Netlink.Open();
            var bridge = EnsureBridge(netlink);
            var existed = netlink.FindLink(name) is { IsTap: true };
            var created = false;
            try
            {
                if (_policy.Filters)
                {
                    // Before there is a tap: its guest is never without rules.
                    _firewall.Allow(name, MacAddress.FromUid(guest.Uid), guest.Addresses);
                }

                if (_policy.ServesGuests)
                {
                    _services?.Put(name, guest);
                }

                created = TapDevice.Create(name, guest.Owner ?? EffectiveUser.Id);
                Connect(netlink, name, MacAddress.ForTap(guest.Uid), bridge);
                foreach (var address in guest.Addresses.Where(IsNeighbor))
                {
                    netlink.ReplaceNeighbor(bridge, address, MacAddress.FromUid(guest.Uid).ToArray());
                }

                return name;
            }
            catch when (created || !existed)
            {
                Forget(netlink, name, created);
                throw;
            }
        });
    }

    internal bool Detach(string tap)
    {
        RequireTapName(tap);
        return Explain($"Deleting tap '{tap}'", () =>
        {
            var deleted = TapDevice.Delete(tap);
            ForgetGuest(tap);
            return deleted;
        });
    }

    internal IReadOnlyList<TapFault> Check(IReadOnlyCollection<AttachedGuest> guests) => Explain($"Checking bridge '{_bridge}'", () =>
    {
        var byTap = guests.ToDictionary(guest => TapNameFor(guest.Uid), StringComparer.Ordinal);
        IReadOnlyList<string> unruly = [];
        if (guests.Count > 0)
        {
            Settle();
        }

        if (_policy.Filters)
        {
            unruly = _firewall.Check(byTap.ToDictionary(guest => guest.Key, guest => (MacAddress.FromUid(guest.Value.Uid), guest.Value.Addresses), StringComparer.Ordinal));
        }

        if (_policy.ServesGuests)
        {
            _services?.Ensure();
        }

        if (guests.Count == 0)
        {
            return (IReadOnlyList<TapFault>)[];
        }

        using var netlink = Netlink.Open();
        var bridge = EnsureBridge(netlink);
        var links = netlink.ListLinks().Where(link => byTap.ContainsKey(link.Name)).ToDictionary(link => link.Name, StringComparer.Ordinal);
        List<TapFault> faults = [];
        foreach (var (tap, guest) in byTap)
        {
            if (links.GetValueOrDefault(tap) is not { IsTap: true } link)
            {
                faults.Add(new TapFault(guest.Uid, IsLost: true));
            }
            else if (ChangesOf(link, MacAddress.ForTap(guest.Uid), bridge).Count > 0 || unruly.Contains(tap, StringComparer.Ordinal)
                || (_policy.ServesGuests && _services?.Serves(tap, guest) is false))
            {
                faults.Add(new TapFault(guest.Uid, IsLost: false));
            }
            else if (!link.HasCarrier)
            {
                // Another tap of the same name: the hypervisor holds none.
                faults.Add(new TapFault(guest.Uid, IsLost: true));
            }
        }

        return faults;
    });

    internal IReadOnlyList<string> List() => Explain("Listing taps", () =>
    {
        using var netlink = Netlink.Open();
        var links = netlink.ListLinks();
        var bridge = links.FirstOrDefault(link => link.Name == _bridge)?.Index;
        var taps = from link in links
                   where link.IsTap && IsTapName(link.Name) && (link.Master is null || link.Master == bridge)
                   select link.Name;

        // Where there is no bridge there never was a guest, nor a reason to load the library.
        var ruled = _policy.Filters && bridge is not null ? _firewall.ListTaps().Where(IsTapName) : [];
        var served = _policy.ServesGuests && _services is not null ? _services.ListTaps().Where(IsTapName) : [];
        return (IReadOnlyList<string>)[.. taps.Union(ruled, StringComparer.Ordinal).Union(served, StringComparer.Ordinal)];
    });

    private static void RequireTapName(string tap)
    {
        if (!IsTapName(tap))
        {
            throw new ArgumentException($"'{tap}' is not the name of a VM's tap.", nameof(tap));
        }
    }

    /// <summary>Before the first guest: refuses when the rules cannot be made, or removes those that an earlier daemon made.</summary>
    private void Settle()
    {
        if (_policy.Filters)
        {
            Firewall.Require();
        }
        else if (!_settled)
        {
            _firewall.RemoveAll();
        }

        if (!_policy.ServesGuests && !_settled)
        {
            _services?.End();
        }

        if (!_settled && !Forwards())
        {
            LogNotForwarding();
        }

        _settled = true;
    }

    private static bool Forwards()
    {
        try
        {
            return File.ReadAllText("/proc/sys/net/ipv4/ip_forward").Trim() != "0";
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return true; // It cannot be told.
        }
    }

    private void Connect(Netlink netlink, string name, MacAddress mac, int bridge)
    {
        // Whatever the bridge has: a port has no address of its own, no link-local one either.
        Set(name, DisableIPv6, "1");
        var tap = netlink.GetLink(name);

        // A tap that a hypervisor uses is normally right already, and then not touched.
        foreach (var change in ChangesOf(tap, mac, bridge))
        {
            netlink.SetLink(tap.Index, change);
        }
    }

    /// <summary>
    /// What makes a tap right, in this order: a port of the bridge is isolated after it has joined, and up only then. The kernel's own
    /// isolation, and not a rule, because it also holds for frames that are flooded, costs nothing per frame, and stays when rules are lost.
    /// </summary>
    private List<LinkChange> ChangesOf(NetworkLink tap, MacAddress mac, int bridge)
    {
        var joins = tap.Master != bridge;
        var first = new LinkChange { Mac = tap.Mac == mac.ToString() ? default : mac.ToArray(), Master = joins ? bridge : null };
        var second = new LinkChange { Isolated = (!joins && tap.IsIsolated) == _policy.Isolates ? null : _policy.Isolates, Up = tap.IsUp ? null : true };
        return [.. new[] { first, second }.Where(change => change != default)];
    }

    private void Forget(Netlink netlink, string tap, bool created)
    {
        try
        {
            if (created)
            {
                netlink.DeleteLink(tap);
            }

            ForgetGuest(tap);
        }
        catch (Exception e) when (e is Win32Exception or VolantException)
        {
            LogTapLeft(tap, e);
        }
    }

    /// <summary>What a guest was allowed and what was served to it, after its tap.</summary>
    private void ForgetGuest(string tap)
    {
        if (_policy.ServesGuests)
        {
            _services?.Remove(tap);
        }

        if (_policy.Filters)
        {
            var neighbors = _firewall.Forget(tap).Where(IsNeighbor).ToList();
            if (neighbors.Count > 0)
            {
                using var netlink = Netlink.Open();
                if (netlink.FindLink(_bridge) is { } bridge)
                {
                    neighbors.ForEach(address => netlink.DeleteNeighbor(bridge.Index, address));
                }
            }
        }
    }

    /// <summary>
    /// Whether an address is one that the host takes from nobody but this daemon: in IPv6 a neighbour can answer for others (RFC 4861 §11.1), and
    /// the rules see whom an answer comes from, not whom it speaks of.
    /// </summary>
    private bool IsNeighbor(IPAddress address) => _policy.Filters && _subnet.IPv6?.Network.Contains(address) is true;

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

    [LoggerMessage(EventId = 3005, Level = LogLevel.Warning, Message = "Guests on the bridge reach nothing beyond this host: it does not forward packets; run 'sysctl -w net.ipv4.ip_forward=1', or 'volar setup', which also keeps it so")]
    private partial void LogNotForwarding();

    [LoggerMessage(EventId = 3004, Level = LogLevel.Warning, Message = "Tap {Tap} could not be deleted after attaching it had failed")]
    private partial void LogTapLeft(string tap, Exception exception);
}
