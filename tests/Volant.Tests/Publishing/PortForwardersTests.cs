using System.Diagnostics.CodeAnalysis;
using System.Net;
using System.Net.Sockets;
using System.Runtime.InteropServices;
using System.Text;
using Microsoft.Extensions.Logging.Abstractions;
using Microsoft.Extensions.Time.Testing;
using Volant.Contracts.Api;
using Volant.Daemon;
using Volant.Daemon.Publishing;

namespace Volant.Tests.Publishing;

/// <summary>Real connections and datagrams on loopback through a published port.</summary>
[Collection(nameof(Api.MeasuredAlone))]
public sealed class PortForwardersTests : IAsyncLifetime
{
    private readonly FakeTimeProvider _clock = new();
    private readonly EchoServer _server = new("A");
    private readonly List<Backend> _backends = [];
    private readonly CancellationTokenSource _gone = new();
    private PortForwarders _ports = null!;

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    public ValueTask InitializeAsync()
    {
        _ports = new PortForwarders(IPAddress.Loopback, _clock, NullLogger<PortForwarders>.Instance);
        _backends.Add(BackendAt(_server.EndPoint, _gone.Token));
        return ValueTask.CompletedTask;
    }

    public async ValueTask DisposeAsync()
    {
        await _ports.DisposeAsync();
        await _server.DisposeAsync();
        _gone.Dispose();
    }

    [Fact]
    public async Task Bytes_pass_both_ways_and_each_direction_ends_by_itself()
    {
        var port = OpenPort("tcp");
        using var client = await ConnectAsync(port);

        await client.SendAsync("hello"u8.ToArray(), Cancel);
        Assert.Equal("Ahello", await ReadAsync(client, 6));
        client.Shutdown(SocketShutdown.Send);

        Assert.Equal("bye", await ReadToEndAsync(client));
    }

    [Fact]
    public async Task A_hundred_connections_at_once_get_what_is_theirs()
    {
        var port = OpenPort("tcp");
        await Task.WhenAll(Enumerable.Range(0, 100).Select(async i =>
        {
            using var client = await ConnectAsync(port);
            var sent = new byte[200_000];
            new Random(i).NextBytes(sent);
            var reading = ReadBytesToEndAsync(client);
            await client.SendAsync(sent, Cancel);
            client.Shutdown(SocketShutdown.Send);
            var expected = new List<byte>("A"u8.ToArray());
            expected.AddRange(sent);
            expected.AddRange("bye"u8.ToArray());
            Assert.Equal(expected, await reading);
        }));
        Assert.Equal(100, _server.Accepted);
    }

    [Fact]
    public async Task A_reader_that_does_not_read_stops_the_writer_and_nobody_gathers()
    {
        var port = OpenPort("tcp");
        using var client = await ConnectAsync(port);
        var sent = 0L;
        var chunk = new byte[1024 * 1024];
        var before = GC.GetTotalMemory(forceFullCollection: true);

        // The echo fills every buffer on the way until the kernel refuses more.
        client.Blocking = false;
        var stuckSince = TimeProvider.System.GetTimestamp();
        while (TimeProvider.System.GetElapsedTime(stuckSince) < TimeSpan.FromSeconds(1))
        {
            var count = client.Send(chunk, SocketFlags.None, out var error);
            Assert.True(error is SocketError.Success or SocketError.WouldBlock, $"{error}");
            if (count > 0)
            {
                sent += count;
                stuckSince = TimeProvider.System.GetTimestamp();
                Assert.True(sent < 256 * 1024 * 1024, "the writer was never stopped");
            }

            await Task.Delay(TimeSpan.FromMilliseconds(5), TimeProvider.System, Cancel);
        }

        Assert.True(GC.GetTotalMemory(forceFullCollection: true) - before < 8 * 1024 * 1024, "bytes were gathered");
        client.Blocking = true;
        client.Shutdown(SocketShutdown.Send);
        Assert.Equal(1 + sent + 3, (await ReadBytesToEndAsync(client)).Length);
    }

    [Fact]
    public async Task Without_a_guest_or_with_one_that_refuses_a_connection_is_reset_at_once()
    {
        var port = OpenPort("tcp");
        await _server.DisposeAsync();
        await AssertResetAsync(port);
        _backends.Clear();
        await AssertResetAsync(port);
    }

    [Fact]
    public async Task When_the_guest_goes_its_connections_are_reset()
    {
        var port = OpenPort("tcp");
        using var client = await ConnectAsync(port);
        Assert.Equal("A", await ReadAsync(client, 1));

        await _gone.CancelAsync();

        await AssertResetAsync(client);
    }

    [Fact]
    public async Task A_closed_port_refuses_cuts_what_goes_through_it_and_can_be_opened_again()
    {
        var port = OpenPort("tcp");
        using var client = await ConnectAsync(port);
        Assert.Equal("A", await ReadAsync(client, 1));

        await _ports.CloseAsync(port);

        await AssertResetAsync(client);
        Assert.Equal(SocketError.ConnectionRefused, (await Assert.ThrowsAsync<SocketException>(() => ConnectAsync(port))).SocketErrorCode);
        _ports.OpenPort(port, () => [.. _backends.Select(backend => backend with { Gone = CancellationToken.None })]);
        using var again = await ConnectAsync(port);
        Assert.Equal("A", await ReadAsync(again, 1));
    }

    [Fact]
    public async Task A_port_is_closed_and_free_even_while_a_child_that_is_being_started_has_its_socket()
    {
        using var listener = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
        listener.Bind(new IPEndPoint(IPAddress.Loopback, 0));
        listener.Listen(8);
        var port = new HostPort("tcp", ((IPEndPoint)listener.LocalEndPoint!).Port);
        using var kept = new SafeSocketHandle(Dup((int)listener.Handle), ownsHandle: true);
        await new TcpForwarder(port, listener, new Balancer(() => _backends), _clock, NullLogger.Instance).DisposeAsync();

        Assert.Equal(SocketError.ConnectionRefused, (await Assert.ThrowsAsync<SocketException>(() => ConnectAsync(port))).SocketErrorCode);
        _ports.Hold(port);
    }

    [Fact]
    public async Task A_connection_on_which_nothing_moves_is_cut_after_its_limit_and_not_before()
    {
        var port = OpenPort("tcp");
        using var idle = await ConnectAsync(port);
        Assert.Equal("A", await ReadAsync(idle, 1));
        _clock.Advance(TcpForwarder.IdleLimit - TimeSpan.FromMinutes(1));
        await idle.SendAsync("x"u8.ToArray(), Cancel);
        Assert.Equal("x", await ReadAsync(idle, 1));
        _clock.Advance(TcpForwarder.IdleLimit - TimeSpan.FromMinutes(1));
        await idle.SendAsync("y"u8.ToArray(), Cancel);
        Assert.Equal("y", await ReadAsync(idle, 1));

        _clock.Advance(TcpForwarder.IdleLimit + TimeSpan.FromMinutes(1));

        await AssertResetAsync(idle);
    }

    [Fact]
    public async Task Connections_beyond_the_limit_are_reset_and_room_is_made_when_one_ends()
    {
        var port = OpenPort("tcp");
        var clients = new List<Socket>();
        try
        {
            for (var i = 0; i < TcpForwarder.MaxConnections; i++)
            {
                clients.Add(await ConnectAsync(port));
                Assert.Equal("A", await ReadAsync(clients[i], 1));
            }

            await AssertResetAsync(port);
            clients[0].Dispose();
            await UntilAsync(() => AnswersAsync(port));
        }
        finally
        {
            clients.ForEach(client => client.Dispose());
        }
    }

    [Fact]
    public async Task Connections_go_to_the_least_busy_guest_and_around_one_that_refuses()
    {
        await using var second = new EchoServer("B");
        var closed = new EchoServer();
        await closed.DisposeAsync();
        _backends.Add(BackendAt(closed.EndPoint, CancellationToken.None));
        _backends.Add(BackendAt(second.EndPoint, CancellationToken.None));
        var port = OpenPort("tcp");
        var clients = new List<Socket>();
        var seen = new List<string>();
        for (var i = 0; i < 20; i++)
        {
            clients.Add(await ConnectAsync(port));
            seen.Add(await ReadAsync(clients[i], 1));
        }

        Assert.Equal(10, seen.Count(name => name == "A"));
        Assert.Equal(10, seen.Count(name => name == "B"));
        clients.ForEach(client => client.Dispose());
    }

    [Fact]
    public async Task Datagrams_pass_both_ways_up_to_the_largest_and_each_client_gets_its_own_answers()
    {
        var port = OpenPort("udp");
        await Task.WhenAll(Enumerable.Range(0, 50).Select(async i =>
        {
            using var client = await ConnectAsync(port);
            foreach (var length in new[] { 0, 1, 1400, 65_000 })
            {
                var sent = new byte[length];
                new Random(i).NextBytes(sent);
                var answer = await AskAsync(client, sent);
                Assert.Equal('A', (char)answer[0]);
                Assert.Equal(sent, answer[1..]);
            }
        }));
    }

    [Fact]
    public async Task A_flow_ends_when_idle_and_the_next_datagram_begins_another()
    {
        var port = OpenPort("udp");
        using var client = await ConnectAsync(port);
        Assert.Equal("A1", Encoding.ASCII.GetString(await AskAsync(client, "1"u8.ToArray())));
        await using var second = new EchoServer("B");
        _backends[0] = BackendAt(second.EndPoint, CancellationToken.None);
        Assert.Equal("A2", Encoding.ASCII.GetString(await AskAsync(client, "2"u8.ToArray())));

        _clock.Advance(UdpForwarder.IdleLimit + TimeSpan.FromSeconds(20));

        await UntilAsync(async () => Encoding.ASCII.GetString(await AskAsync(client, "3"u8.ToArray())) == "B3");
    }

    [Fact]
    public async Task A_guest_without_a_socket_at_its_port_does_not_break_later_datagrams()
    {
        var port = OpenPort("udp");
        var closed = new EchoServer();
        await closed.DisposeAsync();
        var good = _backends[0];
        _backends[0] = BackendAt(closed.EndPoint, CancellationToken.None);
        using var client = await ConnectAsync(port);
        await client.SendAsync("lost"u8.ToArray(), Cancel);
        _backends[0] = good;
        await UntilAsync(async () => Encoding.ASCII.GetString(await AskAsync(client, "again"u8.ToArray())) == "Aagain");
    }

    [Theory]
    [InlineData("tcp")]
    [InlineData("udp")]
    public async Task A_port_that_somebody_has_is_refused_and_one_that_is_let_go_is_free(string protocol)
    {
        var port = new HostPort(protocol, _server.EndPoint.Port);
        Assert.Equal(ErrorCodes.PortInUse, Assert.Throws<VolantException>(() => _ports.Hold(port)).Code);
        await _server.DisposeAsync();
        _ports.Hold(port);
        Assert.Equal(ErrorCodes.PortInUse, Assert.Throws<VolantException>(() => _ports.Hold(port)).Code);
        _ports.Release(port);
        _ports.Hold(port);
        _ports.OpenPort(port, () => []);
        Assert.Equal(ErrorCodes.PortInUse, Assert.Throws<VolantException>(() => _ports.Hold(port)).Code);
        Assert.Equal([port], _ports.Open);
    }

    [Fact]
    public void An_address_that_the_host_does_not_have_is_said()
    {
        var elsewhere = new PortForwarders(IPAddress.Parse("192.0.2.1"), _clock, NullLogger<PortForwarders>.Instance);
        var failure = Assert.Throws<VolantException>(() => elsewhere.Hold(new HostPort("tcp", 30_000)));
        Assert.Equal(ErrorCodes.NetworkUnavailable, failure.Code);
        Assert.Contains("VOLANT_PUBLISH_ADDRESS", failure.Message, StringComparison.Ordinal);
    }

    private static Backend BackendAt(IPEndPoint address, CancellationToken gone) => new(
        Guid.NewGuid(), address.ToString(), cancellationToken => SocketConnection.ConnectAsync(address, cancellationToken), _ => Task.FromResult<DatagramLink>(new SocketDatagrams(address)), gone);

    /// <summary>Opens a port that nobody has.</summary>
    [SuppressMessage("Interoperability", "SYSLIB1054", Justification = "The tests have no unsafe code, which the generated one would be.")]
    [DllImport("libc", EntryPoint = "dup")]
    private static extern int Dup(int descriptor);

    private HostPort OpenPort(string protocol)
    {
        for (var number = 20_000; ; number++)
        {
            var port = new HostPort(protocol, number);
            try
            {
                _ports.OpenPort(port, () => [.. _backends]);
                return port;
            }
            catch (VolantException e) when (e.Code == ErrorCodes.PortInUse)
            {
                // Another test's.
            }
        }
    }

    private static async Task<Socket> ConnectAsync(HostPort port)
    {
        var socket = port.Protocol == "tcp" ? new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp) : new Socket(AddressFamily.InterNetwork, SocketType.Dgram, ProtocolType.Udp);
        try
        {
            await socket.ConnectAsync(new IPEndPoint(IPAddress.Loopback, port.Number), Cancel);
            return socket;
        }
        catch
        {
            socket.Dispose();
            throw;
        }
    }

    /// <summary>Sends a datagram until there is an answer: one may be lost.</summary>
    private static async Task<byte[]> AskAsync(Socket client, byte[] datagram)
    {
        var buffer = new byte[65_536];
        while (true)
        {
            try
            {
                await client.SendAsync(datagram, Cancel);
                using var patience = CancellationTokenSource.CreateLinkedTokenSource(Cancel);
                patience.CancelAfter(TimeSpan.FromSeconds(2));
                var count = await client.ReceiveAsync(buffer, patience.Token);
                return buffer[..count];
            }
            catch (OperationCanceledException) when (!Cancel.IsCancellationRequested)
            {
                // Again.
            }
        }
    }

    private static async Task<string> ReadAsync(Socket client, int count)
    {
        var buffer = new byte[count];
        for (var length = 0; length < count;)
        {
            var read = await client.ReceiveAsync(buffer.AsMemory(length), Cancel);
            Assert.True(read > 0, "the connection ended");
            length += read;
        }

        return Encoding.ASCII.GetString(buffer);
    }

    private static async Task<bool> AnswersAsync(HostPort port)
    {
        try
        {
            using var client = await ConnectAsync(port);
            return await client.ReceiveAsync(new byte[1], Cancel) == 1;
        }
        catch (SocketException)
        {
            return false;
        }
    }

    private static async Task<string> ReadToEndAsync(Socket client) => Encoding.ASCII.GetString(await ReadBytesToEndAsync(client));

    private static async Task<byte[]> ReadBytesToEndAsync(Socket client)
    {
        using var all = new MemoryStream();
        var buffer = new byte[64 * 1024];
        while (await client.ReceiveAsync(buffer, Cancel) is > 0 and var count)
        {
            await all.WriteAsync(buffer.AsMemory(0, count), Cancel);
        }

        return all.ToArray();
    }

    /// <summary>A new connection is reset; connecting itself may notice that already.</summary>
    private static async Task AssertResetAsync(HostPort port)
    {
        var failure = await Assert.ThrowsAsync<SocketException>(async () =>
        {
            using var client = await ConnectAsync(port);
            while (await client.ReceiveAsync(new byte[1], Cancel) > 0)
            {
            }
        });
        Assert.Equal(SocketError.ConnectionReset, failure.SocketErrorCode);
    }

    private static async Task AssertResetAsync(Socket client)
    {
        var buffer = new byte[4096];
        var failure = await Assert.ThrowsAsync<SocketException>(async () =>
        {
            while (await client.ReceiveAsync(buffer, Cancel) > 0)
            {
            }
        });
        Assert.Equal(SocketError.ConnectionReset, failure.SocketErrorCode);
    }

    private static async Task UntilAsync(Func<Task<bool>> condition)
    {
        var started = TimeProvider.System.GetTimestamp();
        while (!await condition())
        {
            Assert.True(TimeProvider.System.GetElapsedTime(started).TotalSeconds < 30, "the condition did not come true");
            await Task.Delay(TimeSpan.FromMilliseconds(10), TimeProvider.System, Cancel);
        }
    }
}
