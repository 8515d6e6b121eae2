using System.Net;
using System.Net.Sockets;
using Volant.Contracts.Api;

namespace Volant.Daemon.Publishing;

/// <summary>Every port of the host that is open, or held for one that will be.</summary>
/// <remarks>
/// A port is first held, which finds out whether it can be had at all, and later opened: then connections that came meanwhile are served. A port that
/// is neither ours nor anybody's refuses connections. Nothing outlives the daemon: the kernel closes all of it. Safe for concurrent use.
/// </remarks>
/// <param name="address">Address of the host that all ports listen on.</param>
/// <param name="clock">Measures the limits of connections.</param>
/// <param name="logger">Told what operators look for.</param>
internal sealed partial class PortForwarders(IPAddress address, TimeProvider clock, ILogger<PortForwarders> logger) : IAsyncDisposable
{
    private const int Backlog = 512;

    private readonly Lock _gate = new();
    private readonly Dictionary<HostPort, Socket> _held = [];
    private readonly Dictionary<HostPort, (IAsyncDisposable Forwarder, Balancer Balancer)> _open = [];

    /// <summary>The ports that are open.</summary>
    public IReadOnlyList<HostPort> Open
    {
        get
        {
            lock (_gate)
            {
                return [.. _open.Keys];
            }
        }
    }

    /// <summary>Whether a port is open.</summary>
    public bool IsOpen(HostPort port)
    {
        lock (_gate)
        {
            return _open.ContainsKey(port);
        }
    }

    /// <summary>Holds a port until it is opened or released.</summary>
    /// <exception cref="VolantException"><c>port_in_use</c>, <c>insufficient_capacity</c> or <c>network_unavailable</c>: it cannot be had; nothing is held.</exception>
    public void Hold(HostPort port)
    {
        var socket = Listen(port);
        lock (_gate)
        {
            if (!_open.ContainsKey(port) && _held.TryAdd(port, socket))
            {
                return;
            }
        }

        Close(port, socket);
        throw Busy(port);
    }

    /// <summary>Lets go of a port that is held and not open.</summary>
    public void Release(HostPort port)
    {
        Socket? socket;
        lock (_gate)
        {
            _held.Remove(port, out socket);
        }

        if (socket is not null)
        {
            Close(port, socket);
        }
    }

    /// <summary>Opens a port, held or not; one that is open goes on with other guests.</summary>
    /// <param name="port">Which.</param>
    /// <param name="find">The guests that can be used at a moment; quick, called for every connection or flow.</param>
    /// <exception cref="VolantException">As <see cref="Hold"/>.</exception>
    public void OpenPort(HostPort port, Func<IReadOnlyList<Backend>> find)
    {
        Socket? socket;
        lock (_gate)
        {
            if (_open.TryGetValue(port, out var open))
            {
                open.Balancer.Find = find;
                return;
            }

            _held.Remove(port, out socket);
        }

        try
        {
            socket ??= Listen(port);
        }
        catch (VolantException) when (IsOpen(port))
        {
            // Opened by somebody else meanwhile.
            return;
        }

        var balancer = new Balancer(find);
        IAsyncDisposable forwarder = port.Protocol == PortProtocols.Tcp
            ? new TcpForwarder(port, socket, balancer, clock, logger)
            : new UdpForwarder(port, socket, balancer, clock, logger);
        lock (_gate)
        {
            _open.Add(port, (forwarder, balancer));
        }

        LogOpen(port, address);
    }

    /// <summary>Closes a port and cuts what goes through it; does nothing when it is not open.</summary>
    public async Task CloseAsync(HostPort port)
    {
        IAsyncDisposable forwarder;
        lock (_gate)
        {
            if (!_open.Remove(port, out var open))
            {
                return;
            }

            forwarder = open.Forwarder;
        }

        await forwarder.DisposeAsync();
        LogClosed(port);
    }

    /// <inheritdoc/>
    public async ValueTask DisposeAsync()
    {
        foreach (var port in Open)
        {
            await CloseAsync(port);
        }

        List<HostPort> held;
        lock (_gate)
        {
            held = [.. _held.Keys];
        }

        held.ForEach(Release);
    }

    private Socket Listen(HostPort port)
    {
        var isTcp = port.Protocol == PortProtocols.Tcp;
        var socket = new Socket(address.AddressFamily, isTcp ? SocketType.Stream : SocketType.Dgram, isTcp ? ProtocolType.Tcp : ProtocolType.Udp);
        try
        {
            if (address.Equals(IPAddress.IPv6Any))
            {
                socket.DualMode = true;
            }

            socket.Bind(new IPEndPoint(address, port.Number));
            if (isTcp)
            {
                // Listening is what makes the port ours alone: a bound socket shares it (SO_REUSEADDR, which skips TIME_WAIT).
                socket.Listen(Backlog);
            }

            return socket;
        }
        catch (SocketException e)
        {
            socket.Dispose();
            throw e.SocketErrorCode switch
            {
                SocketError.AddressAlreadyInUse => Busy(port),
                SocketError.AccessDenied => new VolantException(
                    ErrorCodes.InsufficientCapacity, $"Port {port} of the host needs a privilege that volantd does not have (CAP_NET_BIND_SERVICE); choose a host_port of 1024 or more.", e),
                _ => new VolantException(ErrorCodes.NetworkUnavailable, $"Port {port} cannot be opened on {address}: {e.Message.TrimEnd('.')}. Check VOLANT_PUBLISH_ADDRESS.", e),
            };
        }
    }

    private static void Close(HostPort port, Socket socket)
    {
        if (port.Protocol == PortProtocols.Tcp)
        {
            TcpForwarder.Close(socket);
        }
        else
        {
            socket.Dispose();
        }
    }

    private static VolantException Busy(HostPort port) =>
        new(ErrorCodes.PortInUse, $"Port {port} of the host is in use by another program or by a request under way; choose another host_port, or leave it out to get a free one.");

    [LoggerMessage(EventId = 4021, Level = LogLevel.Information, Message = "Port {Port} is open on {Address}")]
    private partial void LogOpen(HostPort port, IPAddress address);

    [LoggerMessage(EventId = 4022, Level = LogLevel.Information, Message = "Port {Port} is closed")]
    private partial void LogClosed(HostPort port);
}
