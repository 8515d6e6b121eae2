using System.Collections.Concurrent;
using System.Net.Sockets;
using Volant.Daemon.Telemetry;

namespace Volant.Daemon.Publishing;

/// <summary>Takes the connections to one port of the host and relays each to a guest.</summary>
/// <remarks>
/// A connection for which there is no guest, or none that takes it, is reset at once. When one of several guests does not take it, another is
/// tried, as long as nothing was passed. See the constants for the limits.
/// </remarks>
internal sealed partial class TcpForwarder : IAsyncDisposable
{
    /// <summary>Most connections of one port at a time; more are reset.</summary>
    public const int MaxConnections = 1024;

    /// <summary>Most guests that are tried for one connection.</summary>
    public const int MaxAttempts = 3;

    /// <summary>How long a guest may take to accept a connection.</summary>
    public static readonly TimeSpan ConnectLimit = TimeSpan.FromSeconds(5);

    /// <summary>How long nothing may move on a connection.</summary>
    public static readonly TimeSpan IdleLimit = TimeSpan.FromHours(1);

    /// <summary>How long nothing may move on a connection of which one direction has ended.</summary>
    public static readonly TimeSpan HalfClosedLimit = TimeSpan.FromMinutes(10);

    private static readonly TimeSpan SweepPeriod = TimeSpan.FromSeconds(30);
    private static readonly TimeSpan AcceptPause = TimeSpan.FromMilliseconds(100);

    private readonly HostPort _port;
    private readonly Socket _listener;
    private readonly Balancer _balancer;
    private readonly TimeProvider _clock;
    private readonly ILogger _logger;
    private readonly CancellationTokenSource _stop = new();
    private readonly CancellationToken _stopped;
    private readonly ConcurrentDictionary<TcpRelay, bool> _relays = [];
    private readonly ITimer _sweeper;
    private readonly Task _accepting;
    private int _connections;
    private bool _full;

    /// <summary>Begins to take connections.</summary>
    /// <param name="port">The port, for people.</param>
    /// <param name="listener">A socket that listens; taken over.</param>
    /// <param name="balancer">Who takes the connections.</param>
    /// <param name="clock">Measures the limits.</param>
    /// <param name="logger">Told what operators look for.</param>
    public TcpForwarder(HostPort port, Socket listener, Balancer balancer, TimeProvider clock, ILogger logger)
    {
        (_port, _listener, _balancer, _clock, _logger, _stopped) = (port, listener, balancer, clock, logger, _stop.Token);
        _sweeper = clock.CreateTimer(static forwarder => ((TcpForwarder)forwarder!).CutIdle(), this, SweepPeriod, SweepPeriod);
        _accepting = Task.Run(AcceptAsync);
    }

    /// <summary>Connections at this moment.</summary>
    public int Connections => Volatile.Read(ref _connections);

    /// <summary>Stops listening and cuts every connection.</summary>
    public async ValueTask DisposeAsync()
    {
        await _stop.CancelAsync();
        await _accepting;
        Close(_listener);
        await _sweeper.DisposeAsync();
        _stop.Dispose();
    }

    /// <summary>Closes a socket that listens, for whoever else has it too.</summary>
    /// <remarks>
    /// A hypervisor that is being started has every descriptor of the daemon until it becomes another program; a socket that is closed alone would
    /// still take connections that long, and keep the port (listen(2) ends by shutdown(2) at once).
    /// </remarks>
    public static void Close(Socket listener)
    {
        listener.Shutdown(SocketShutdown.Both);
        listener.Dispose();
    }

    private async Task AcceptAsync()
    {
        while (!_stopped.IsCancellationRequested)
        {
            try
            {
                Take(await _listener.AcceptAsync(_stopped));
            }
            catch (Exception e) when (e is OperationCanceledException or ObjectDisposedException)
            {
                return;
            }
            catch (SocketException e)
            {
                // Out of descriptors, most likely: those that wait are kept by the kernel.
                LogAcceptFailed(e, _port);
                await Task.Delay(AcceptPause, _clock, _stopped).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
            }
        }
    }

    private void Take(Socket socket)
    {
        var client = new SocketConnection(socket);
        if (Interlocked.Increment(ref _connections) <= MaxConnections)
        {
            _full = false;
            _ = ServeAsync(client);
            return;
        }

        Interlocked.Decrement(ref _connections);
        client.Abort();
        Count("limit");
        if (!_full)
        {
            _full = true;
            LogFull(_port, MaxConnections);
        }
    }

    private async Task ServeAsync(Connection client)
    {
        try
        {
            var candidates = _balancer.Candidates();
            foreach (var backend in candidates.Take(MaxAttempts))
            {
                using var use = _balancer.Use(backend);
                using var end = CancellationTokenSource.CreateLinkedTokenSource(_stopped, backend.Gone);
                if (await TryConnectAsync(backend, end.Token) is { } guest)
                {
                    Count("ok");
                    await RelayAsync(client, guest, end.Token);
                    return;
                }
            }

            Count(candidates.Count == 0 ? "no_backend" : "unreachable");
        }
        catch (Exception e)
        {
            LogFailed(e, _port);
        }
        finally
        {
            // Resets what was not relayed; what was is closed by now.
            client.Abort();
            Interlocked.Decrement(ref _connections);
        }
    }

    private async Task<Connection?> TryConnectAsync(Backend backend, CancellationToken end)
    {
        using var limit = new CancellationTokenSource(ConnectLimit, _clock);
        using var either = CancellationTokenSource.CreateLinkedTokenSource(limit.Token, end);
        try
        {
            return await backend.ConnectAsync(either.Token);
        }
        catch (Exception e) when (Connection.IsFault(e))
        {
            LogUnreachable(e, _port, backend.Name);
            return null;
        }
    }

    private async Task RelayAsync(Connection client, Connection guest, CancellationToken end)
    {
        using var relay = new TcpRelay(client, guest, _clock, end);
        _relays[relay] = true;
        Instruments.PublishedConnections.Add(1);
        try
        {
            await relay.RunAsync();
        }
        finally
        {
            Instruments.PublishedConnections.Add(-1);
            _relays.TryRemove(relay, out _);
        }
    }

    private void CutIdle()
    {
        foreach (var relay in _relays.Keys)
        {
            relay.CutIdle(IdleLimit, HalfClosedLimit);
        }
    }

    private static void Count(string outcome) =>
        Instruments.Published.Add(1, new KeyValuePair<string, object?>("protocol", "tcp"), new KeyValuePair<string, object?>("outcome", outcome));

    [LoggerMessage(EventId = 4001, Level = LogLevel.Warning, Message = "Port {Port}: a connection could not be accepted")]
    private partial void LogAcceptFailed(Exception exception, HostPort port);

    [LoggerMessage(EventId = 4002, Level = LogLevel.Warning, Message = "Port {Port} has {Limit} connections; more are reset")]
    private partial void LogFull(HostPort port, int limit);

    [LoggerMessage(EventId = 4003, Level = LogLevel.Debug, Message = "Port {Port}: guest {Backend} does not take the connection")]
    private partial void LogUnreachable(Exception exception, HostPort port, string backend);

    [LoggerMessage(EventId = 4004, Level = LogLevel.Error, Message = "Port {Port}: a connection failed")]
    private partial void LogFailed(Exception exception, HostPort port);
}
