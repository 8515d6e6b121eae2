using System.Text.Json;
using Microsoft.Data.Sqlite;
using Volant.Contracts;
using Volant.Contracts.Api;

namespace Volant.Daemon.Store;

/// <content>Configurations of VMs, every version.</content>
internal sealed partial class VolantStore
{
    /// <summary>Versions of one VM that are kept; the oldest are forgotten.</summary>
    public const int ConfigCapacity = 1000;

    /// <summary>Current configuration of a VM.</summary>
    public VmConfig GetConfig(long id) => GetConfigVersion(id).Config;

    /// <summary>Current configuration of a VM with its version.</summary>
    /// <exception cref="VolantException"><c>vm_not_found</c>.</exception>
    public VmConfigVersion GetConfigVersion(long id) => database.Read(c => FindConfig(c, id)) is { } found ? found with { Id = null } : throw Gone(id);

    /// <summary>Versions of a VM's configuration, newest first.</summary>
    public IReadOnlyList<VmConfigVersion> ListConfigs(long id, int limit) => database.Read(c => ListConfigs(c, id, limit));

    /// <summary>Writes the next version of a VM's configuration.</summary>
    /// <param name="id">Number of the VM.</param>
    /// <param name="expected">Whether the version that is current may be replaced; answers false to refuse.</param>
    /// <param name="change">Makes the next configuration out of the current one. Runs inside the transaction: pure and quick.</param>
    /// <param name="cancellationToken">Stops it before it begins.</param>
    /// <exception cref="VolantException"><c>version_conflict</c>, <c>vm_not_found</c>, or what <paramref name="change"/> throws; nothing is written.</exception>
    public Task<VmConfigVersion> ChangeConfigAsync(long id, Func<int, bool> expected, Func<VmConfig, VmConfig> change, CancellationToken cancellationToken) => database.WriteAsync(
        c =>
        {
            var current = FindConfig(c, id) ?? throw Gone(id);
            if (!expected(current.Version))
            {
                throw new VolantException(ErrorCodes.VersionConflict, $"The configuration has version {current.Version} by now; read it again and repeat the change.");
            }

            InsertConfig(c, id, current.Version + 1, change(current.Config));
            c.Execute(
                "UPDATE vms SET config_version = $version, updated_at = $now, revision = revision + 1 WHERE id = $id", ("$id", id), ("$version", current.Version + 1), ("$now", Now));
            c.Execute("DELETE FROM vm_configs WHERE vm_id = $id AND version <= $oldest", ("$id", id), ("$oldest", current.Version + 1 - ConfigCapacity));
            return FindConfig(c, id)! with { Id = null };
        },
        cancellationToken);

    private static VmConfigVersion? FindConfig(SqliteConnection c, long id) => ListConfigs(c, id, 1) is [var newest] ? newest : null;

    private static IReadOnlyList<VmConfigVersion> ListConfigs(SqliteConnection c, long id, int limit) => c.Query(
        row => new VmConfigVersion
        {
            Id = row.GetInt64(0),
            Version = row.GetInt32(1),
            UpdatedAt = DateTimeOffset.FromUnixTimeMilliseconds(row.GetInt64(2)),
            Config = JsonSerializer.Deserialize(row.GetString(3), ContractsJson.Default.VmConfig)!,
        },
        "SELECT id, version, updated_at, config FROM vm_configs WHERE vm_id = $id ORDER BY version DESC LIMIT $limit",
        ("$id", id), ("$limit", limit));

    private void InsertConfig(SqliteConnection c, long id, int version, VmConfig config) => c.Execute(
        "INSERT INTO vm_configs (vm_id, version, config, updated_at) VALUES ($id, $version, $config, $now)",
        ("$id", id), ("$version", version), ("$config", JsonSerializer.Serialize(config, ContractsJson.Default.VmConfig)), ("$now", Now));
}
