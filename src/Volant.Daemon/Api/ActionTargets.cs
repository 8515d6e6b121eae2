using Volant.Contracts.Api;
using Volant.Contracts.Manifests;
using Volant.Daemon.Plugins;
using Volant.Daemon.Store;

namespace Volant.Daemon.Api;

/// <summary>Finds what a manifest's action means: a VM, and the request to its workload that the action stands for.</summary>
internal sealed class ActionTargets(VolantStore store, PluginRegistry registry)
{
    /// <summary>An action in one VM.</summary>
    /// <exception cref="VolantException"><c>vm_not_found</c>, <c>plugin_not_found</c>, <c>plugin_disabled</c>, <c>runtime_mismatch</c> or <c>action_not_found</c>.</exception>
    public GuestTarget InVm(string name, string plugin, string action)
    {
        var vm = store.GetVm(name);
        var manifest = registry.GetEnabled(plugin);
        if (!string.Equals(manifest.Runtime, vm.Vm.Runtime, StringComparison.Ordinal))
        {
            throw new VolantException(
                ErrorCodes.RuntimeMismatch, $"VM '{name}' has the runtime '{vm.Vm.Runtime}'; the actions of plugin '{plugin}' are for '{manifest.Runtime}'. Use a VM of that plugin.");
        }

        // A VM may have a manifest of its own in place of its plugin's.
        var own = store.GetConfig(vm.Id).Manifest is { } replaced && vm.Vm.Plugin == plugin ? ManifestRules.Normalise(replaced) : manifest;
        return Resolve(own, plugin, action);
    }

    /// <summary>An action in one of the plugin's ready VMs, chosen at random.</summary>
    /// <exception cref="VolantException"><c>plugin_not_found</c>, <c>plugin_disabled</c>, <c>action_not_found</c> or <c>no_ready_vm</c>.</exception>
    public (string Vm, GuestTarget Target) InAny(string plugin, string action)
    {
        var target = Resolve(registry.GetEnabled(plugin), plugin, action);
        var ready = store.FindAnyReady(plugin)
            ?? throw new VolantException(ErrorCodes.NoReadyVm, $"No VM of plugin '{plugin}' is ready; create one with 'volar vms create NAME --plugin {plugin} --wait'.");
        return (ready, target);
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
