using System.Buffers;
using System.Collections.Concurrent;
using System.Net;
using System.Net.Sockets;
using System.Threading.Channels;
using Volant.Daemon.Telemetry;

namespace Volant.Daemon.Publishing;

/// <summary>Takes the datagrams to one port of the host and passes those of each client to one guest, and the answers back.</summary>
/// <remarks>
/// A client is an address with a port; what belongs to it, a flow, ends after <see cref="IdleLimit"/> without a datagram. As UDP allows,
/// datagrams are dropped where they would have to be gathered. See the constants for the limits.
/// </remarks>
internal sealed partial class UdpForwarder : IAsyncDisposable
{
    /// <summary>Most flows of one port at a time; datagrams of other clients are dropped.</summary>
    public const int MaxFlows = 1024;

    /// <summary>Bytes of all flows of one port that may wait for their guests; more are dropped.</summary>
    public const int MaxWaitingBytes = 4 * 1024 * 1024;

    /// <summary>Datagrams of one flow that may wait for its guest; more are dropped.</summary>
    public const int MaxWaiting = 256;

    /// <summary>How long a flow lives without a datagram.</summary>
    public static readonly TimeSpan IdleLimit = TimeSpan.FromSeconds(60);

    private const int MaxDatagram = 64 * 1024;

    private static readonly TimeSpan SweepPeriod = TimeSpan.FromSeconds(10);
    private static readonly TimeSpan ReceivePause = TimeSpan.FromMilliseconds(100);

    private readonly HostPort _port;
    private readonly Socket _socket;
    private readonly Balancer _balancer;
    private readonly TimeProvider _clock;
    private readonly ILogger _logger;
    private readonly CancellationTokenSource _stop = new();
    private readonly CancellationToken _stopped;
    private readonly ConcurrentDictionary<SocketAddress, Flow> _flows = [];
    private readonly ITimer _sweeper;
    private readonly Task _receiving;
    private int _waitingBytes;

    /// <summary>Begins to take datagrams.</summary>
    /// <inheritdoc cref="TcpForwarder(HostPort, Socket, Balancer, TimeProvider, ILogger)"/>
    public UdpForwarder(HostPort port, Socket socket, Balancer balancer, TimeProvider clock, ILogger logger)
    {
        (_port, _socket, _balancer, _clock, _logger, _stopped) = (port, socket, balancer, clock, logger, _stop.Token);
        _sweeper = clock.CreateTimer(static forwarder => ((UdpForwarder)forwarder!).CutIdle(), this, SweepPeriod, SweepPeriod);
        _receiving = Task.Run(ReceiveAsync);
    }

    /// <summary>Flows at this moment.</summary>
    public int Flows => _flows.Count;

    /// <summary>Stops listening and ends every flow.</summary>
    public async ValueTask DisposeAsync()
    {
        await _stop.CancelAsync();
        await _receiving;
        _socket.Dispose();
        await _sweeper.DisposeAsync();
        _stop.Dispose();
    }

    private async Task ReceiveAsync()
    {
        var buffer = new byte[MaxDatagram];
        var client = new SocketAddress(_socket.AddressFamily);
        while (!_stopped.IsCancellationRequested)
        {
            try
            {
                var count = await _socket.ReceiveFromAsync(buffer, SocketFlags.None, client, _stopped);
                Take(client, buffer.AsSpan(0, count));
            }
            catch (Exception e) when (e is OperationCanceledException or ObjectDisposedException)
            {
                return;
            }
            catch (SocketException e)
            {
                LogReceiveFailed(e, _port);
                await Task.Delay(ReceivePause, _clock, _stopped).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
            }
        }
    }

    private void Take(SocketAddress client, ReadOnlySpan<byte> datagram)
    {
        if (!_flows.TryGetValue(client, out var flow))
        {
            if (_flows.Count >= MaxFlows)
            {
                Count("limit");
                return;
            }

            if (_balancer.Candidates() is not [var backend, ..])
            {
                Count("no_backend");
                return;
            }

            var key = new SocketAddress(client.Family, client.Size);
            client.Buffer.Span[..client.Size].CopyTo(key.Buffer.Span);
            flow = new Flow(this, key, backend);
            _flows[key] = flow;
            Count("ok");
            _ = RunAsync(flow);
        }

        flow.Queue(datagram);
    }

    private async Task RunAsync(Flow flow)
    {
        Instruments.PublishedFlows.Add(1);
        using var use = _balancer.Use(flow.Backend);
        try
        {
            await flow.RunAsync();
        }
        catch (Exception e) when (Connection.IsFault(e))
        {
            // The guest has nobody at its port, or is gone; the client's next datagram tries again.
            LogFlowEnded(e, _port, flow.Backend.Name);
        }
        catch (Exception e)
        {
            LogFailed(e, _port);
        }
        finally
        {
            _flows.TryRemove(flow.Client, out _);
            flow.Dispose();
            Instruments.PublishedFlows.Add(-1);
        }
    }

    private void CutIdle()
    {
        foreach (var flow in _flows.Values)
        {
            flow.CutIdle();
        }
    }

    private static void Count(string outcome) =>
        Instruments.Published.Add(1, new KeyValuePair<string, object?>("protocol", "udp"), new KeyValuePair<string, object?>("outcome", outcome));

    /// <summary>The datagrams of one client.</summary>
    private sealed class Flow : IDisposable
    {
        private readonly Channel<(byte[] Bytes, int Length)> _waiting = Channel.CreateBounded<(byte[], int)>(new BoundedChannelOptions(MaxWaiting) { SingleReader = true });
        private readonly UdpForwarder _forwarder;
        private readonly CancellationTokenSource _end;
        private readonly CancellationToken _ended;
        private long _movedAt;

        public Flow(UdpForwarder forwarder, SocketAddress client, Backend backend)
        {
            (_forwarder, Client, Backend) = (forwarder, client, backend);
            _end = CancellationTokenSource.CreateLinkedTokenSource(forwarder._stopped, backend.Gone);
            _ended = _end.Token;
            _movedAt = forwarder._clock.GetTimestamp();
        }

        public SocketAddress Client { get; }

        public Backend Backend { get; }

        public void Queue(ReadOnlySpan<byte> datagram)
        {
            Move("in", datagram.Length);
            if (Interlocked.Add(ref _forwarder._waitingBytes, datagram.Length) <= MaxWaitingBytes)
            {
                var bytes = ArrayPool<byte>.Shared.Rent(Math.Max(1, datagram.Length));
                datagram.CopyTo(bytes);
                if (_waiting.Writer.TryWrite((bytes, datagram.Length)))
                {
                    return;
                }

                ArrayPool<byte>.Shared.Return(bytes);
            }

            Interlocked.Add(ref _forwarder._waitingBytes, -datagram.Length);
        }

        public async Task RunAsync()
        {
            using var link = await OpenAsync();
            var sending = SendAsync(link);
            var answering = AnswerAsync(link);
            await Task.WhenAny(sending, answering);
            await _end.CancelAsync();
            await Task.WhenAll(sending, answering);
        }

        /// <summary>Drops what waits. Call it when <see cref="RunAsync"/> has ended.</summary>
        public void Dispose()
        {
            _waiting.Writer.TryComplete();
            _end.Dispose();
            while (_waiting.Reader.TryRead(out var waiting))
            {
                Release(waiting);
            }
        }

        public void CutIdle()
        {
            if (_forwarder._clock.GetElapsedTime(Volatile.Read(ref _movedAt)) > IdleLimit)
            {
                try
                {
                    _end.Cancel();
                }
                catch (ObjectDisposedException)
                {
                    // It has just ended by itself.
                }
            }
        }

        private async Task<DatagramLink> OpenAsync()
        {
            using var limit = new CancellationTokenSource(TcpForwarder.ConnectLimit, _forwarder._clock);
            using var either = CancellationTokenSource.CreateLinkedTokenSource(limit.Token, _ended);
            return await Backend.OpenDatagramsAsync(either.Token);
        }

        private async Task SendAsync(DatagramLink link)
        {
            await foreach (var waiting in _waiting.Reader.ReadAllAsync(_ended))
            {
                try
                {
                    await link.SendAsync(waiting.Bytes.AsMemory(0, waiting.Length), _ended);
                }
                finally
                {
                    Release(waiting);
                }
            }
        }

        private async Task AnswerAsync(DatagramLink link)
        {
            while (true)
            {
                await link.ReceiveAsync(Memory<byte>.Empty, _ended);
                var buffer = ArrayPool<byte>.Shared.Rent(MaxDatagram);
                try
                {
                    var count = await link.ReceiveAsync(buffer, _ended);
                    Move("out", count);
                    await _forwarder._socket.SendToAsync(buffer.AsMemory(0, count), SocketFlags.None, Client, _ended);
                }
                finally
                {
                    ArrayPool<byte>.Shared.Return(buffer);
                }
            }
        }

        private void Move(string direction, int count)
        {
            Volatile.Write(ref _movedAt, _forwarder._clock.GetTimestamp());
            Instruments.PublishedBytes.Add(count, new KeyValuePair<string, object?>("direction", direction));
        }

        private void Release((byte[] Bytes, int Length) waiting)
        {
            ArrayPool<byte>.Shared.Return(waiting.Bytes);
            Interlocked.Add(ref _forwarder._waitingBytes, -waiting.Length);
        }
    }

    [LoggerMessage(EventId = 4011, Level = LogLevel.Debug, Message = "Port {Port}: a datagram could not be received")]
    private partial void LogReceiveFailed(Exception exception, HostPort port);

    [LoggerMessage(EventId = 4012, Level = LogLevel.Debug, Message = "Port {Port}: a flow to guest {Backend} has ended")]
    private partial void LogFlowEnded(Exception exception, HostPort port, string backend);

    [LoggerMessage(EventId = 4013, Level = LogLevel.Error, Message = "Port {Port}: a flow failed")]
    private partial void LogFailed(Exception exception, HostPort port);
}
