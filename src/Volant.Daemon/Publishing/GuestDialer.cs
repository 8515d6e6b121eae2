using System.Net;

namespace Volant.Daemon.Publishing;

/// <summary>How addresses on the bridge are reached.</summary>
/// <param name="ConnectAsync">Opens a TCP connection.</param>
/// <param name="OpenDatagrams">Opens the way of one client's datagrams.</param>
internal sealed record GuestDialer(Func<IPEndPoint, CancellationToken, Task<Connection>> ConnectAsync, Func<IPEndPoint, DatagramLink> OpenDatagrams)
{
    /// <summary>By the host's own network.</summary>
    public static GuestDialer Direct { get; } = new(SocketConnection.ConnectAsync, static address => new SocketDatagrams(address));
}
