using System.Net;
using System.Net.Sockets;
using System.Net.WebSockets;
using System.Text;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;
using Volant.Agent;
using Volant.Agent.Transport;

namespace Volant.Tests.Agent;

public sealed class TcpListenerTests
{
    private static CancellationToken Token => TestContext.Current.CancellationToken;

    [Fact]
    public async Task One_port_speaks_http1_and_http2_with_prior_knowledge()
    {
        await using var agent = await AgentHarness.StartAsync(app => app.Run(c => c.Response.WriteAsync("hello")), Token);
        await using var tcp = new Tcp(agent);
        using var client = new HttpClient { BaseAddress = tcp.Url, DefaultVersionPolicy = HttpVersionPolicy.RequestVersionExact };
        foreach (var version in new[] { HttpVersion.Version11, HttpVersion.Version20 })
        {
            using var request = new HttpRequestMessage(HttpMethod.Get, "/x") { Version = version, VersionPolicy = HttpVersionPolicy.RequestVersionExact };
            using var response = await client.SendAsync(request, Token);

            Assert.Equal(version, response.Version);
            Assert.Equal("hello", await response.Content.ReadAsStringAsync(Token));
        }
    }

    [Theory]
    [InlineData(1)]
    [InlineData(3)]
    [InlineData(17)]
    public async Task A_request_that_arrives_in_pieces_is_sorted_all_the_same(int size)
    {
        await using var agent = await AgentHarness.StartAsync(app => app.Run(c => c.Response.WriteAsync(c.Request.Method)), Token);
        await using var tcp = new Tcp(agent);
        using var client = new TcpClient { NoDelay = true };
        await client.ConnectAsync(tcp.Address, Token);

        // The method begins as the preface of HTTP/2 does.
        foreach (var piece in Encoding.ASCII.GetBytes("PRIVATE / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").Chunk(size))
        {
            await client.GetStream().WriteAsync(piece, Token);
        }

        using var reader = new StreamReader(client.GetStream());
        var answer = await reader.ReadToEndAsync(Token);
        Assert.StartsWith("HTTP/1.1 200", answer, StringComparison.Ordinal);
        Assert.Contains("PRIVATE", answer, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_websocket_over_http1_keeps_the_callers_key()
    {
        await using var agent = await AgentHarness.StartAsync(
            app => app.Map("/ws", async c =>
            {
                using var socket = await c.WebSockets.AcceptWebSocketAsync();
                var buffer = new byte[1024];
                var got = await socket.ReceiveAsync(buffer.AsMemory(), c.RequestAborted);
                await socket.SendAsync(buffer.AsMemory(0, got.Count), got.MessageType, endOfMessage: true, c.RequestAborted);
                await socket.CloseAsync(WebSocketCloseStatus.NormalClosure, null, c.RequestAborted);
            }),
            Token);
        await using var tcp = new Tcp(agent);
        using var socket = new ClientWebSocket();

        // This client checks Sec-WebSocket-Accept against its own key.
        await socket.ConnectAsync(new Uri($"ws://{tcp.Address}/ws"), Token);
        await socket.SendAsync("hello"u8.ToArray(), WebSocketMessageType.Text, endOfMessage: true, Token);
        var answer = new byte[16];
        var count = (await socket.ReceiveAsync(answer.AsMemory(), Token)).Count;

        Assert.Equal("hello", Encoding.ASCII.GetString(answer, 0, count));
        await socket.CloseAsync(WebSocketCloseStatus.NormalClosure, null, Token);
    }

    [Fact]
    public async Task An_address_that_cannot_be_bound_is_told_and_does_no_harm()
    {
        var lines = new System.Collections.Concurrent.ConcurrentQueue<string>();
        using var console = new ConsoleLog(line => lines.Enqueue(Encoding.UTF8.GetString(line)));
        using var taken = new TcpListener(IPAddress.Loopback, 0);
        taken.Start();
        var listeners = new Listeners(new StreamEndPoint("a"), new StreamEndPoint("b"), console, TimeProvider.System);

        await listeners.ServeTcpAsync((IPEndPoint)taken.LocalEndpoint, Token);

        console.Flush(TimeSpan.FromSeconds(5));
        Assert.Contains("volant.api_port", Assert.Single(lines), StringComparison.Ordinal);
    }

    /// <summary>The agent's TCP listener on a free port.</summary>
    private sealed class Tcp : IAsyncDisposable
    {
        private readonly CancellationTokenSource _stop = new();
        private readonly ConsoleLog _console = new(_ => { });
        private readonly Task _serving;

        public Tcp(AgentHarness agent)
        {
            // Bound alone: a program that another test is just starting has a copy of it, and must not listen.
            using (var free = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp))
            {
                free.Bind(new IPEndPoint(IPAddress.Loopback, 0));
                Address = (IPEndPoint)free.LocalEndPoint!;
            }

            _serving = new Listeners(agent.Server.Http2, agent.Server.Http1, _console, TimeProvider.System).ServeTcpAsync(Address, _stop.Token);
        }

        public IPEndPoint Address { get; }

        public Uri Url => new($"http://{Address}");

        public async ValueTask DisposeAsync()
        {
            await _stop.CancelAsync();
            await Assert.ThrowsAnyAsync<OperationCanceledException>(() => _serving);
            _console.Dispose();
            _stop.Dispose();
        }
    }
}
