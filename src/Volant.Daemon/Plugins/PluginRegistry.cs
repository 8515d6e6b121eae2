using System.Collections.Concurrent;
using Volant.Contracts.Api;
using Volant.Contracts.Manifests;
using Volant.Daemon.Store;

namespace Volant.Daemon.Plugins;

/// <summary>The installed manifests by name, in memory, written through to the store.</summary>
/// <remarks>Changes happen one after another, so that memory and store never disagree about the last one. What a change allows or refuses holds from the moment that it returns.</remarks>
internal sealed class PluginRegistry(VolantStore store) : IDisposable
{
    private readonly SemaphoreSlim _changing = new(1, 1);
    private readonly ConcurrentDictionary<string, PluginManifest> _plugins =
        new(store.ListManifests().Select(manifest => KeyValuePair.Create(manifest.Name!, manifest)), StringComparer.Ordinal);

    /// <summary>Names of the installed plugins, sorted.</summary>
    public IReadOnlyList<string> Names => [.. _plugins.Keys.Order(StringComparer.Ordinal)];

    /// <summary>The installed manifests by name.</summary>
    public IReadOnlyList<PluginManifest> All => [.. _plugins.Values.OrderBy(manifest => manifest.Name, StringComparer.Ordinal)];

    /// <summary>The manifest of a plugin.</summary>
    /// <exception cref="VolantException"><c>plugin_not_found</c>.</exception>
    public PluginManifest Get(string name) => _plugins.GetValueOrDefault(name) ?? throw NotFound(name);

    /// <summary>The manifest of a plugin that may be used.</summary>
    /// <exception cref="VolantException"><c>plugin_not_found</c> or <c>plugin_disabled</c>.</exception>
    public PluginManifest GetEnabled(string name) => Get(name) is { Enabled: not false } manifest
        ? manifest
        : throw new VolantException(ErrorCodes.PluginDisabled, $"Plugin '{name}' is disabled; enable it first.");

    /// <summary>Installs a checked manifest or replaces the one of that name; true when it is new.</summary>
    public Task<bool> InstallAsync(PluginManifest manifest, CancellationToken cancellationToken) => ChangeAsync(
        async () =>
        {
            var isNew = await store.PutPluginAsync(manifest, CancellationToken.None);
            _plugins[manifest.Name!] = manifest;
            return isNew;
        },
        cancellationToken);

    /// <summary>Turns a plugin on or off and returns its manifest.</summary>
    /// <exception cref="VolantException"><c>plugin_not_found</c>.</exception>
    public Task<PluginManifest> SetEnabledAsync(string name, bool enabled, CancellationToken cancellationToken) => ChangeAsync(
        async () =>
        {
            var manifest = Get(name) with { Enabled = enabled };
            if (!await store.SetPluginEnabledAsync(name, enabled, CancellationToken.None))
            {
                throw NotFound(name);
            }

            return _plugins[name] = manifest;
        },
        cancellationToken);

    /// <summary>Removes a plugin.</summary>
    /// <exception cref="VolantException"><c>plugin_not_found</c> or <c>plugin_in_use</c>.</exception>
    public Task RemoveAsync(string name, CancellationToken cancellationToken) => ChangeAsync(
        async () =>
        {
            if (!await store.DeletePluginAsync(name, CancellationToken.None))
            {
                throw NotFound(name);
            }

            return _plugins.TryRemove(name, out _);
        },
        cancellationToken);

    /// <inheritdoc/>
    public void Dispose() => _changing.Dispose();

    private async Task<T> ChangeAsync<T>(Func<Task<T>> change, CancellationToken cancellationToken)
    {
        await _changing.WaitAsync(cancellationToken);
        try
        {
            return await change();
        }
        finally
        {
            _changing.Release();
        }
    }

    private static VolantException NotFound(string name) => new(ErrorCodes.PluginNotFound, $"Plugin '{name}' is not installed.");
}
