using System.Collections.Concurrent;
using System.Net;
using Volant.Contracts.Api;
using Volant.Contracts.Manifests;
using Volant.Daemon.Networking;
using Volant.Daemon.Publishing;
using Volant.Daemon.Store;

namespace Volant.Daemon.Orchestration;

/// <summary>Ports of the host that an operation holds; what it has not opened by its end is let go.</summary>
internal sealed class PortReservation : IDisposable
{
    private readonly List<(PortForwarders Forwarders, HostPort Port)> _held = [];

    /// <summary>What to record.</summary>
    public IReadOnlyList<PortLease> Leases { get; set; } = [];

    /// <summary>Whether a port is held by this.</summary>
    public bool Holds(HostPort port) => _held.Exists(held => held.Port == port);

    /// <summary>Holds a port.</summary>
    /// <exception cref="VolantException">It cannot be had.</exception>
    public void Hold(PortForwarders forwarders, HostPort port)
    {
        forwarders.Hold(port);
        _held.Add((forwarders, port));
    }

    /// <inheritdoc/>
    public void Dispose() => _held.ForEach(held => held.Forwarders.Release(held.Port));
}

/// <summary>Published ports: which port of the host leads to which guest. The store holds the leases, this opens and closes what listens.</summary>
/// <remarks>
/// The port of a VM is open while the VM runs, that of a deployment or of an address as long as it is leased. A port is had before it is
/// recorded, so that a taken one is refused before anything is made. Which guests take a connection is looked up when it comes.
/// </remarks>
internal sealed partial class PublishedPorts(
    VolantStore store, VmOwners owners, PortForwarders forwarders, GuestDialer dialer, Subnet subnet, DaemonOptions options, ILogger<PublishedPorts> logger) : IDisposable
{
    private readonly SemaphoreSlim _syncing = new(1, 1);
    private readonly ConcurrentDictionary<HostPort, string> _failures = [];

    /// <summary>Holds the ports that a VM or deployment is to publish; those without a number get a free one, the same as before if they had one.</summary>
    /// <param name="reservation">Takes what is held.</param>
    /// <param name="wanted">Entries of the configuration.</param>
    /// <param name="networkMode">How the guest is reached where an entry does not say.</param>
    /// <param name="isMine">Whether a lease is the caller's own.</param>
    /// <exception cref="VolantException"><c>port_in_use</c>, or the host cannot open it.</exception>
    public void Reserve(PortReservation reservation, IReadOnlyList<ExposedPort> wanted, string networkMode, Func<RouteRecord, bool> isMine)
    {
        if (wanted.Count == 0)
        {
            return;
        }

        var leased = store.ListRoutes().ToDictionary(route => PortOf(route.Lease));
        var mine = leased.Values.Where(isMine).Select(route => route.Lease).ToList();
        var leases = new List<PortLease>();

        // Those with a number first, so that none of them is given to one without.
        foreach (var entry in wanted.OrderBy(entry => entry.HostPort is not > 0))
        {
            var port = mine.Find(lease => lease.IsOf(entry)) is { } own ? Keep(reservation, own)
                : entry.HostPort is > 0 and { } number ? Take(reservation, new HostPort(entry.Protocol!, number), leased)
                : TakeFree(reservation, entry.Protocol!, leased);
            mine.RemoveAll(lease => PortOf(lease) == port);
            leases.Add(new PortLease(port.Protocol, port.Number, entry.Port!.Value, entry.Mode ?? networkMode, entry.Name));
        }

        reservation.Leases = leases;
    }

    /// <summary>Refuses a configuration that names a port which somebody else has. Quick; nothing is held.</summary>
    /// <exception cref="VolantException"><c>port_in_use</c>.</exception>
    public void Check(IReadOnlyList<ExposedPort> wanted, long vmId)
    {
        foreach (var entry in wanted.Where(entry => entry.HostPort is > 0))
        {
            RejectOwn(new HostPort(entry.Protocol!, entry.HostPort!.Value));
            if (store.FindRoute(entry.Protocol!, entry.HostPort!.Value) is { } taken && (taken.VmId != vmId || taken.Manual))
            {
                throw VolantStore.PortTaken(taken);
            }
        }
    }

    /// <summary>Opens the ports of a VM.</summary>
    /// <exception cref="VolantException">One of its configuration cannot be opened. One made by hand is tried again later.</exception>
    public void OpenVm(VmRecord vm)
    {
        foreach (var route in store.ListRoutes(vm.Id))
        {
            if (!TryOpen(route, out var failure) && !route.Manual)
            {
                throw failure!;
            }
        }
    }

    /// <summary>Opens the ports of a VM that an earlier daemon launched, as far as they can be had; the others are tried again later.</summary>
    public void ReopenVm(VmRecord vm)
    {
        foreach (var route in store.ListRoutes(vm.Id))
        {
            _ = TryOpen(route, out _);
        }
    }

    /// <summary>Closes the ports of a VM and cuts what goes through them; the leases stay.</summary>
    public async Task CloseVmAsync(long vmId)
    {
        foreach (var route in store.ListRoutes(vmId))
        {
            await forwarders.CloseAsync(PortOf(route.Lease));
        }
    }

    /// <summary>Makes what listens follow the leases: opens what should be open, closes what nobody leases.</summary>
    public async Task SyncAsync()
    {
        await _syncing.WaitAsync();
        try
        {
            // A lease is recorded before its port is opened: what is open and has none now has lost it.
            var open = forwarders.Open;
            var routes = store.ListRoutes();
            var leased = routes.Select(route => PortOf(route.Lease)).ToHashSet();
            foreach (var port in open.Where(port => !leased.Contains(port)))
            {
                await forwarders.CloseAsync(port);
            }

            foreach (var port in _failures.Keys.Where(port => !leased.Contains(port)))
            {
                _failures.TryRemove(port, out _);
            }

            foreach (var route in routes.Where(ShouldListen))
            {
                _ = TryOpen(route, out _);
            }
        }
        finally
        {
            _syncing.Release();
        }
    }

    /// <summary>Every route, by protocol and port.</summary>
    public IReadOnlyList<PublishedRoute> List() => [.. store.ListRoutes().Select(Describe)];

    /// <summary>Records and opens a route that is made by hand.</summary>
    /// <exception cref="VolantException">The request is wrong, <c>port_in_use</c>, <c>unsupported</c> or <c>vm_not_found</c>.</exception>
    public async Task<PublishedRoute> CreateAsync(CreateRouteRequest request, CancellationToken cancellationToken)
    {
        var faults = RouteRules.Validate(request);
        if (faults.Count > 0)
        {
            throw new VolantException(ErrorCodes.InvalidRequest, $"The request is not valid: {string.Join("; ", faults.Select(fault => $"{fault.Path} {fault.Message}"))}.") { Fields = faults };
        }

        var backend = request.Backend!;
        var vm = FindTarget(backend);
        var entry = new ExposedPort
        {
            Protocol = request.Protocol,
            HostPort = request.HostPort,
            Port = backend.Port,
            Mode = backend.Type == BackendTypes.Bridge ? NetworkModes.Bridged : NetworkModes.Vsock,
        };
        using var reservation = new PortReservation();
        Reserve(reservation, [entry], entry.Mode, static _ => false);
        var route = new RouteRecord(reservation.Leases[0]) { VmId = vm?.Id, IpAddress = vm is null ? backend.Ip : null, Manual = true };
        await store.InsertRouteAsync(route, cancellationToken);
        await SyncAsync();
        return Describe(store.FindRoute(route.Lease.Protocol, route.Lease.HostPort) ?? throw new VolantException(ErrorCodes.RouteNotFound, $"Port {PortOf(route.Lease)} was given back already."));
    }

    /// <summary>Forgets a route that was made by hand and cuts what goes through it.</summary>
    /// <exception cref="VolantException"><c>route_not_found</c> or <c>route_managed</c>.</exception>
    public async Task DeleteAsync(string protocol, int hostPort, CancellationToken cancellationToken)
    {
        await store.DeleteRouteAsync(protocol, hostPort, cancellationToken);
        await SyncAsync();
    }

    /// <inheritdoc/>
    public void Dispose() => _syncing.Dispose();

    private static HostPort PortOf(PortLease lease) => new(lease.Protocol, lease.HostPort);

    private HostPort Keep(PortReservation reservation, PortLease own)
    {
        var port = PortOf(own);
        if (!forwarders.IsOpen(port))
        {
            RejectOwn(port);
            reservation.Hold(forwarders, port);
        }

        return port;
    }

    private HostPort Take(PortReservation reservation, HostPort port, Dictionary<HostPort, RouteRecord> leased)
    {
        if (leased.TryGetValue(port, out var taken))
        {
            throw VolantStore.PortTaken(taken);
        }

        RejectOwn(port);
        reservation.Hold(forwarders, port);
        return port;
    }

    private void RejectOwn(HostPort port)
    {
        if (port.Protocol == PortProtocols.Tcp && options.Listen.EndPoint?.Port == port.Number)
        {
            throw new VolantException(ErrorCodes.PortInUse, $"Port {port} is that of volantd's own API; choose another host_port.");
        }
    }

    /// <summary>The lowest port of the range that nobody leases and that can be had.</summary>
    private HostPort TakeFree(PortReservation reservation, string protocol, Dictionary<HostPort, RouteRecord> leased)
    {
        var (first, last) = options.PublishPorts;
        for (var number = first; number <= last; number++)
        {
            var port = new HostPort(protocol, number);
            if (leased.ContainsKey(port) || reservation.Holds(port))
            {
                continue;
            }

            try
            {
                return Take(reservation, port, leased);
            }
            catch (VolantException e) when (e.Code == ErrorCodes.PortInUse)
            {
                // Another program's, or being taken at this moment.
            }
        }

        throw new VolantException(ErrorCodes.InsufficientCapacity, $"No {protocol} port from {first} to {last} is free; name a host_port, or configure a larger VOLANT_PUBLISH_PORTS.");
    }

    private bool ShouldListen(RouteRecord route) => route.Vm is not { } name || owners.FindRun(name) is not null;

    private bool TryOpen(RouteRecord route, out VolantException? failure)
    {
        var port = PortOf(route.Lease);
        try
        {
            RejectOwn(port);
            forwarders.OpenPort(port, FinderOf(route));
            _failures.TryRemove(port, out _);
            failure = null;
            return true;
        }
        catch (VolantException e)
        {
            if (_failures.GetValueOrDefault(port) != e.Message)
            {
                LogNotOpen(port, e.Message);
            }

            _failures[port] = e.Message;
            failure = e;
            return false;
        }
    }

    /// <summary>The guests of a route at the moment of a call.</summary>
    private Func<IReadOnlyList<Backend>> FinderOf(RouteRecord route)
    {
        var lease = route.Lease;
        if (route.Vm is { } vm)
        {
            return () => owners.FindRun(vm) is { } run ? [BackendOf(run, lease.Mode, lease.Port)] : [];
        }

        if (route.Deployment is { } deployment)
        {
            // During a roll-out each replica serves by the configuration that it was made from.
            return () =>
            [
                .. from run in owners.ReadyRuns(deployment)
                   let entry = run.Exposed.FirstOrDefault(lease.IsOf)
                   where entry is not null
                   select BackendOf(run, entry.Mode ?? run.Vm.NetworkMode, entry.Port!.Value),
            ];
        }

        var address = new IPEndPoint(IPAddress.Parse(route.IpAddress!), lease.Port);
        var fixedBackend = new Backend(
            Guid.Empty, address.ToString(), end => dialer.ConnectAsync(address, end), _ => Task.FromResult(dialer.OpenDatagrams(address)), CancellationToken.None);
        return () => [fixedBackend];
    }

    private Backend BackendOf(VmRun run, string mode, int port)
    {
        if (mode == NetworkModes.Bridged && IPAddress.TryParse(run.Vm.IpAddress, out var ip))
        {
            var address = new IPEndPoint(ip, port);
            return new Backend(run.Vm.Uid, run.Vm.Name, end => dialer.ConnectAsync(address, end), _ => Task.FromResult(dialer.OpenDatagrams(address)), run.Ended);
        }

        return new Backend(run.Vm.Uid, run.Vm.Name, end => GuestTunnels.ConnectAsync(run.Guest, run.Vm.Name, port, end), end => GuestTunnels.OpenDatagramsAsync(run.Guest, run.Vm.Name, port, end), run.Ended);
    }

    /// <summary>The VM that a route made by hand leads to; null for an address that no VM has.</summary>
    private VmRecord? FindTarget(RouteBackend backend)
    {
        if (backend.Type == BackendTypes.Bridge)
        {
            return subnet.IsUsable(IPAddress.Parse(backend.Ip!))
                ? store.FindVmByAddress(backend.Ip!)
                : throw new VolantException(ErrorCodes.Unsupported, $"{backend.Ip} is not an address of a guest: it must be inside {subnet} and not the host's own.") { Fields = [new("backend.ip", $"must be inside {subnet}")] };
        }

        return store.AllVms().FirstOrDefault(vm => vm.Vm.VsockCid == backend.Cid && !vm.Deleting)
            ?? throw new VolantException(ErrorCodes.VmNotFound, $"No VM has the vsock_cid {backend.Cid}; see 'volar vms list'.");
    }

    private PublishedRoute Describe(RouteRecord route)
    {
        var lease = route.Lease;
        var vm = route.VmId is { } id ? store.FindVm(id)?.Vm : null;
        var isBridge = lease.Mode == NetworkModes.Bridged;
        return new PublishedRoute
        {
            HostPort = lease.HostPort,
            Protocol = lease.Protocol,
            Backend = new RouteBackend
            {
                Type = isBridge ? BackendTypes.Bridge : BackendTypes.Vsock,
                Ip = !isBridge ? null : route.IpAddress ?? (vm?.IpAddress is { Length: > 0 } address ? address : null),
                Port = lease.Port,
                Cid = isBridge ? null : vm?.VsockCid,
            },
            Address = options.PublishAddress.ToString(),
            Name = lease.Name,
            Vm = route.Vm,
            Deployment = route.Deployment,
            Listening = forwarders.IsOpen(PortOf(lease)),
            Message = forwarders.IsOpen(PortOf(lease)) ? null
                : _failures.GetValueOrDefault(PortOf(lease)) ?? (ShouldListen(route) ? null : $"VM '{route.Vm}' does not run"),
        };
    }

    [LoggerMessage(EventId = 1501, Level = LogLevel.Warning, Message = "Port {Port} is leased but not open; it is tried again: {Reason}")]
    private partial void LogNotOpen(HostPort port, string reason);
}
