using System.Net;
using System.Net.Sockets;

namespace Volant.Daemon.Publishing;

/// <summary>The way of one client's datagrams to a guest and back.</summary>
internal abstract class DatagramLink : IDisposable
{
    /// <summary>Sends one datagram; it may be lost.</summary>
    public abstract ValueTask SendAsync(ReadOnlyMemory<byte> datagram, CancellationToken cancellationToken);

    /// <summary>Receives one datagram into a buffer that holds any. An empty buffer waits until there is one.</summary>
    public abstract ValueTask<int> ReceiveAsync(Memory<byte> buffer, CancellationToken cancellationToken);

    /// <inheritdoc/>
    public abstract void Dispose();
}

/// <summary>Datagrams by UDP; a socket of its own for each client, so that answers find their way.</summary>
internal sealed class SocketDatagrams : DatagramLink
{
    private readonly Socket _socket;

    /// <summary>A socket that sends to and receives from one address only.</summary>
    public SocketDatagrams(IPEndPoint address)
    {
        _socket = new Socket(address.AddressFamily, SocketType.Dgram, ProtocolType.Udp);
        try
        {
            _socket.Connect(address);
        }
        catch
        {
            _socket.Dispose();
            throw;
        }
    }

    /// <inheritdoc/>
    public override async ValueTask SendAsync(ReadOnlyMemory<byte> datagram, CancellationToken cancellationToken) => await _socket.SendAsync(datagram, cancellationToken);

    /// <inheritdoc/>
    public override ValueTask<int> ReceiveAsync(Memory<byte> buffer, CancellationToken cancellationToken) => _socket.ReceiveAsync(buffer, cancellationToken);

    /// <inheritdoc/>
    public override void Dispose() => _socket.Dispose();
}
