using System.Net;
using System.Net.Sockets;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Server.Kestrel.Core;
using Microsoft.Extensions.Logging;

namespace Volant.Tests.Guests;

/// <summary>A small agent: an HTTP/2 server on a Unix socket, with some unpleasant answers on demand.</summary>
internal sealed class FakeAgent : IAsyncDisposable
{
    public const string State =
        """{"revision":7,"status":"ok","ready":true,"version":"1.2","hostname":"g","kernel":"6.1","uptime":0.012,"workload":{"status":"running","pid":9},"from_the_future":{"x":[1]}}""";

    private readonly WebApplication _app;
    private readonly TaskCompletionSource _shutdown = new(TaskCreationOptions.RunContinuationsAsynchronously);

    private long _written;
    private int _hanging;

    private FakeAgent(WebApplication app) => _app = app;

    /// <summary>Completes when the agent was asked to shut down.</summary>
    public Task Shutdown => _shutdown.Task;

    /// <summary>What <c>/v1/openapi</c> answers; 404 when null.</summary>
    public string? OpenApi { get; set; }

    /// <summary>What <c>/v1/agent/state</c> answers.</summary>
    public Func<HttpContext, Task> OnState { get; set; } = AnswerAsync;

    /// <summary>What <c>/v1/logs/stream</c> answers; null for an agent that has no such route.</summary>
    public Func<HttpContext, Task>? OnLogs { get; set; }

    /// <summary>What <c>/v1/devtools</c> answers; null for a runtime that has none.</summary>
    public string? DevTools { get; set; }

    /// <summary>Bytes that <c>/endless</c> could write.</summary>
    public long Written => Interlocked.Read(ref _written);

    /// <summary>Requests that hang now.</summary>
    public int Hanging => Volatile.Read(ref _hanging);

    public static async Task<FakeAgent> StartAsync(string socket)
    {
        var builder = WebApplication.CreateSlimBuilder();
        builder.Logging.ClearProviders();
        builder.WebHost.ConfigureKestrel(options =>
        {
            options.ListenUnixSocket(socket, listen => listen.Protocols = HttpProtocols.Http2);
            options.Limits.Http2.MaxStreamsPerConnection = 1000;
            options.Limits.MinResponseDataRate = null;
            options.Limits.MinRequestBodyDataRate = null;
            options.Limits.MaxRequestBodySize = null;
        });
        var app = builder.Build();
        var agent = new FakeAgent(app);
        app.UseWebSockets();
        agent.MapLive(app);
        MapTunnels(app);
        MapDatagrams(app);
        agent.MapHostile(app);
        app.MapGet("/v1/agent/state", (HttpContext context) => agent.OnState(context));
        app.MapPost("/v1/agent/shutdown", () =>
        {
            agent._shutdown.TrySetResult();
            return TypedResults.Accepted((string?)null);
        });
        app.MapGet("/bytes/{count}", async (HttpContext context, long count) =>
        {
            var chunk = new byte[64 * 1024];
            for (; count > 0; count -= chunk.Length)
            {
                await context.Response.Body.WriteAsync(chunk.AsMemory(0, (int)Math.Min(count, chunk.Length)), context.RequestAborted);
            }
        });
        app.Map("/reflect/{**rest}", async (HttpContext context) =>
        {
            // The body goes back as it comes, behind a line about the request.
            context.Response.ContentType = "text/plain";
            await context.Response.WriteAsync(
                $"{context.Request.Method} {context.Request.Path}{context.Request.QueryString} [{string.Join(' ', context.Request.Headers.Keys.Order(StringComparer.OrdinalIgnoreCase))}]\n", context.RequestAborted);
            await context.Response.Body.FlushAsync(context.RequestAborted);
            await context.Request.Body.CopyToAsync(context.Response.Body, context.RequestAborted);
        });
        app.MapGet("/v1/openapi", (HttpContext context) => agent.OpenApi is { } document ? Results.Text(document, "application/json") : Results.NotFound());
        app.MapGet("/docs/openapi.yaml", () => Results.Text("openapi: 3.1.0\n", "application/yaml"));
        app.MapGet("/version", (HttpContext context) => $"{context.Request.Protocol} {context.Request.Host} {context.Request.QueryString}");
        app.MapGet("/elsewhere", () => TypedResults.Redirect("/version"));
        await app.StartAsync(TestContext.Current.CancellationToken);
        return agent;
    }

    /// <summary>Tunnels to ports of loopback, which is the guest's own here; see <see cref="MapDatagrams"/> for UDP.</summary>
    private static void MapTunnels(WebApplication app)
    {
        app.MapPost("/v1/agent/tunnel", async (HttpContext context, int port) =>
        {
            using var socket = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
            try
            {
                await socket.ConnectAsync(new IPEndPoint(IPAddress.Loopback, port), context.RequestAborted);
            }
            catch (SocketException)
            {
                context.Response.StatusCode = 502;
                return;
            }

            await using var stream = new NetworkStream(socket);
            await context.Response.StartAsync(context.RequestAborted);
            await context.Response.Body.FlushAsync(context.RequestAborted);
            var up = UpAsync();
            var buffer = new byte[32 * 1024];
            while (await stream.ReadAsync(buffer, context.RequestAborted) is > 0 and var count)
            {
                await context.Response.Body.WriteAsync(buffer.AsMemory(0, count), context.RequestAborted);
                await context.Response.Body.FlushAsync(context.RequestAborted);
            }

            await context.Response.CompleteAsync();
            await up;

            async Task UpAsync()
            {
                await context.Request.Body.CopyToAsync(stream, context.RequestAborted);
                socket.Shutdown(SocketShutdown.Send);
            }
        });
    }

    private static void MapDatagrams(WebApplication app)
    {
        app.MapPost("/v1/agent/datagrams", async (HttpContext context, int port) =>
        {
            using var socket = new Socket(AddressFamily.InterNetwork, SocketType.Dgram, ProtocolType.Udp);
            await socket.ConnectAsync(new IPEndPoint(IPAddress.Loopback, port), context.RequestAborted);
            await context.Response.StartAsync(context.RequestAborted);
            await context.Response.Body.FlushAsync(context.RequestAborted);
            _ = AnswerAsync();
            var head = new byte[2];
            while (await context.Request.Body.ReadAtLeastAsync(head, 2, throwOnEndOfStream: false, context.RequestAborted) == 2)
            {
                var datagram = new byte[(head[0] << 8) | head[1]];
                await context.Request.Body.ReadExactlyAsync(datagram, context.RequestAborted);
                await socket.SendAsync(datagram, context.RequestAborted);
            }

            async Task AnswerAsync()
            {
                var buffer = new byte[64 * 1024];
                while (true)
                {
                    var count = await socket.ReceiveAsync(buffer.AsMemory(2), context.RequestAborted);
                    (buffer[0], buffer[1]) = ((byte)(count >> 8), (byte)count);
                    await context.Response.Body.WriteAsync(buffer.AsMemory(0, count + 2), context.RequestAborted);
                    await context.Response.Body.FlushAsync(context.RequestAborted);
                }
            }
        });
    }

    private void MapLive(WebApplication app)
    {
        app.MapGet("/v1/logs/stream", async (HttpContext context) =>
        {
            context.Response.StatusCode = OnLogs is null ? 404 : 200;
            await (OnLogs?.Invoke(context) ?? Task.CompletedTask);
        });
        app.MapGet("/v1/devtools", (HttpContext context) =>
        {
            context.Response.StatusCode = DevTools is null ? 404 : 200;
            return context.Response.WriteAsync(DevTools ?? "none");
        });
        app.Map("/headers", (HttpContext context) => string.Concat(context.Request.Headers.Select(header => $"{header.Key}: {header.Value}\n")));
        app.MapPost("/upper", async (HttpContext context) =>
        {
            var buffer = new byte[4096];
            await context.Response.StartAsync();
            while (await context.Request.Body.ReadAsync(buffer) is > 0 and var count)
            {
                await context.Response.WriteAsync(System.Text.Encoding.ASCII.GetString(buffer, 0, count).ToUpperInvariant());
                await context.Response.Body.FlushAsync();
            }
        });
        app.Map("/echo/{**path}", async (HttpContext context) =>
        {
            var protocol = context.Request.Query["choose"];
            using var socket = await context.WebSockets.AcceptWebSocketAsync(protocol.Count > 0 ? protocol.ToString() : null);
            var seen = $"{context.Request.Path}{context.Request.QueryString}\n" + string.Concat(context.Request.Headers.Select(header => $"{header.Key}: {header.Value}\n"));
            await socket.SendAsync(System.Text.Encoding.UTF8.GetBytes(seen), System.Net.WebSockets.WebSocketMessageType.Text, true, context.RequestAborted);
            var buffer = new byte[64 * 1024];
            while (await socket.ReceiveAsync(buffer.AsMemory(), context.RequestAborted) is { MessageType: not System.Net.WebSockets.WebSocketMessageType.Close } received)
            {
                await socket.SendAsync(buffer.AsMemory(0, received.Count), received.MessageType, received.EndOfMessage, context.RequestAborted);
            }

            await socket.CloseAsync(System.Net.WebSockets.WebSocketCloseStatus.NormalClosure, "bye", context.RequestAborted);
        });
    }

    private void MapHostile(WebApplication app)
    {
        app.Map("/hang", async (HttpContext context) =>
        {
            Interlocked.Increment(ref _hanging);
            await HangAsync(context);
        });
        app.MapGet("/drip", async (HttpContext context) =>
        {
            await context.Response.WriteAsync("x");
            await context.Response.Body.FlushAsync();
            await HangAsync(context);
        });
        app.MapGet("/endless", async (HttpContext context) =>
        {
            var chunk = new byte[64 * 1024];
            while (!context.RequestAborted.IsCancellationRequested)
            {
                await context.Response.Body.WriteAsync(chunk, context.RequestAborted);
                Interlocked.Add(ref _written, chunk.Length);
            }
        });
        app.MapGet("/many-headers", (HttpContext context) =>
        {
            for (var i = 0; i < 100_000; i++)
            {
                context.Response.Headers[$"x-{i}"] = "1";
            }
        });
        app.MapGet("/broken", async (HttpContext context) =>
        {
            context.Response.ContentLength = 100;
            await context.Response.WriteAsync("half");
            await context.Response.Body.FlushAsync();
            context.Abort();
        });
        app.MapGet("/reset", (HttpContext context) => context.Abort());
        app.MapGet("/power", (HttpContext context) =>
        {
            context.Response.Headers.SetCookie = "a=b";
            context.Response.Headers.AccessControlAllowOrigin = "*";
            context.Response.Headers.AccessControlAllowHeaders = "*";
            context.Response.Headers.StrictTransportSecurity = "max-age=1";
            context.Response.Headers["Clear-Site-Data"] = "*";
            return "power";
        });
        app.MapGet("/trailers", async (HttpContext context) =>
        {
            context.Response.DeclareTrailer("x-end");
            await context.Response.WriteAsync("body");
            context.Response.AppendTrailer("x-end", "1");
            context.Response.AppendTrailer("set-cookie", "a=b");
        });
    }

    /// <summary>Answers with <see cref="State"/>.</summary>
    public static Task AnswerAsync(HttpContext context) => context.Response.WriteAsync(State, context.RequestAborted);

    /// <summary>Never answers.</summary>
    public static Task HangAsync(HttpContext context) => Task.Delay(Timeout.InfiniteTimeSpan, TimeProvider.System, context.RequestAborted);

    public ValueTask DisposeAsync() => _app.DisposeAsync();
}
