using System.ComponentModel;
using System.Net.Sockets;
using Microsoft.Win32.SafeHandles;
using Volant.Linux.IO;
using Volant.Linux.Networking;

namespace Volant.Tests.Linux;

public sealed class VsockTests
{
    private static CancellationToken Token => TestContext.Current.CancellationToken;

    [Fact]
    public async Task Connecting_to_nobody_fails_in_bounded_time()
    {
        Assert.SkipUnless(VsockSocket.IsAvailable(), "Needs AF_VSOCK.");

        await Assert.ThrowsAsync<Win32Exception>(() => VsockSocket.ConnectAsync(VsockSocket.LocalCid, 4_000_000_001, Token));
    }

    [Fact]
    public async Task A_port_can_be_listened_on_once()
    {
        Assert.SkipUnless(VsockSocket.IsAvailable(), "Needs AF_VSOCK.");
        var listener = VsockSocket.Listen(4_000_000_002);

        Assert.Equal(98, Assert.Throws<Win32Exception>(() => VsockSocket.Listen(4_000_000_002)).NativeErrorCode); // EADDRINUSE
        var accept = listener.AcceptAsync(Token);
        Assert.False(accept.IsCompleted);
        listener.Dispose();

        Assert.Null(await accept);
        VsockSocket.Listen(4_000_000_002).Dispose();
    }

    // The accept loop does not depend on the family, and kernels without loopback for vsock cannot connect to themselves.
    [Fact]
    public async Task Connections_are_accepted_in_turn_and_carry_bytes()
    {
        using var directory = new TemporaryDirectory();
        using var socket = Bind(directory["socket"]);
        using var handle = new SafeFileHandle(socket.Handle, ownsHandle: false);
        using var listener = new VsockListener(handle);
        for (var i = 0; i < 3; i++)
        {
            var accept = listener.AcceptAsync(Token);
            using var client = await ConnectAsync(directory["socket"]);
            var connection = await accept;
            Assert.NotNull(connection);
            await using var stream = connection.Value.Stream;
            await client.SendAsync("ping"u8.ToArray(), Token);

            var buffer = new byte[4];
            await stream.ReadExactlyAsync(buffer, Token);
            await stream.WriteAsync(buffer, Token);

            Assert.Equal(4, await client.ReceiveAsync(buffer, Token));
        }
    }

    [Fact]
    public async Task A_cancelled_accept_loses_no_connection()
    {
        using var directory = new TemporaryDirectory();
        using var socket = Bind(directory["socket"]);
        using var handle = new SafeFileHandle(socket.Handle, ownsHandle: false);
        using var listener = new VsockListener(handle);
        using var cancel = CancellationTokenSource.CreateLinkedTokenSource(Token);
        var accept = listener.AcceptAsync(cancel.Token);
        await cancel.CancelAsync();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => accept);

        using var client = await ConnectAsync(directory["socket"]);
        var connection = await listener.AcceptAsync(Token);

        Assert.NotNull(connection);
        await connection.Value.Stream.DisposeAsync();
    }

    [Fact]
    public async Task Waiting_for_what_cannot_be_polled_fails()
    {
        using var directory = new TemporaryDirectory();
        using var file = File.OpenHandle(directory["file"], FileMode.Create, FileAccess.Write);

        await Assert.ThrowsAsync<Win32Exception>(() => DescriptorReadiness.WaitAsync(file, DescriptorReadiness.Writable, Token));
    }

    private static Socket Bind(string path)
    {
        var socket = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified) { Blocking = false };
        socket.Bind(new UnixDomainSocketEndPoint(path));
        socket.Listen();
        return socket;
    }

    private static async Task<Socket> ConnectAsync(string path)
    {
        var client = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
        await client.ConnectAsync(new UnixDomainSocketEndPoint(path), Token);
        return client;
    }
}
