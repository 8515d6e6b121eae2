using System.Net.Sockets;

namespace Volant.Tests.Hypervisors;

/// <summary>Two ends of one Unix socket connection.</summary>
internal static class SocketPair
{
    public static async Task<(NetworkStream Near, NetworkStream Far)> CreateAsync()
    {
        using var directory = new TemporaryDirectory();
        var address = new UnixDomainSocketEndPoint(Path.Combine(directory.Path, "s"));
        using var listener = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
        listener.Bind(address);
        listener.Listen();
        var near = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
        await near.ConnectAsync(address, TestContext.Current.CancellationToken);
        return (new NetworkStream(near, ownsSocket: true), new NetworkStream(await listener.AcceptAsync(TestContext.Current.CancellationToken), ownsSocket: true));
    }
}
