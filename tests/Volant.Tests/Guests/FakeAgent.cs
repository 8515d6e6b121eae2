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

    private FakeAgent(WebApplication app) => _app = app;

    /// <summary>Completes when the agent was asked to shut down.</summary>
    public Task Shutdown => _shutdown.Task;

    /// <summary>What <c>/v1/openapi</c> answers; 404 when null.</summary>
    public string? OpenApi { get; set; }

    /// <summary>What <c>/v1/agent/state</c> answers.</summary>
    public Func<HttpContext, Task> OnState { get; set; } = AnswerAsync;

    public static async Task<FakeAgent> StartAsync(string socket)
    {
        var builder = WebApplication.CreateSlimBuilder();
        builder.Logging.ClearProviders();
        builder.WebHost.ConfigureKestrel(options =>
        {
            options.ListenUnixSocket(socket, listen => listen.Protocols = HttpProtocols.Http2);
            options.Limits.Http2.MaxStreamsPerConnection = 1000;
            options.Limits.MinResponseDataRate = null;
        });
        var app = builder.Build();
        var agent = new FakeAgent(app);
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
        app.Map("/echo/{**rest}", async (HttpContext context) =>
        {
            // The body goes back as it comes, behind a line about the request.
            context.Response.ContentType = "text/plain";
            await context.Response.WriteAsync(
                $"{context.Request.Method} {context.Request.Path}{context.Request.QueryString} [{string.Join(' ', context.Request.Headers.Keys.Order(StringComparer.OrdinalIgnoreCase))}]\n", context.RequestAborted);
            await context.Response.Body.FlushAsync(context.RequestAborted);
            await context.Request.Body.CopyToAsync(context.Response.Body, context.RequestAborted);
        });
        app.Map("/hang", HangAsync);
        app.MapGet("/v1/openapi", (HttpContext context) => agent.OpenApi is { } document ? Results.Text(document, "application/json") : Results.NotFound());
        app.MapGet("/docs/openapi.yaml", () => Results.Text("openapi: 3.1.0\n", "application/yaml"));
        app.MapGet("/version", (HttpContext context) => $"{context.Request.Protocol} {context.Request.Host} {context.Request.QueryString}");
        app.MapGet("/elsewhere", () => TypedResults.Redirect("/version"));
        await app.StartAsync(TestContext.Current.CancellationToken);
        return agent;
    }

    /// <summary>Answers with <see cref="State"/>.</summary>
    public static Task AnswerAsync(HttpContext context) => context.Response.WriteAsync(State, context.RequestAborted);

    /// <summary>Never answers.</summary>
    public static Task HangAsync(HttpContext context) => Task.Delay(Timeout.InfiniteTimeSpan, TimeProvider.System, context.RequestAborted);

    public ValueTask DisposeAsync() => _app.DisposeAsync();
}
