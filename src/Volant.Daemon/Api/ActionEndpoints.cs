using Microsoft.AspNetCore.Http.Timeouts;

namespace Volant.Daemon.Api;

/// <summary>Manifest actions: a name in place of a method and a path of the workload.</summary>
internal static class ActionEndpoints
{
    public static void MapActions(this IEndpointRouteBuilder routes)
    {
        routes.MapPost("/api/v1/vms/{name}/actions/{plugin}/{action}", RunInVmAsync).WithTags("actions").WithName("runVMAction").RequireRateLimiting(RateLimits.Expensive).WithMetadata(new DisableRequestTimeoutAttribute()).WithSummary("Run an action of a plugin in a VM")
            .WithDescription("The action's method, path and time limit are the manifest's. Body, query and answer are passed through, streaming included; the answer's status and type are the workload's.")
            .WithMetadata(new RequestLimit(null)).Produces(200).ProducesProblem(404).ProducesProblem(409).ProducesProblem(502).ProducesProblem(503).ProducesProblem(504);
        routes.MapPost("/api/v1/plugins/{plugin}/actions/{action}", RunInAnyAsync).WithTags("actions").WithName("runPluginAction").RequireRateLimiting(RateLimits.Expensive).WithMetadata(new DisableRequestTimeoutAttribute()).WithSummary("Run an action of a plugin in any ready VM")
            .WithDescription("Like the action of a VM, in one of the plugin's ready VMs, chosen at random.")
            .WithMetadata(new RequestLimit(null)).Produces(200).ProducesProblem(404).ProducesProblem(409).ProducesProblem(502).ProducesProblem(503).ProducesProblem(504);
    }

    private static Task RunInVmAsync(HttpContext context, string name, string plugin, string action, ActionTargets targets, GuestForwarder forwarder) =>
        forwarder.ForwardAsync(context, name, targets.InVm(name, plugin, action));

    private static Task RunInAnyAsync(HttpContext context, string plugin, string action, ActionTargets targets, GuestForwarder forwarder)
    {
        var (vm, target) = targets.InAny(plugin, action);
        return forwarder.ForwardAsync(context, vm, target);
    }
}
