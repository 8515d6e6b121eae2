using System.Text.Json;
using Microsoft.Data.Sqlite;
using Volant.Contracts;
using Volant.Contracts.Api;
using Volant.Contracts.Manifests;

namespace Volant.Daemon.Store;

/// <summary>The daemon's only durable state. Every public method is one transaction.</summary>
internal sealed partial class VolantStore(Database database, TimeProvider clock, int eventCapacity = VolantStore.EventCapacity)
{
    private const int UniqueViolation = 2067;
    private const int PrimaryKeyViolation = 1555;
    private const int ForeignKeyViolation = 787;

    private long Now => clock.GetUtcNow().ToUnixTimeMilliseconds();

    /// <summary>Names of the installed plugins, sorted.</summary>
    public IReadOnlyList<string> ListPlugins() =>
        database.Read(c => c.Query(row => row.GetString(0), "SELECT name FROM plugins ORDER BY name"));

    /// <summary>Every installed manifest.</summary>
    public IReadOnlyList<PluginManifest> ListManifests() =>
        database.Read(c => c.Query(ReadManifest, "SELECT manifest, enabled FROM plugins ORDER BY name"));

    /// <summary>Records a plugin, or replaces the one of that name; true when it is new.</summary>
    public Task<bool> PutPluginAsync(PluginManifest manifest, CancellationToken cancellationToken) => database.WriteAsync(
        c =>
        {
            var existed = c.Scalar("SELECT 1 FROM plugins WHERE name = $name", ("$name", manifest.Name)) is not null;
            c.Execute(
                """
                INSERT INTO plugins (name, version, enabled, manifest, created_at, updated_at) VALUES ($name, $version, $enabled, $manifest, $now, $now)
                ON CONFLICT (name) DO UPDATE SET version = $version, enabled = $enabled, manifest = $manifest, updated_at = $now
                """,
                ("$name", manifest.Name), ("$version", manifest.Version), ("$enabled", manifest.Enabled == false ? 0 : 1),
                ("$manifest", JsonSerializer.Serialize(manifest, ContractsJson.Default.PluginManifest)), ("$now", Now));
            PutArtifacts(c, manifest);
            return !existed;
        },
        cancellationToken);

    /// <summary>Turns a plugin on or off; false when there is none of that name.</summary>
    public Task<bool> SetPluginEnabledAsync(string name, bool enabled, CancellationToken cancellationToken) => database.WriteAsync(
        c => c.Execute("UPDATE plugins SET enabled = $enabled, updated_at = $now WHERE name = $name", ("$name", name), ("$enabled", enabled ? 1 : 0), ("$now", Now)) > 0,
        cancellationToken);

    /// <summary>Forgets a plugin; false when there is none of that name.</summary>
    /// <exception cref="VolantException"><c>plugin_in_use</c>: VMs were made from it.</exception>
    public Task<bool> DeletePluginAsync(string name, CancellationToken cancellationToken) => database.WriteAsync(
        c =>
        {
            var users = c.Query(
                row => row.GetString(0),
                """
                SELECT name FROM vms WHERE plugin = $name
                UNION ALL SELECT 'deployment ' || name FROM deployments WHERE json_extract(config, '$.plugin') = $name ORDER BY 1 LIMIT 5
                """,
                ("$name", name));
            return users.Count == 0
                ? c.Execute("DELETE FROM plugins WHERE name = $name", ("$name", name)) > 0
                : throw new VolantException(ErrorCodes.PluginInUse, $"Plugin '{name}' is used by {string.Join(", ", users)}; delete those first.");
        },
        cancellationToken);

    /// <summary>Whether the database can be written.</summary>
    public async Task<bool> IsWritableAsync(CancellationToken cancellationToken)
    {
        try
        {
            return await database.WriteAsync(c => c.Scalar("SELECT 1") is not null, cancellationToken);
        }
        catch (Exception e) when (e is VolantException or SqliteException)
        {
            return false;
        }
    }

    private static PluginManifest ReadManifest(SqliteDataReader row) =>
        JsonSerializer.Deserialize(row.GetString(0), ContractsJson.Default.PluginManifest)! with { Enabled = row.GetInt64(1) != 0 };
}
