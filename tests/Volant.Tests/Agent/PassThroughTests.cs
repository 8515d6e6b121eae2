using System.Net;
using System.Net.WebSockets;
using System.Text;
using System.Text.Json;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Http.Features;
using Volant.Contracts;
using Volant.Contracts.Api;

namespace Volant.Tests.Agent;

public sealed class PassThroughTests
{
    private static CancellationToken Token => TestContext.Current.CancellationToken;

    [Fact]
    public async Task Path_query_method_and_fields_reach_the_workload_unchanged()
    {
        await using var agent = await AgentHarness.StartAsync(app => app.Run(async c =>
        {
            var fields = string.Join('\n', c.Request.Headers.Select(h => $"{h.Key.ToUpperInvariant()}={h.Value}"));
            await c.Response.WriteAsync($"{c.Request.Method} {c.Features.GetRequiredFeature<IHttpRequestFeature>().RawTarget}\n{fields}");
        }), Token);
        var (client, handler) = agent.Connect();
        using var owned = client;
        using var ownedHandler = handler;
        using var request = new HttpRequestMessage(HttpMethod.Delete, "/v1/a%2Fb/%C3%A9?q=1&q=2%20x") { Version = HttpVersion.Version20, VersionPolicy = HttpVersionPolicy.RequestVersionExact };
        request.Headers.Add("X-Mine", ["a", "b"]);
        request.Headers.TryAddWithoutValidation("Cookie", "a=1; b=2");

        using var response = await client.SendAsync(request, Token);
        var text = await response.Content.ReadAsStringAsync(Token);

        Assert.StartsWith("DELETE /v1/a%2Fb/%C3%A9?q=1&q=2%20x\n", text, StringComparison.Ordinal);
        Assert.Contains("X-MINE=a", text, StringComparison.Ordinal);
        Assert.Contains("COOKIE=a=1; b=2", text, StringComparison.Ordinal);
        Assert.Contains("CONNECTION=close", text, StringComparison.Ordinal);
        Assert.Contains("HOST=127.0.0.1:", text, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(0)]
    [InlineData(1)]
    [InlineData(100_000)]
    [InlineData(10_000_000)]
    public async Task A_body_of_known_length_goes_both_ways(int size)
    {
        await using var agent = await AgentHarness.StartAsync(Echo, Token);
        var (client, handler) = agent.Connect();
        using var owned = client;
        using var ownedHandler = handler;
        var body = new byte[size];
        Random.Shared.NextBytes(body);

        using var response = await client.PostAsync("/echo", new ByteArrayContent(body), Token);

        Assert.Equal(HttpStatusCode.OK, response.StatusCode);
        Assert.Equal(size.ToString(), response.Headers.GetValues("X-Length").Single());
        Assert.Equal(body, await response.Content.ReadAsByteArrayAsync(Token));
    }

    [Fact]
    public async Task A_body_of_unknown_length_goes_both_ways_in_chunks()
    {
        await using var agent = await AgentHarness.StartAsync(Echo, Token);
        var (client, handler) = agent.Connect();
        using var owned = client;
        using var ownedHandler = handler;
        var body = new byte[3_000_000];
        Random.Shared.NextBytes(body);
        using var content = new UnknownLengthContent(body);

        using var response = await client.PostAsync("/echo", content, Token);

        Assert.Equal("none", response.Headers.GetValues("X-Length").Single());
        Assert.Equal(body, await response.Content.ReadAsByteArrayAsync(Token));
    }

    [Fact]
    public async Task Events_arrive_one_by_one_while_the_workload_still_answers()
    {
        var gate = new SemaphoreSlim(0);
        await using var agent = await AgentHarness.StartAsync(app => app.Run(async c =>
        {
            c.Response.ContentType = "text/event-stream";
            for (var i = 0; i < 3; i++)
            {
                await c.Response.WriteAsync($"data: {i}\n\n");
                await c.Response.Body.FlushAsync();
                await gate.WaitAsync(c.RequestAborted);
            }
        }), Token);
        var (client, handler) = agent.Connect();
        using var owned = client;
        using var ownedHandler = handler;

        using var response = await client.GetAsync("/events", HttpCompletionOption.ResponseHeadersRead, Token);
        using var reader = new StreamReader(await response.Content.ReadAsStreamAsync(Token));

        for (var i = 0; i < 3; i++)
        {
            Assert.Equal($"data: {i}", await reader.ReadLineAsync(Token));
            Assert.Equal(string.Empty, await reader.ReadLineAsync(Token));
            gate.Release();
        }

        Assert.Null(await reader.ReadLineAsync(Token));
    }

    [Fact]
    public async Task A_websocket_over_http2_becomes_an_upgrade_and_echoes()
    {
        await using var agent = await AgentHarness.StartAsync(WebSocketEcho, Token);
        var (client, handler) = agent.Connect();
        using var owned = client;
        using var ownedHandler = handler;
        using var invoker = new HttpMessageInvoker(handler, disposeHandler: false);
        using var socket = new ClientWebSocket();
        socket.Options.HttpVersion = HttpVersion.Version20;
        socket.Options.HttpVersionPolicy = HttpVersionPolicy.RequestVersionExact;
        socket.Options.AddSubProtocol("echo");

        await socket.ConnectAsync(new Uri("ws://guest/ws?x=1"), invoker, Token);
        Assert.Equal("echo", socket.SubProtocol);
        foreach (var size in new[] { 1, 125, 126, 60_000, 100_000 })
        {
            var sent = new byte[size];
            Random.Shared.NextBytes(sent);
            await socket.SendAsync(sent, WebSocketMessageType.Binary, endOfMessage: true, Token);
            var got = new byte[size];
            var count = 0;
            while (count < size)
            {
                count += (await socket.ReceiveAsync(got.AsMemory(count), Token)).Count;
            }

            Assert.Equal(sent, got);
        }

        await socket.CloseAsync(WebSocketCloseStatus.NormalClosure, "done", Token);
        Assert.Equal(WebSocketState.Closed, socket.State);
        Assert.Equal(WebSocketCloseStatus.NormalClosure, socket.CloseStatus);
    }

    [Fact]
    public async Task A_refused_websocket_gives_the_answer_of_the_workload()
    {
        await using var agent = await AgentHarness.StartAsync(app => app.Run(c =>
        {
            c.Response.StatusCode = 403;
            return c.Response.WriteAsync("no");
        }), Token);
        var (client, handler) = agent.Connect();
        using var owned = client;
        using var ownedHandler = handler;
        using var invoker = new HttpMessageInvoker(handler, disposeHandler: false);
        using var socket = new ClientWebSocket();
        socket.Options.HttpVersion = HttpVersion.Version20;
        socket.Options.HttpVersionPolicy = HttpVersionPolicy.RequestVersionExact;
        socket.Options.CollectHttpResponseDetails = true;

        await Assert.ThrowsAsync<WebSocketException>(() => socket.ConnectAsync(new Uri("ws://guest/ws"), invoker, Token));

        Assert.Equal(HttpStatusCode.Forbidden, socket.HttpStatusCode);
    }

    [Fact]
    public async Task Two_hundred_requests_pass_a_download_that_nobody_reads_and_an_upload_that_nobody_takes()
    {
        var arrived = new SemaphoreSlim(0);
        var all = new TaskCompletionSource();

        // Held here: a handler that waits for nothing which is reachable may be collected, and its socket with it.
        var never = new TaskCompletionSource();
        await using var agent = await AgentHarness.StartAsync(
            app =>
            {
                app.MapGet("/endless", async c =>
                {
                    while (!c.RequestAborted.IsCancellationRequested)
                    {
                        await c.Response.Body.WriteAsync(new byte[64 * 1024], c.RequestAborted);
                    }
                });
                app.MapPost("/never", c => never.Task.WaitAsync(c.RequestAborted));
                app.MapGet("/meet", async c =>
                {
                    arrived.Release();
                    await all.Task.WaitAsync(c.RequestAborted);
                    await c.Response.WriteAsync("met");
                });
            },
            Token);
        var (client, handler) = agent.Connect();
        using var owned = client;
        using var ownedHandler = handler;
        using var stop = CancellationTokenSource.CreateLinkedTokenSource(Token);
        using var download = await client.GetAsync("/endless", HttpCompletionOption.ResponseHeadersRead, Token);
        var upload = client.PostAsync("/never", new UnknownLengthContent(new byte[64 * 1024 * 1024]), stop.Token);

        var requests = Enumerable.Range(0, 200).Select(_ => client.GetStringAsync("/meet", Token)).ToArray();
        for (var i = 0; i < requests.Length; i++)
        {
            await arrived.WaitAsync(Token);
        }

        all.SetResult();
        Assert.All(await Task.WhenAll(requests), text => Assert.Equal("met", text));
        Assert.Equal(1, agent.Openings);
        await stop.CancelAsync();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => upload);
        Assert.False(never.Task.IsCompleted);
    }

    [Fact]
    public async Task A_caller_that_gives_up_ends_the_workloads_work_and_leaves_no_complaint()
    {
        var gone = new SemaphoreSlim(0);
        await using var agent = await AgentHarness.StartAsync(
            app => app.MapGet("/bytes", async c =>
            {
                c.Response.ContentLength = 1_000_000_000;
                try
                {
                    while (true)
                    {
                        await c.Response.Body.WriteAsync(new byte[64 * 1024], c.RequestAborted);
                    }
                }
                finally
                {
                    gone.Release();
                }
            }),
            Token);
        var (client, handler) = agent.Connect();
        using var owned = client;
        using var ownedHandler = handler;
        for (var i = 0; i < 20; i++)
        {
            using (var response = await client.GetAsync("/bytes", HttpCompletionOption.ResponseHeadersRead, Token))
            {
                await using var body = await response.Content.ReadAsStreamAsync(Token);
                await body.ReadExactlyAsync(new byte[i * 10_000], Token);
            }

            await gone.WaitAsync(Token);
        }

        Assert.Contains("\"ready\"", await client.GetStringAsync("/healthz", Token), StringComparison.Ordinal);
        Assert.Equal(1, agent.Openings);
        Assert.Empty(agent.Lines);
    }

    [Fact]
    public async Task A_host_that_leaves_in_the_middle_of_a_download_gets_a_clean_connection_next()
    {
        await using var agent = await AgentHarness.StartAsync(
            app => app.MapGet("/bytes", async c =>
            {
                for (var i = 0; i < 1000; i++)
                {
                    await c.Response.Body.WriteAsync(new byte[64 * 1024], c.RequestAborted);
                }
            }),
            Token);
        for (var i = 0; i < 5; i++)
        {
            var (client, handler) = agent.Connect();
            using var owned = client;
            using var ownedHandler = handler;
            Assert.Contains("\"ready\"", await client.GetStringAsync("/healthz", Token), StringComparison.Ordinal);
            using var response = await client.GetAsync("/bytes", HttpCompletionOption.ResponseHeadersRead, Token);
            await using var body = await response.Content.ReadAsStreamAsync(Token);
            await body.ReadExactlyAsync(new byte[300_000], Token);
            await agent.Raw!.DisposeAsync();
        }
    }

    [Theory]
    [InlineData("GET", 204)]
    [InlineData("GET", 304)]
    [InlineData("HEAD", 200)]
    [InlineData("OPTIONS", 200)]
    [InlineData("PATCH", 418)]
    public async Task Answers_without_a_body_and_odd_methods_pass(string method, int code)
    {
        await using var agent = await AgentHarness.StartAsync(app => app.Run(c =>
        {
            c.Response.StatusCode = code;
            c.Response.Headers.ETag = "\"x\"";
            return Task.CompletedTask;
        }), Token);
        var (client, handler) = agent.Connect();
        using var owned = client;
        using var ownedHandler = handler;
        using var request = new HttpRequestMessage(new HttpMethod(method), "/") { Version = HttpVersion.Version20, VersionPolicy = HttpVersionPolicy.RequestVersionExact };

        using var response = await client.SendAsync(request, Token);

        Assert.Equal(code, (int)response.StatusCode);
        Assert.Equal("\"x\"", response.Headers.ETag?.Tag);
    }

    [Fact]
    public async Task Nobody_at_the_workloads_address_is_a_502_and_a_workload_that_does_not_run_a_503()
    {
        await using var agent = await AgentHarness.StartAsync(new Uri("http://127.0.0.1:1"), null, Token);
        var (client, handler) = agent.Connect();
        using var owned = client;
        using var ownedHandler = handler;

        using var early = await client.GetAsync("/x", Token);
        agent.Running();
        using var refused = await client.GetAsync("/x", Token);

        Assert.Equal((503, ErrorCodes.Unavailable), ((int)early.StatusCode, (await ProblemOf(early)).Code));
        Assert.Equal((502, ErrorCodes.AgentUnreachable), ((int)refused.StatusCode, (await ProblemOf(refused)).Code));
        Assert.Equal("application/problem+json", refused.Content.Headers.ContentType?.MediaType);
    }

    [Theory]
    [InlineData("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n")]
    [InlineData("SSH-2.0-OpenSSH\r\n\r\n")]
    [InlineData("HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n")]
    [InlineData("")]
    public async Task An_answer_that_is_not_http_is_a_502(string answer)
    {
        await using var workload = new CannedServer(answer);
        await using var agent = await AgentHarness.StartAsync(workload.Url, null, Token);
        agent.Running();
        var (client, handler) = agent.Connect();
        using var owned = client;
        using var ownedHandler = handler;

        using var response = await client.GetAsync("/x", Token);

        Assert.Equal((502, ErrorCodes.AgentUnreachable), ((int)response.StatusCode, (await ProblemOf(response)).Code));
    }

    [Theory]
    [InlineData("HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nshort")]
    [InlineData("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nshort\r\n")]
    [InlineData("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nshortXX5\r\n")]
    public async Task A_body_that_breaks_off_breaks_off_for_the_caller_too(string answer)
    {
        await using var workload = new CannedServer(answer);
        await using var agent = await AgentHarness.StartAsync(workload.Url, null, Token);
        agent.Running();
        var (client, handler) = agent.Connect();
        using var owned = client;
        using var ownedHandler = handler;

        await Assert.ThrowsAsync<HttpRequestException>(() => client.GetStringAsync("/x", Token));
    }

    [Fact]
    public async Task Fields_of_one_connection_and_bare_line_feeds_do_not_pass()
    {
        await using var workload = new CannedServer(
            "HTTP/1.0 200 OK\nConnection: close, X-Private\nX-Private: 1\nKeep-Alive: 5\nX-Public: \u00e9\nContent-Type: text/plain\n\nhello");
        await using var agent = await AgentHarness.StartAsync(workload.Url, null, Token);
        agent.Running();
        var (client, handler) = agent.Connect();
        handler.ResponseHeaderEncodingSelector = (_, _) => Encoding.Latin1;
        using var owned = client;
        using var ownedHandler = handler;

        using var response = await client.GetAsync("/x", Token);

        Assert.Equal("hello", await response.Content.ReadAsStringAsync(Token));
        Assert.False(response.Headers.Contains("X-Private"));
        Assert.False(response.Headers.Contains("Keep-Alive"));
        Assert.Equal("\u00e9", response.Headers.GetValues("X-Public").Single());
    }

    private static void Echo(WebApplication app) => app.MapPost("/echo", async c =>
    {
        c.Response.Headers["X-Length"] = c.Request.ContentLength?.ToString() ?? "none";
        c.Response.ContentLength = c.Request.ContentLength;

        // Not before it has read everything: the client sends all before it reads.
        using var all = new MemoryStream();
        await c.Request.Body.CopyToAsync(all, c.RequestAborted);
        all.Position = 0;
        await all.CopyToAsync(c.Response.Body, c.RequestAborted);
    });

    private static void WebSocketEcho(WebApplication app) => app.Map("/ws", async c =>
    {
        using var socket = await c.WebSockets.AcceptWebSocketAsync("echo");
        var buffer = new byte[16 * 1024];
        while (true)
        {
            var got = await socket.ReceiveAsync(buffer.AsMemory(), c.RequestAborted);
            if (got.MessageType == WebSocketMessageType.Close)
            {
                await socket.CloseOutputAsync(WebSocketCloseStatus.NormalClosure, "done", c.RequestAborted);
                return;
            }

            await socket.SendAsync(buffer.AsMemory(0, got.Count), got.MessageType, got.EndOfMessage, c.RequestAborted);
        }
    });

    private static async Task<Problem> ProblemOf(HttpResponseMessage response) =>
        JsonSerializer.Deserialize(await response.Content.ReadAsByteArrayAsync(Token), ContractsJson.Default.Problem)!;

    private sealed class UnknownLengthContent(byte[] bytes) : HttpContent
    {
        protected override Task SerializeToStreamAsync(Stream stream, TransportContext? context) => stream.WriteAsync(bytes).AsTask();

        protected override bool TryComputeLength(out long length)
        {
            length = 0;
            return false;
        }
    }
}
