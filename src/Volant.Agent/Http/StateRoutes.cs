using System.Globalization;
using Microsoft.AspNetCore.Http;
using Volant.Agent.Power;
using Volant.Agent.Workloads;
using Volant.Contracts;
using Volant.Contracts.Api;

namespace Volant.Agent.Http;

/// <summary><c>/healthz</c>, <c>/v1/agent/state</c>, <c>/v1/agent/shutdown</c> and <c>/v1/agent/reboot</c>.</summary>
/// <param name="status">What the first two tell.</param>
/// <param name="shutDown">Begins the orderly shutdown; must return at once.</param>
internal sealed class StateRoutes(AgentStatus status, Action<PowerAction, string> shutDown)
{
    /// <summary>Longest wait of /v1/agent/state.</summary>
    public static readonly TimeSpan LongestPoll = TimeSpan.FromSeconds(60);

    private const RouteTraits Control = RouteTraits.HostOnly | RouteTraits.Ungated;

    /// <summary>The routes.</summary>
    public IEnumerable<AgentRoute> Routes =>
    [
        new("GET", "/healthz", context => AnswerAsync(context, 200, status.Current)),
        new("GET", "/v1/agent/state", StateAsync, RouteTraits.Ungated),
        new("POST", "/v1/agent/shutdown", context => ShutDownAsync(context, PowerAction.Off), Control),
        new("POST", "/v1/agent/reboot", context => ShutDownAsync(context, PowerAction.Restart), Control),
    ];

    private static Task AnswerAsync(HttpContext context, int code, AgentState state) => Json.WriteAsync(context, code, state, ContractsJson.Default.AgentState);

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
