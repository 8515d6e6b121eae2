using Microsoft.AspNetCore.Http.Timeouts;
using Volant.Contracts.Api;
using Volant.Contracts.Manifests;
using Volant.Daemon.Orchestration;
using Volant.Daemon.Plugins;
using Volant.Daemon.Store;

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

    private static Task RunInVmAsync(HttpContext context, string name, string plugin, string action, VolantStore store, PluginRegistry registry, GuestForwarder forwarder)
    {
        var vm = store.FindVm(name) is { Deleting: false } found ? found : throw VmOwners.NotFound(name);
        var manifest = registry.GetEnabled(plugin);
        if (!string.Equals(manifest.Runtime, vm.Vm.Runtime, StringComparison.Ordinal))
        {
            throw new VolantException(
                ErrorCodes.RuntimeMismatch, $"VM '{name}' has the runtime '{vm.Vm.Runtime}'; the actions of plugin '{plugin}' are for '{manifest.Runtime}'. Use a VM of that plugin.");
        }

        // A VM may have a manifest of its own in place of its plugin's.
        var own = store.GetConfig(vm.Id).Manifest is { } replaced && vm.Vm.Plugin == plugin ? ManifestRules.Normalise(replaced) : manifest;
        return forwarder.ForwardAsync(context, name, Resolve(own, plugin, action));
    }

    private static Task RunInAnyAsync(HttpContext context, string plugin, string action, VolantStore store, PluginRegistry registry, GuestForwarder forwarder)
    {
        var target = Resolve(registry.GetEnabled(plugin), plugin, action);
        var ready = store.FindAnyReady(plugin)
            ?? throw new VolantException(ErrorCodes.NoReadyVm, $"No VM of plugin '{plugin}' is ready; create one with 'volar vms create NAME --plugin {plugin} --wait'.");
        return forwarder.ForwardAsync(context, ready, target);
    }

    private static GuestTarget Resolve(PluginManifest manifest, string plugin, string action)
    {
        if (manifest.Actions?.GetValueOrDefault(action) is not { } found)
        {
            var known = manifest.Actions is { Count: > 0 } actions ? string.Join(", ", actions.Keys.Order(StringComparer.Ordinal)) : "none";
            throw new VolantException(ErrorCodes.ActionNotFound, $"Plugin '{plugin}' has no action '{action}'; it has: {known}.");
        }

        return new GuestTarget(found.Path!, HttpMethod.Parse(found.Method), found.TimeoutMs is { } limit ? TimeSpan.FromMilliseconds(limit) : null);
    }
}
