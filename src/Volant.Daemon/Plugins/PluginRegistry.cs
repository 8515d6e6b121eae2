using System.Collections.Concurrent;
using Volant.Contracts.Api;
using Volant.Contracts.Manifests;
using Volant.Daemon.Store;

namespace Volant.Daemon.Plugins;

/// <summary>The installed manifests by name, in memory, written through to the store.</summary>
internal sealed class PluginRegistry(VolantStore store)
{
    private readonly ConcurrentDictionary<string, PluginManifest> _plugins =
        new(store.ListManifests().Select(manifest => KeyValuePair.Create(manifest.Name!, manifest)), StringComparer.Ordinal);

    /// <summary>Names of the installed plugins, sorted.</summary>
    public IReadOnlyList<string> Names => [.. _plugins.Keys.Order(StringComparer.Ordinal)];

    /// <summary>The manifest of a plugin.</summary>
    /// <exception cref="VolantException"><c>plugin_not_found</c>.</exception>
    public PluginManifest Get(string name) => _plugins.GetValueOrDefault(name) ?? throw NotFound(name);

    /// <summary>The manifest of a plugin that may be used.</summary>
    /// <exception cref="VolantException"><c>plugin_not_found</c> or <c>plugin_disabled</c>.</exception>
    public PluginManifest GetEnabled(string name) => Get(name) is { Enabled: not false } manifest
        ? manifest
        : throw new VolantException(ErrorCodes.PluginDisabled, $"Plugin '{name}' is disabled; enable it first.");

    /// <summary>Installs a checked manifest or replaces the one of that name; true when it is new.</summary>
    public async Task<bool> InstallAsync(PluginManifest manifest, CancellationToken cancellationToken)
    {
        var isNew = await store.PutPluginAsync(manifest, cancellationToken);
        _plugins[manifest.Name!] = manifest;
        return isNew;
    }

    /// <summary>Turns a plugin on or off and returns its manifest.</summary>
    /// <exception cref="VolantException"><c>plugin_not_found</c>.</exception>
    public async Task<PluginManifest> SetEnabledAsync(string name, bool enabled, CancellationToken cancellationToken)
    {
        var manifest = Get(name) with { Enabled = enabled };
        if (!await store.SetPluginEnabledAsync(name, enabled, cancellationToken))
        {
            throw NotFound(name);
        }

        _plugins[name] = manifest;
        return manifest;
    }

    /// <summary>Removes a plugin.</summary>
    /// <exception cref="VolantException"><c>plugin_not_found</c> or <c>plugin_in_use</c>.</exception>
    public async Task RemoveAsync(string name, CancellationToken cancellationToken)
    {
        if (!await store.DeletePluginAsync(name, cancellationToken))
        {
            throw NotFound(name);
        }

        _plugins.TryRemove(name, out _);
    }

    private static VolantException NotFound(string name) => new(ErrorCodes.PluginNotFound, $"Plugin '{name}' is not installed.");
}
