using System.Net;
using System.Net.Sockets;
using System.Text;

namespace Volant.Agent.Dhcp;

/// <summary>The UDP socket of a DHCP client, bound to one interface, which needs no address for it.</summary>
/// <remarks>
/// The kernel checks checksums, and gives a broadcast the source address 0.0.0.0 while the interface has none. Answers to a client without
/// an address are asked for as broadcasts (<see cref="DhcpMessage.Encode"/>), so no raw socket is needed.
/// </remarks>
internal sealed class DhcpSocket : IDisposable
{
    private const int ServerPort = 67;
    private const int ClientPort = 68;
    private const int SocketLevel = 1; // SOL_SOCKET
    private const int BindToDevice = 25; // SO_BINDTODEVICE

    private readonly Socket _socket = new(AddressFamily.InterNetwork, SocketType.Dgram, ProtocolType.Udp);

    /// <summary>Opens the socket in the network namespace of this thread.</summary>
    /// <exception cref="SocketException">No such interface, or the port is taken: another DHCP client runs.</exception>
    public DhcpSocket(string device)
    {
        try
        {
            _socket.SetSocketOption(SocketOptionLevel.Socket, SocketOptionName.ReuseAddress, true);
            _socket.SetRawSocketOption(SocketLevel, BindToDevice, Encoding.ASCII.GetBytes(device));
            _socket.EnableBroadcast = true;
            _socket.Bind(new IPEndPoint(IPAddress.Any, ClientPort));
        }
        catch
        {
            _socket.Dispose();
            throw;
        }
    }

    /// <summary>Sends to one server, or to all.</summary>
    /// <exception cref="SocketException">The interface is down, or there is no way to the server.</exception>
    public async Task SendAsync(ReadOnlyMemory<byte> message, IPAddress? to, CancellationToken cancellationToken) =>
        await _socket.SendToAsync(message, SocketFlags.None, new IPEndPoint(to ?? IPAddress.Broadcast, ServerPort), cancellationToken);

    /// <summary>Receives the next message that comes from a server's port; returns its length.</summary>
    public async Task<int> ReceiveAsync(Memory<byte> buffer, CancellationToken cancellationToken)
    {
        while (true)
        {
            try
            {
                var received = await _socket.ReceiveFromAsync(buffer, SocketFlags.None, new IPEndPoint(IPAddress.Any, 0), cancellationToken);
                if (received.RemoteEndPoint is IPEndPoint { Port: ServerPort })
                {
                    return received.ReceivedBytes;
                }
            }
            catch (SocketException e) when (e.SocketErrorCode is SocketError.ConnectionRefused or SocketError.HostUnreachable or SocketError.NetworkUnreachable
                or SocketError.NetworkDown or SocketError.MessageSize)
            {
                // What became of an earlier message, or one that is too long for DHCP: the next may be good. Each is told once.
            }
        }
    }

    /// <inheritdoc/>
    public void Dispose() => _socket.Dispose();
}
