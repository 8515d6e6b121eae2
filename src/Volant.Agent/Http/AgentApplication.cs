using System.Globalization;
using System.Text.Json;
using Microsoft.AspNetCore.Hosting.Server;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Http.Features;
using Volant.Agent.Power;
using Volant.Agent.Workloads;
using Volant.Contracts;
using Volant.Contracts.Api;

namespace Volant.Agent.Http;

/// <summary>Every request of the agent: its own few routes (/healthz, /v1/agent/, /v1/logs), everything else is the workload's.</summary>
/// <param name="status">What /healthz and /v1/agent/state tell.</param>
/// <param name="logs">What the workload wrote.</param>
/// <param name="clock">Takes over what the host says of the time.</param>
/// <param name="workload">Takes the rest; null when there is no workload to speak of.</param>
/// <param name="shutDown">Begins the orderly shutdown; must return at once.</param>
internal sealed class AgentApplication(AgentStatus status, LogRoutes logs, ClockRoute clock, PassThrough? workload, Action<PowerAction, string> shutDown)
    : IHttpApplication<HttpContext>
{
    /// <summary>Longest wait of /v1/agent/state.</summary>
    public static readonly TimeSpan LongestPoll = TimeSpan.FromSeconds(60);

    private const string OwnPrefix = "/v1/agent/";

    /// <inheritdoc/>
    public HttpContext CreateContext(IFeatureCollection contextFeatures) => new DefaultHttpContext(contextFeatures);

    /// <inheritdoc/>
    public void DisposeContext(HttpContext context, Exception? exception)
    {
    }

    /// <inheritdoc/>
    public Task ProcessRequestAsync(HttpContext context)
    {
        var path = context.Request.Path.Value ?? string.Empty;
        return path switch
        {
            "/healthz" => OnlyAsync("GET", context, () => AnswerAsync(context, 200, status.Current)),
            "/v1/agent/state" => OnlyAsync("GET", context, () => StateAsync(context)),
            "/v1/logs" => OnlyAsync("GET", context, () => logs.ListAsync(context)),
            "/v1/logs/stream" => OnlyAsync("GET", context, () => logs.StreamAsync(context)),
            "/v1/agent/datagrams" => OnlyAsync("POST", context, () => DatagramRoute.HandleAsync(context)),
            "/v1/agent/clock" => OnlyAsync("POST", context, () => clock.HandleAsync(context)),
            "/v1/agent/shutdown" => OnlyAsync("POST", context, () => ShutDownAsync(context, PowerAction.Off)),
            "/v1/agent/reboot" => OnlyAsync("POST", context, () => ShutDownAsync(context, PowerAction.Restart)),
            _ when path.StartsWith(OwnPrefix, StringComparison.Ordinal) =>
                Problems.WriteAsync(context, 404, ErrorCodes.NotFound, $"The agent has no route {path}; it may be older than the caller."),
            _ when workload is null =>
                Problems.WriteAsync(context, 503, ErrorCodes.Unavailable, $"There is no workload. {status.Current.Workload.Message}".TrimEnd()),
            _ => workload.HandleAsync(context),
        };
    }

    private static Task OnlyAsync(string method, HttpContext context, Func<Task> handle)
    {
        if (context.Request.Method == method || (method == "GET" && context.Request.Method == "HEAD"))
        {
            return handle();
        }

        context.Response.Headers.Allow = method;
        return Problems.WriteAsync(context, 405, ErrorCodes.InvalidRequest, $"{context.Request.Path} takes {method}, not {context.Request.Method}.");
    }

    private static async Task AnswerAsync(HttpContext context, int code, AgentState state)
    {
        var body = JsonSerializer.SerializeToUtf8Bytes(state, ContractsJson.Default.AgentState);
        context.Response.StatusCode = code;
        context.Response.ContentType = "application/json";
        context.Response.ContentLength = body.Length;
        if (context.Request.Method != "HEAD")
        {
            await context.Response.Body.WriteAsync(body, context.RequestAborted);
        }
    }

    private async Task StateAsync(HttpContext context)
    {
        if (!TryNumber(context, "since", out var since) || !TryNumber(context, "timeout_ms", out var timeout))
        {
            await Problems.WriteAsync(context, 400, ErrorCodes.InvalidRequest, "'since' and 'timeout_ms' must be whole numbers of at least 0.");
            return;
        }

        var limit = TimeSpan.FromMilliseconds(Math.Min(timeout, (long)LongestPoll.TotalMilliseconds));
        try
        {
            await AnswerAsync(context, 200, await status.WaitAsync(since, limit, context.RequestAborted));
        }
        catch (OperationCanceledException)
        {
            // The caller left.
        }
    }

    private async Task ShutDownAsync(HttpContext context, PowerAction action)
    {
        await AnswerAsync(context, 202, status.Current);
        await context.Response.CompleteAsync();
        shutDown(action, "the host asked for it");
    }

    private static bool TryNumber(HttpContext context, string name, out long number)
    {
        number = 0;
        return context.Request.Query[name] switch
        {
            [] => true,
            [var text] => long.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out number),
            _ => false,
        };
    }
}
