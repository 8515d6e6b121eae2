using System.Net;
using System.Net.Sockets;

namespace Volant.Daemon.Publishing;

/// <summary>One side of a relayed connection: bytes both ways, each direction with an end of its own.</summary>
internal abstract class Connection : IDisposable
{
    /// <summary>Whether a failure is one of a connection or of its guest, or the end that it was given; anything else is a fault of ours.</summary>
    public static bool IsFault(Exception e) =>
        e is SocketException or IOException or OperationCanceledException or ObjectDisposedException or VolantException or HttpRequestException;

    /// <summary>Reads some bytes; 0 at the end. An empty buffer waits until there is something to read.</summary>
    public abstract ValueTask<int> ReadAsync(Memory<byte> buffer, CancellationToken cancellationToken);

    /// <summary>Writes all bytes; the other side's pace is the pace of this.</summary>
    public abstract ValueTask WriteAsync(ReadOnlyMemory<byte> bytes, CancellationToken cancellationToken);

    /// <summary>Says that nothing more will be written; reading goes on.</summary>
    public abstract ValueTask CompleteAsync(CancellationToken cancellationToken);

    /// <summary>Breaks it off, so that the other side cannot take it for an end. Nobody may be using it.</summary>
    public abstract void Abort();

    /// <inheritdoc/>
    public abstract void Dispose();
}

/// <summary>A TCP connection.</summary>
internal sealed class SocketConnection : Connection
{
    private readonly Socket _socket;

    /// <summary>Takes over a connected socket. A peer whose host is gone is noticed within two minutes.</summary>
    public SocketConnection(Socket socket)
    {
        _socket = socket;
        socket.NoDelay = true;
        socket.SetSocketOption(SocketOptionLevel.Socket, SocketOptionName.KeepAlive, optionValue: true);
        socket.SetSocketOption(SocketOptionLevel.Tcp, SocketOptionName.TcpKeepAliveTime, 60);
        socket.SetSocketOption(SocketOptionLevel.Tcp, SocketOptionName.TcpKeepAliveInterval, 10);
        socket.SetSocketOption(SocketOptionLevel.Tcp, SocketOptionName.TcpKeepAliveRetryCount, 6);
    }

    /// <summary>Connects to an address.</summary>
    /// <exception cref="SocketException">Nobody took the connection.</exception>
    public static async Task<Connection> ConnectAsync(IPEndPoint address, CancellationToken cancellationToken)
    {
        var socket = new Socket(address.AddressFamily, SocketType.Stream, ProtocolType.Tcp);
        try
        {
            await socket.ConnectAsync(address, cancellationToken);
            return new SocketConnection(socket);
        }
        catch
        {
            socket.Dispose();
            throw;
        }
    }

    /// <inheritdoc/>
    public override ValueTask<int> ReadAsync(Memory<byte> buffer, CancellationToken cancellationToken) => _socket.ReceiveAsync(buffer, cancellationToken);

    /// <inheritdoc/>
    public override async ValueTask WriteAsync(ReadOnlyMemory<byte> bytes, CancellationToken cancellationToken)
    {
        while (!bytes.IsEmpty)
        {
            bytes = bytes[await _socket.SendAsync(bytes, cancellationToken)..];
        }
    }

    /// <inheritdoc/>
    public override ValueTask CompleteAsync(CancellationToken cancellationToken)
    {
        _socket.Shutdown(SocketShutdown.Send);
        return ValueTask.CompletedTask;
    }

    /// <inheritdoc/>
    public override void Abort()
    {
        try
        {
            // Closed with a reset.
            _socket.LingerState = new LingerOption(enable: true, seconds: 0);
        }
        catch (Exception e) when (e is SocketException or ObjectDisposedException)
        {
            // Closed already, or broken by the other side.
        }

        _socket.Dispose();
    }

    /// <inheritdoc/>
    public override void Dispose() => _socket.Dispose();
}
