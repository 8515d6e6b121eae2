using System.Text.Json;
using Microsoft.Data.Sqlite;
using Volant.Contracts;
using Volant.Contracts.Api;

namespace Volant.Daemon.Store;

/// <summary>A deployment as the store knows it.</summary>
/// <param name="Id">Number, never used again.</param>
/// <param name="Deployment">What the API shows; counted at the time of reading.</param>
/// <param name="Deleting">A delete was asked for and is not finished.</param>
/// <param name="GoodRevision">The revision that was healthy last; null when none was.</param>
/// <param name="Version">Rises with every change that a user makes; its ETag.</param>
internal sealed record DeploymentRecord(long Id, Deployment Deployment, bool Deleting, int? GoodRevision, int Version)
{
    /// <summary>Name of the deployment.</summary>
    public string Name => Deployment.Name;
}

/// <summary>Which deployment a VM belongs to.</summary>
/// <param name="Id">Number of the deployment.</param>
/// <param name="Deployment">Its name.</param>
/// <param name="Revision">Revision of the configuration that the VM was made from.</param>
internal sealed record ReplicaOf(long Id, string Deployment, int Revision);

/// <content>Deployments.</content>
internal sealed partial class VolantStore
{
    private const string SelectDeployment =
        """
        SELECT d.*,
               (SELECT count(*) FROM vms v WHERE v.deployment_id = d.id AND v.ready = 1 AND v.status = 'running' AND v.deleting = 0) AS ready_count,
               (SELECT count(*) FROM vms v WHERE v.deployment_id = d.id AND v.deployment_revision = d.revision AND v.deleting = 0) AS updated_count,
               (SELECT count(*) FROM vms v WHERE v.deployment_id = d.id) AS total_count
        FROM deployments d
        """;

    /// <summary>Deployments by name, and how many there are in all.</summary>
    public (IReadOnlyList<DeploymentRecord> Deployments, long Total) ListDeployments(int limit, int offset) => database.Read(c => (
        c.Query(ReadDeployment, $"{SelectDeployment} ORDER BY d.name LIMIT $limit OFFSET $offset", ("$limit", limit), ("$offset", offset)),
        (long)c.Scalar("SELECT count(*) FROM deployments")!));

    /// <summary>One deployment; null when there is none of that name.</summary>
    public DeploymentRecord? FindDeployment(string name) => database.Read(c => FindDeployment(c, name));

    /// <summary>VMs of a deployment, with the revision that each was made from.</summary>
    public IReadOnlyList<(VmRecord Vm, int Revision)> ListReplicas(long id) => database.Read(
        c => c.Query(row => (ReadVm(row), row.Int("deployment_revision")!.Value), $"SELECT {VmColumns}, deployment_revision FROM vms WHERE deployment_id = $id", ("$id", id)));

    /// <summary>Records a deployment with the ports of the host that it publishes.</summary>
    /// <exception cref="VolantException"><c>deployment_exists</c> or <c>port_in_use</c>.</exception>
    public Task<DeploymentRecord> InsertDeploymentAsync(
        string name, int replicas, VmConfig config, RolloutStrategy strategy, IReadOnlyList<PortLease> ports, CancellationToken cancellationToken) => database.WriteAsync(
        c =>
        {
            if (c.Scalar("SELECT 1 FROM deployments WHERE name = $name", ("$name", name)) is not null)
            {
                throw new VolantException(ErrorCodes.DeploymentExists, $"A deployment named '{name}' already exists; choose another name or delete it first.");
            }

            c.Execute(
                """
                INSERT INTO deployments (name, replicas, revision, last_revision, config, strategy, created_at, updated_at)
                VALUES ($name, $replicas, 1, 1, $config, $strategy, $now, $now)
                """,
                ("$name", name), ("$replicas", replicas), ("$config", ToJson(config)), ("$strategy", ToJson(strategy)), ("$now", Now));
            var created = FindDeployment(c, name)!;
            AddPorts(c, created.Id, ports);
            return created;
        },
        cancellationToken);

    /// <summary>Changes what a user wants of a deployment; another configuration gets the next revision.</summary>
    /// <exception cref="VolantException"><c>deployment_not_found</c>, <c>version_conflict</c> or <c>port_in_use</c>.</exception>
    public Task<DeploymentRecord> ChangeDeploymentAsync(
        string name, Func<int, bool> expected, int? replicas, VmConfig? config, RolloutStrategy? strategy, IReadOnlyList<PortLease> ports, CancellationToken cancellationToken) => database.WriteAsync(
        c =>
        {
            var current = FindDeployment(c, name) is { Deleting: false } found ? found : throw NoDeployment(name);
            if (!expected(current.Version))
            {
                throw new VolantException(ErrorCodes.VersionConflict, $"Deployment '{name}' has version {current.Version} by now; read it again and repeat the change.");
            }

            var next = config is null || ToJson(config) == ToJson(current.Deployment.Config) ? null : ToJson(config);
            c.Execute(
                """
                UPDATE deployments SET replicas = ifnull($replicas, replicas), strategy = ifnull($strategy, strategy), message = NULL, version = version + 1, updated_at = $now,
                       config = ifnull($config, config),
                       last_revision = CASE WHEN $config IS NULL THEN last_revision ELSE last_revision + 1 END,
                       revision = CASE WHEN $config IS NULL THEN revision ELSE last_revision + 1 END
                WHERE id = $id
                """,
                ("$id", current.Id), ("$replicas", replicas), ("$strategy", strategy is null ? null : ToJson(strategy)), ("$config", next), ("$now", Now));
            AddPorts(c, current.Id, ports);
            return FindDeployment(c, name)!;
        },
        cancellationToken);

    /// <summary>Says what keeps a deployment from being healthy; null for nothing.</summary>
    public Task SetDeploymentMessageAsync(long id, string? message, CancellationToken cancellationToken) => database.WriteAsync(
        c => c.Execute("UPDATE deployments SET message = $message, updated_at = $now WHERE id = $id AND message IS NOT $message", ("$id", id), ("$message", message), ("$now", Now)),
        cancellationToken);

    /// <summary>Remembers that a revision was healthy: where a later one is rolled back to. Ports of earlier ones are given back.</summary>
    public Task SetGoodRevisionAsync(long id, int revision, CancellationToken cancellationToken) => database.WriteAsync(
        c =>
        {
            var changed = c.Execute("UPDATE deployments SET good_revision = revision, good_config = config WHERE id = $id AND revision = $revision", ("$id", id), ("$revision", revision));
            if (changed > 0)
            {
                PrunePorts(c, id);
            }

            return changed;
        },
        cancellationToken);

    /// <summary>Returns to the revision that was healthy last, unless a user changed the deployment meanwhile; its ports it still has.</summary>
    public Task<bool> RollBackAsync(long id, int from, string message, CancellationToken cancellationToken) => database.WriteAsync(
        c =>
        {
            var changed = c.Execute(
                """
                UPDATE deployments SET revision = good_revision, config = good_config, message = $message, version = version + 1, updated_at = $now
                WHERE id = $id AND revision = $from AND good_revision IS NOT NULL AND good_revision <> revision
                """,
                ("$id", id), ("$from", from), ("$message", message), ("$now", Now));
            if (changed > 0)
            {
                PrunePorts(c, id);
            }

            return changed > 0;
        },
        cancellationToken);

    /// <summary>Says that a deployment is to be deleted with its VMs.</summary>
    /// <exception cref="VolantException"><c>deployment_not_found</c>.</exception>
    public Task<DeploymentRecord> BeginDeleteDeploymentAsync(string name, CancellationToken cancellationToken) => database.WriteAsync(
        c =>
        {
            var current = FindDeployment(c, name) ?? throw NoDeployment(name);
            c.Execute("UPDATE deployments SET deleting = 1, replicas = 0, message = NULL, version = version + 1, updated_at = $now WHERE id = $id", ("$id", current.Id), ("$now", Now));
            return current;
        },
        cancellationToken);

    /// <summary>Forgets a deployment that has no VMs any more; false while it has some.</summary>
    public Task<bool> DeleteDeploymentAsync(long id, CancellationToken cancellationToken) => database.WriteAsync(
        c => c.Execute("DELETE FROM deployments WHERE id = $id AND deleting = 1 AND NOT EXISTS (SELECT 1 FROM vms WHERE deployment_id = $id)", ("$id", id)) > 0,
        cancellationToken);

    /// <summary>The failure of every look-up.</summary>
    public static VolantException NoDeployment(string name) => new(ErrorCodes.DeploymentNotFound, $"There is no deployment named '{name}'.");

    private static DeploymentRecord? FindDeployment(SqliteConnection c, string name) => c.Query(ReadDeployment, $"{SelectDeployment} WHERE d.name = $name", ("$name", name)) is [var found] ? found : null;

    private static string ToJson(VmConfig config) => JsonSerializer.Serialize(config, ContractsJson.Default.VmConfig);

    private static string ToJson(RolloutStrategy strategy) => JsonSerializer.Serialize(strategy, ContractsJson.Default.RolloutStrategy);

    private static DeploymentRecord ReadDeployment(SqliteDataReader row)
    {
        var desired = row.Int("replicas")!.Value;
        var ready = row.Int("ready_count")!.Value;
        var updated = row.Int("updated_count")!.Value;
        var deleting = row.Number("deleting") == 1;
        var message = row.Text("message");
        var whole = !deleting && row.Int("good_revision") == row.Int("revision") && ready == desired && updated == desired && row.Int("total_count") == desired;
        var deployment = new Deployment
        {
            Name = row.Text("name")!,
            DesiredReplicas = desired,
            ReadyReplicas = ready,
            UpdatedReplicas = updated,
            Status = message is not null ? DeploymentStatuses.Degraded : whole ? DeploymentStatuses.Healthy : DeploymentStatuses.Progressing,
            Message = message,
            Revision = row.Int("revision")!.Value,
            Config = JsonSerializer.Deserialize(row.Text("config")!, ContractsJson.Default.VmConfig)!,
            Strategy = JsonSerializer.Deserialize(row.Text("strategy")!, ContractsJson.Default.RolloutStrategy)!,
            CreatedAt = row.Time("created_at")!.Value,
            UpdatedAt = row.Time("updated_at")!.Value,
        };
        return new DeploymentRecord(row.Number("id")!.Value, deployment, deleting, row.Int("good_revision"), row.Int("version")!.Value);
    }
}
