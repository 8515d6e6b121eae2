using System.Net;
using System.Net.Sockets;
using System.Text;
using Volant.Daemon.Guests;
using Volant.Daemon.Publishing;

namespace Volant.Tests.Guests;

public sealed class GuestChannelTests : IDisposable
{
    private readonly string _directory = Directory.CreateTempSubdirectory("vt").FullName;

    private static CancellationToken Cancelled => TestContext.Current.CancellationToken;

    private string Path => System.IO.Path.Combine(_directory, "vsock");

    public void Dispose() => Directory.Delete(_directory, recursive: true);

    [Fact]
    public async Task Hybrid_vsock_asks_for_the_port_and_leaves_the_guests_first_bytes_in_the_stream()
    {
        using var listener = Listen();
        var connect = GuestChannel.ConnectAsync(new GuestEndpoint.HybridVsock(Path, 1024), Cancelled);
        using var hypervisor = await listener.AcceptAsync(Cancelled);

        Assert.Equal("CONNECT 1024\n", await ReceiveAsync(hypervisor, 13));
        await hypervisor.SendAsync("OK 1073741824\nguest speaks first"u8.ToArray(), Cancelled);

        await using var stream = await connect;
        var buffer = new byte[18];
        await stream.ReadExactlyAsync(buffer, Cancelled);
        Assert.Equal("guest speaks first", Encoding.ASCII.GetString(buffer));
    }

    [Theory]
    [InlineData("", "nothing listens on this port in the guest")]
    [InlineData("OK", "nothing listens on this port in the guest")]
    [InlineData("OK \n", "'OK '")]
    [InlineData("OK 12x\n", "'OK 12x'")]
    [InlineData("ok 12\n", "'ok 12'")]
    [InlineData("\u0007NO\n", "'?NO'")]
    [InlineData("OK 00000000000000000000000000000000000000\n", "more than 32 bytes")]
    public async Task Hybrid_vsock_refuses_every_other_answer(string answer, string words)
    {
        using var listener = Listen();
        var connect = GuestChannel.ConnectAsync(new GuestEndpoint.HybridVsock(Path, 7), Cancelled);
        using (var hypervisor = await listener.AcceptAsync(Cancelled))
        {
            await ReceiveAsync(hypervisor, 10);
            await hypervisor.SendAsync(Encoding.ASCII.GetBytes(answer), Cancelled);
            hypervisor.Shutdown(SocketShutdown.Send);

            var refusal = await Assert.ThrowsAsync<IOException>(() => connect);
            Assert.Contains(words, refusal.Message, StringComparison.Ordinal);
            Assert.Contains($"vsock port 7 behind '{Path}'", refusal.Message, StringComparison.Ordinal);
        }
    }

    [Fact]
    public async Task Tcp_connects_and_names_the_address_when_nobody_listens()
    {
        using var listener = new TcpListener(IPAddress.Loopback, 0);
        listener.Start();
        var endpoint = new GuestEndpoint.Tcp(IPAddress.Loopback, ((IPEndPoint)listener.LocalEndpoint).Port);
        await using (var stream = await GuestChannel.ConnectAsync(endpoint, Cancelled))
        {
            Assert.True(stream.CanWrite);
        }

        TcpForwarder.Close(listener.Server);

        var refusal = await Assert.ThrowsAsync<IOException>(() => GuestChannel.ConnectAsync(endpoint, Cancelled));
        Assert.Contains($"127.0.0.1:{endpoint.Port}", refusal.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_missing_socket_is_an_IOException_that_names_it()
    {
        var refusal = await Assert.ThrowsAsync<IOException>(
            () => GuestChannel.ConnectAsync(new GuestEndpoint.SerialPort(Path, new byte[16]), Cancelled));

        Assert.Contains(Path, refusal.Message, StringComparison.Ordinal);
    }

    private Socket Listen()
    {
        var listener = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
        listener.Bind(new UnixDomainSocketEndPoint(Path));
        listener.Listen();
        return listener;
    }

    private static async Task<string> ReceiveAsync(Socket socket, int count)
    {
        var buffer = new byte[count];
        for (var length = 0; length < count;)
        {
            length += await socket.ReceiveAsync(buffer.AsMemory(length), Cancelled);
        }

        return Encoding.ASCII.GetString(buffer);
    }
}
