using System.Net.WebSockets;
using Volant.Contracts.Api;

namespace Volant.Daemon.Api;

/// <summary>Why a WebSocket is closed (RFC 6455, section 7.4).</summary>
/// <param name="Status">Code.</param>
/// <param name="Reason">In words; at most 123 bytes.</param>
internal readonly record struct SocketEnd(WebSocketCloseStatus Status, string Reason)
{
    /// <summary>The client left.</summary>
    public static SocketEnd Left => new(WebSocketCloseStatus.NormalClosure, string.Empty);

    /// <summary>The daemon stops.</summary>
    public static SocketEnd Stopping => new(WebSocketCloseStatus.EndpointUnavailable, "the daemon stops");

    /// <summary>The client does not keep up.</summary>
    public static SocketEnd TooSlow => new(WebSocketCloseStatus.PolicyViolation, "too slow: reconnect to go on");
}

/// <summary>What all WebSockets that the daemon itself serves have in common: handshake, limits and end.</summary>
internal static class Sockets
{
    /// <summary>Time that a client may take for one message, and for the closing handshake after its end.</summary>
    public static readonly TimeSpan SendLimit = TimeSpan.FromSeconds(30);

    /// <summary>Subprotocol for browsers, which need one besides the key: they break off when none of theirs is chosen.</summary>
    public const string Subprotocol = "volant";

    /// <summary>Start of the subprotocol that carries a key (contract §3). It is never sent back and never forwarded.</summary>
    public const string KeyPrefix = "volant-key.";

    private static readonly TimeSpan CloseLimit = TimeSpan.FromSeconds(2);

    /// <summary>A client is asked every 20 s whether it is there, and has 20 s to say so.</summary>
    public static WebSocketOptions Options { get; } = new() { KeepAliveInterval = TimeSpan.FromSeconds(20), KeepAliveTimeout = TimeSpan.FromSeconds(20) };

    /// <summary>Refuses a request that is no WebSocket handshake.</summary>
    /// <exception cref="VolantException"><c>invalid_request</c>.</exception>
    public static void Require(HttpContext context)
    {
        if (!context.WebSockets.IsWebSocketRequest)
        {
            throw new VolantException(ErrorCodes.InvalidRequest, $"{context.Request.Path} is a WebSocket; connect with 'Upgrade: websocket' (RFC 6455).");
        }
    }

    /// <summary>Accepts the handshake.</summary>
    public static Task<WebSocket> AcceptAsync(HttpContext context) =>
        context.WebSockets.AcceptWebSocketAsync(new WebSocketAcceptContext { SubProtocol = Choose(context.WebSockets.WebSocketRequestedProtocols) });

    /// <summary>The subprotocol to answer with: ours, else the first one that is no key, else none.</summary>
    public static string? Choose(IList<string> offered) =>
        offered.Contains(Subprotocol, StringComparer.Ordinal) ? Subprotocol : offered.FirstOrDefault(protocol => !protocol.StartsWith(KeyPrefix, StringComparison.Ordinal));

    /// <summary>Serves a WebSocket until either direction ends, then closes it with the reason of the one that ended first.</summary>
    /// <param name="socket">The WebSocket.</param>
    /// <param name="send">Sends; returns at its end, or throws <see cref="OperationCanceledException"/> when asked to stop.</param>
    /// <param name="receive">Receives until the client closes or breaks a limit, such as <see cref="MessageReceiver.RunAsync"/>.</param>
    /// <param name="clock">Measures limits.</param>
    /// <param name="stop">Ends it.</param>
    /// <param name="sendLimit">Time that the client may take for one message; <see cref="SendLimit"/> when null.</param>
    public static async Task ServeAsync(
        WebSocket socket,
        Func<MessageSender, CancellationToken, Task<SocketEnd>> send,
        Func<WebSocket, CancellationToken, Task<SocketEnd>> receive,
        TimeProvider clock,
        CancellationToken stop,
        TimeSpan? sendLimit = null)
    {
        using var over = CancellationTokenSource.CreateLinkedTokenSource(stop);
        using var abort = new CancellationTokenSource();
        var receiving = receive(socket, abort.Token);
        var sending = SendAsync(socket, send, clock, sendLimit ?? SendLimit, over.Token);
        await Task.WhenAny(receiving, sending);
        await over.CancelAsync();
        var sent = await sending;
        var end = receiving.IsCompleted ? await receiving : sent;
        using var limit = clock.CreateTimer(static source => ((CancellationTokenSource)source!).Cancel(), abort, CloseLimit, Timeout.InfiniteTimeSpan);
        try
        {
            if (socket.State is WebSocketState.Open or WebSocketState.CloseReceived)
            {
                await socket.CloseOutputAsync(end.Status, end.Reason, abort.Token);
            }
        }
        catch (Exception e) when (e is WebSocketException or IOException or OperationCanceledException or ObjectDisposedException)
        {
            // The connection is gone.
        }

        await receiving;
    }

    private static async Task<SocketEnd> SendAsync(
        WebSocket socket, Func<MessageSender, CancellationToken, Task<SocketEnd>> send, TimeProvider clock, TimeSpan limit, CancellationToken stop)
    {
        using var sender = new MessageSender(socket, clock, limit, stop);
        try
        {
            return await send(sender, stop);
        }
        catch (Exception e) when (e is WebSocketException or IOException or OperationCanceledException or ObjectDisposedException)
        {
            return SocketEnd.Stopping;
        }
    }
}

/// <summary>Sends messages; a client that takes longer than the limit for one is cut off.</summary>
internal sealed class MessageSender(WebSocket socket, TimeProvider clock, TimeSpan limit, CancellationToken stop) : IDisposable
{
    private readonly CancellationTokenSource _limit = new(Timeout.InfiniteTimeSpan, clock);

    /// <summary>Sends one message.</summary>
    public async Task SendAsync(ReadOnlyMemory<byte> bytes, WebSocketMessageType type)
    {
        // Only the limit breaks a message off: half a message would break the stream.
        stop.ThrowIfCancellationRequested();
        _limit.CancelAfter(limit);
        using var stopped = stop.UnsafeRegister(static limit => ((CancellationTokenSource)limit!).CancelAfter(TimeSpan.FromSeconds(1)), _limit);
        await socket.SendAsync(bytes, type, endOfMessage: true, _limit.Token);
        _limit.CancelAfter(Timeout.InfiniteTimeSpan);
    }

    /// <inheritdoc/>
    public void Dispose() => _limit.Dispose();
}

/// <summary>Receives messages as they come, without gathering them.</summary>
/// <param name="maxMessage">Most bytes of a message.</param>
/// <param name="take">Takes some bytes of a message; the client waits as long as it takes.</param>
internal sealed class MessageReceiver(long maxMessage, Func<ReadOnlyMemory<byte>, CancellationToken, Task> take)
{
    private const int BufferBytes = 4 * 1024;

    /// <summary>For WebSockets on which a client has nothing to say.</summary>
    public static MessageReceiver Ignore => new(BufferBytes, static (_, _) => Task.CompletedTask);

    /// <summary>Receives until the client closes, breaks a limit, or is gone.</summary>
    public async Task<SocketEnd> RunAsync(WebSocket socket, CancellationToken cancellationToken)
    {
        var buffer = new byte[BufferBytes];
        var length = 0L;
        try
        {
            while (true)
            {
                var received = await socket.ReceiveAsync(buffer.AsMemory(), cancellationToken);
                if (received.MessageType == WebSocketMessageType.Close)
                {
                    return SocketEnd.Left;
                }

                length += received.Count;
                if (length > maxMessage)
                {
                    return new SocketEnd(WebSocketCloseStatus.MessageTooBig, $"a message may have {maxMessage} bytes");
                }

                await take(buffer.AsMemory(0, received.Count), cancellationToken);
                length = received.EndOfMessage ? 0 : length;
            }
        }
        catch (Exception e) when (e is WebSocketException or IOException or OperationCanceledException or ObjectDisposedException)
        {
            return SocketEnd.Left;
        }
    }
}

/// <summary>Receives whole messages.</summary>
internal sealed class MessageReader(WebSocket socket)
{
    private byte[] _buffer = new byte[4 * 1024];

    /// <summary>The next message, valid until the next call; null when the client closes.</summary>
    /// <param name="most">Most bytes of it.</param>
    /// <param name="cancellationToken">Aborts the connection.</param>
    /// <exception cref="InvalidDataException">It has more bytes.</exception>
    /// <exception cref="WebSocketException">The client is gone.</exception>
    public async Task<(WebSocketMessageType Type, ReadOnlyMemory<byte> Bytes)?> ReadAsync(int most, CancellationToken cancellationToken)
    {
        var length = 0;
        while (true)
        {
            if (length == _buffer.Length)
            {
                Array.Resize(ref _buffer, Math.Min(4 * _buffer.Length, Math.Max(most, _buffer.Length) + 1));
            }

            var received = await socket.ReceiveAsync(_buffer.AsMemory(length), cancellationToken);
            if (received.MessageType == WebSocketMessageType.Close)
            {
                return null;
            }

            length += received.Count;
            if (length > most)
            {
                throw new InvalidDataException($"a message may have {most} bytes");
            }

            if (received.EndOfMessage)
            {
                return (received.MessageType, _buffer.AsMemory(0, length));
            }
        }
    }
}
