using System.Globalization;
using Microsoft.AspNetCore.Http.HttpResults;
using Microsoft.AspNetCore.Http.Timeouts;
using Microsoft.Extensions.Primitives;
using Volant.Contracts.Api;
using Volant.Daemon.Orchestration;
using Volant.Daemon.Store;

namespace Volant.Daemon.Api;

/// <summary><c>/api/v1/vms</c>.</summary>
internal static class VmEndpoints
{
    /// <summary>Longest time that a caller may wait or let a guest have.</summary>
    public const int MaxTimeoutSeconds = 3600;

    private const int MaxLimit = 10_000;

    public static void MapVms(this IEndpointRouteBuilder routes)
    {
        var vms = routes.MapGroup("/api/v1/vms").WithTags("vms");
        vms.MapGet("/", List).WithName("listVMs").WithSummary("List VMs").ProducesProblem(400);
        vms.MapPost("/", CreateAsync).WithName("createVM").RequireRateLimiting(RateLimits.Expensive).WithMetadata(new DisableRequestTimeoutAttribute()).WithSummary("Create and start a VM")
            .ProducesProblem(400).ProducesProblem(404).ProducesProblem(409).ProducesProblem(422).ProducesProblem(503);
        vms.MapGet("/{name}", Get).WithName("getVM").WithSummary("Get one VM").ProducesProblem(404);
        vms.MapDelete("/{name}", DeleteAsync).WithName("destroyVM").RequireRateLimiting(RateLimits.Expensive).WithMetadata(new DisableRequestTimeoutAttribute()).WithSummary("Stop a VM and delete everything it owned").ProducesProblem(404).ProducesProblem(412);
        vms.MapPost("/{name}/start", StartAsync).WithName("startVM").RequireRateLimiting(RateLimits.Expensive).WithMetadata(new DisableRequestTimeoutAttribute()).WithSummary("Start a VM").ProducesProblem(404).ProducesProblem(409).ProducesProblem(412);
        vms.MapPost("/{name}/stop", StopAsync).WithName("stopVM").RequireRateLimiting(RateLimits.Expensive).WithMetadata(new DisableRequestTimeoutAttribute()).WithSummary("Stop a VM").ProducesProblem(404).ProducesProblem(409).ProducesProblem(412);
        vms.MapPost("/{name}/restart", RestartAsync).WithName("restartVM").RequireRateLimiting(RateLimits.Expensive).WithMetadata(new DisableRequestTimeoutAttribute()).WithSummary("Stop and start a VM").ProducesProblem(404).ProducesProblem(409).ProducesProblem(412);
    }

    private static Ok<IReadOnlyList<Vm>> List(
        HttpContext context, VolantStore store, string? runtime, string? plugin, string? q, string? limit, string? offset, string? sort, string? order)
    {
        var query = new QueryFaults();
        var filter = new VmFilter
        {
            Statuses = ParseStatuses(context.Request.Query["status"], query),
            Runtime = runtime,
            Plugin = plugin,
            Contains = string.IsNullOrEmpty(q) ? null : q,
            Limit = query.Number("limit", limit, 1000, 1, MaxLimit),
            Offset = query.Number("offset", offset, 0, 0, int.MaxValue),
            Sort = query.Choice("sort", sort, VmFilter.SortColumns),
            Descending = query.Choice("order", order, ["asc", "desc"]) == "desc",
        };
        query.Reject();
        var (vms, total) = store.ListVms(filter);
        context.Response.Headers["X-Total-Count"] = total.ToString(CultureInfo.InvariantCulture);
        return TypedResults.Ok(vms);
    }

    private static async Task<Created<Vm>> CreateAsync(
        HttpContext context, CreateVmRequest request, VmOrchestrator orchestrator, TimeProvider clock, string? wait, string? timeout, CancellationToken cancellationToken)
    {
        var accepted = clock.GetTimestamp();
        var patience = ParseWait(wait, timeout);
        var spawned = accepted;
        var vm = await orchestrator.CreateAsync(request, cancellationToken, () => spawned = clock.GetTimestamp());

        // W3C Server-Timing: how long the control plane needed until the hypervisor's process existed, and until it answered.
        context.Response.Headers["Server-Timing"] = string.Create(
            CultureInfo.InvariantCulture,
            $"spawn;dur={clock.GetElapsedTime(accepted, spawned).TotalMilliseconds:0.0}, launch;dur={clock.GetElapsedTime(accepted).TotalMilliseconds:0.0}");
        return TypedResults.Created($"/api/v1/vms/{vm.Name}", patience is { } limit ? await orchestrator.WaitReadyAsync(vm.Name, limit, cancellationToken) : vm);
    }

    private static Ok<Vm> Get(HttpContext context, string name, VolantStore store)
    {
        var vm = store.GetVm(name);
        context.Response.Headers.ETag = ETags.Of(vm);
        return TypedResults.Ok(vm.Vm);
    }

    private static async Task<NoContent> DeleteAsync(HttpContext context, string name, VmOrchestrator orchestrator, CancellationToken cancellationToken)
    {
        await orchestrator.DeleteAsync(name, cancellationToken, ETags.Precondition(context.Request));
        return TypedResults.NoContent();
    }

    private static async Task<Ok<Vm>> StartAsync(HttpContext context, string name, VmOrchestrator orchestrator, string? wait, string? timeout, CancellationToken cancellationToken)
    {
        var patience = ParseWait(wait, timeout);
        var vm = await orchestrator.StartAsync(name, cancellationToken, ETags.Precondition(context.Request));
        return TypedResults.Ok(patience is { } limit ? await orchestrator.WaitReadyAsync(name, limit, cancellationToken) : vm);
    }

    private static async Task<Ok<Vm>> StopAsync(HttpContext context, string name, VmOrchestrator orchestrator, string? grace_seconds, CancellationToken cancellationToken) =>
        TypedResults.Ok(await orchestrator.StopAsync(name, ParseGrace(grace_seconds), cancellationToken, Caller.Describe(context), ETags.Precondition(context.Request)));

    private static async Task<Ok<Vm>> RestartAsync(
        HttpContext context, string name, VmOrchestrator orchestrator, string? grace_seconds, string? wait, string? timeout, CancellationToken cancellationToken)
    {
        var patience = ParseWait(wait, timeout);
        var vm = await orchestrator.RestartAsync(name, ParseGrace(grace_seconds), cancellationToken, Caller.Describe(context), ETags.Precondition(context.Request));
        return TypedResults.Ok(patience is { } limit ? await orchestrator.WaitReadyAsync(name, limit, cancellationToken) : vm);
    }

    private static TimeSpan? ParseWait(string? wait, string? timeout)
    {
        var query = new QueryFaults();
        var seconds = query.Number("timeout", timeout, 120, 1, MaxTimeoutSeconds);
        if (wait is not (null or "" or "ready"))
        {
            query.Add("wait", "must be 'ready'");
        }

        query.Reject();
        return wait == "ready" ? TimeSpan.FromSeconds(seconds) : null;
    }

    private static TimeSpan ParseGrace(string? text)
    {
        var query = new QueryFaults();
        var seconds = query.Number("grace_seconds", text, VmOrchestrator.DefaultGraceSeconds, 0, MaxTimeoutSeconds);
        query.Reject();
        return TimeSpan.FromSeconds(seconds);
    }

    private static VmStatus[] ParseStatuses(StringValues texts, QueryFaults query)
    {
        var statuses = new List<VmStatus>();
        foreach (var text in texts.SelectMany(text => (text ?? string.Empty).Split(',', StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries)))
        {
            if (VmStatusRules.FindStatus(text) is { } status)
            {
                statuses.Add(status);
            }
            else
            {
                query.Add("status", $"must be one of {string.Join(", ", Enum.GetValues<VmStatus>().Select(known => known.ToText()))}");
            }
        }

        return [.. statuses];
    }
}
