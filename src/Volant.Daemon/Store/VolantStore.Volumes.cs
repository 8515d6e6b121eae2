using Microsoft.Data.Sqlite;
using Volant.Contracts.Api;

namespace Volant.Daemon.Store;

/// <summary>A volume that a start of a VM holds.</summary>
/// <param name="Name">Name of the volume.</param>
/// <param name="ReadOnly">Whether the VM only reads it.</param>
internal sealed record VolumeLease(string Name, bool ReadOnly);

/// <content>Volumes, and the runs that hold them.</content>
internal sealed partial class VolantStore
{
    /// <summary>VMs whose current configuration names a volume of that name.</summary>
    private const string AttachedTo =
        """
        SELECT vms.name FROM vms JOIN vm_configs c ON c.vm_id = vms.id AND c.version = vms.config_version, json_each(c.config, '$.volumes') item
        WHERE vms.deleting = 0 AND json_extract(item.value, '$.name') = $name
        """;

    /// <summary>Every volume, by name.</summary>
    public IReadOnlyList<Volume> ListVolumes() => database.Read(c => c.Query(row => ReadVolume(c, row), "SELECT id, name, uid, size_mb, created_at, updated_at FROM volumes WHERE state = 'ready' ORDER BY name"));

    /// <summary>One volume.</summary>
    /// <exception cref="VolantException"><c>volume_not_found</c>.</exception>
    public Volume GetVolume(string name) => database.Read(c => GetVolume(c, name));

    /// <summary>Files of volumes whose creation or deletion an earlier daemon did not finish.</summary>
    public IReadOnlyList<Guid> ListUnfinishedVolumes() => database.Read(c => c.Query(row => Guid.Parse(row.GetString(0)), "SELECT uid FROM volumes WHERE state <> 'ready'"));

    /// <summary>Records a volume whose file is about to be made.</summary>
    /// <exception cref="VolantException"><c>volume_exists</c>.</exception>
    public Task InsertVolumeAsync(string name, Guid uid, int sizeMib, CancellationToken cancellationToken) => database.WriteAsync(
        c => c.Scalar("SELECT 1 FROM volumes WHERE name = $name", ("$name", name)) is null
            ? c.Execute(
                "INSERT INTO volumes (name, uid, size_mb, state, created_at, updated_at) VALUES ($name, $uid, $size, 'creating', $now, $now)",
                ("$name", name), ("$uid", uid.Invariant()), ("$size", sizeMib), ("$now", Now))
            : throw new VolantException(ErrorCodes.VolumeExists, $"A volume named '{name}' already exists; choose another name."),
        cancellationToken);

    /// <summary>Says that the file of a volume is complete.</summary>
    public Task<Volume> SetVolumeReadyAsync(Guid uid, CancellationToken cancellationToken) => database.WriteAsync(
        c =>
        {
            c.Execute("UPDATE volumes SET state = 'ready' WHERE uid = $uid", ("$uid", uid.Invariant()));
            return GetVolume(c, (string)c.Scalar("SELECT name FROM volumes WHERE uid = $uid", ("$uid", uid.Invariant()))!);
        },
        cancellationToken);

    /// <summary>Records a size that is not smaller than the one before.</summary>
    /// <exception cref="VolantException"><c>volume_not_found</c>, <c>volume_in_use</c>: a VM that runs holds it; <c>unsupported</c>: smaller.</exception>
    public Task<Volume> ResizeVolumeAsync(string name, int sizeMib, CancellationToken cancellationToken) => database.WriteAsync(
        c =>
        {
            var volume = GetVolume(c, name);
            if (c.Scalar("SELECT vms.name FROM volume_leases l JOIN vms ON vms.id = l.vm_id WHERE l.volume_id = $id", ("$id", volume.Id)) is string holder)
            {
                throw new VolantException(ErrorCodes.VolumeInUse, $"Volume '{name}' is held by VM '{holder}', which runs; stop it first.");
            }

            if (sizeMib < volume.SizeMb)
            {
                throw new VolantException(ErrorCodes.Unsupported, $"Volume '{name}' has {volume.SizeMb} MiB and does not shrink, because what lies at its end would be lost; create a smaller one and copy.");
            }

            c.Execute("UPDATE volumes SET size_mb = $size, updated_at = $now WHERE id = $id", ("$id", volume.Id), ("$size", sizeMib), ("$now", Now));
            return GetVolume(c, name);
        },
        cancellationToken);

    /// <summary>Says that a volume is to be deleted; from now on nobody can have it.</summary>
    /// <exception cref="VolantException"><c>volume_not_found</c>, or <c>volume_in_use</c>: a VM or a deployment names it.</exception>
    public Task<Guid> BeginDeleteVolumeAsync(string name, CancellationToken cancellationToken) => database.WriteAsync(
        c =>
        {
            var volume = GetVolume(c, name);
            var holder = volume.AttachedTo is [var vm, ..] ? $"VM '{vm}'"
                : c.Scalar("SELECT vms.name FROM volume_leases l JOIN vms ON vms.id = l.vm_id WHERE l.volume_id = $id", ("$id", volume.Id)) is string running ? $"the run of VM '{running}'"
                : c.Scalar("SELECT d.name FROM deployments d, json_each(d.config, '$.volumes') item WHERE json_extract(item.value, '$.name') = $name", ("$name", name)) is string deployment ? $"deployment '{deployment}'"
                : null;
            if (holder is not null)
            {
                throw new VolantException(ErrorCodes.VolumeInUse, $"Volume '{name}' is attached to {holder}; remove it from 'volumes' there, or delete that first.");
            }

            c.Execute("UPDATE volumes SET state = 'deleting' WHERE id = $id", ("$id", volume.Id));
            return volume.Uid;
        },
        cancellationToken);

    /// <summary>Forgets a volume whose file is gone.</summary>
    public Task DeleteVolumeAsync(Guid uid, CancellationToken cancellationToken) => database.WriteAsync(
        c => c.Execute("DELETE FROM volumes WHERE uid = $uid", ("$uid", uid.Invariant())), cancellationToken);

    /// <summary>Forgets what volumes a VM holds; call it when its hypervisor is gone.</summary>
    public Task ReleaseVolumesAsync(long vmId, CancellationToken cancellationToken) => database.WriteAsync(
        c => c.Execute("DELETE FROM volume_leases WHERE vm_id = $id", ("$id", vmId)), cancellationToken);

    private static void LeaseVolumes(SqliteConnection c, long vmId, IReadOnlyList<VolumeLease> leases)
    {
        c.Execute("DELETE FROM volume_leases WHERE vm_id = $id", ("$id", vmId));
        foreach (var lease in leases)
        {
            var volume = GetVolume(c, lease.Name);
            if (c.Scalar(
                "SELECT vms.name FROM volume_leases l JOIN vms ON vms.id = l.vm_id WHERE l.volume_id = $volume AND (l.read_only = 0 OR $ro = 0)",
                ("$volume", volume.Id), ("$ro", lease.ReadOnly ? 1 : 0)) is string holder)
            {
                throw new VolantException(
                    ErrorCodes.VolumeInUse, $"Volume '{lease.Name}' is held by VM '{holder}', which runs: many VMs may read a volume, or one may write to it. Stop that VM, or attach the volume read-only to both.");
            }

            c.Execute("INSERT INTO volume_leases (volume_id, vm_id, read_only) VALUES ($volume, $vm, $ro)", ("$volume", volume.Id), ("$vm", vmId), ("$ro", lease.ReadOnly ? 1 : 0));
        }
    }

    private static Volume GetVolume(SqliteConnection c, string name) =>
        c.Query(row => ReadVolume(c, row), "SELECT id, name, uid, size_mb, created_at, updated_at FROM volumes WHERE name = $name AND state = 'ready'", ("$name", name)) is [var volume]
            ? volume
            : throw new VolantException(ErrorCodes.VolumeNotFound, $"There is no volume named '{name}'; see 'volar volumes list', or create it.");

    private static Volume ReadVolume(SqliteConnection c, SqliteDataReader row) => new()
    {
        Id = row.GetInt64(0),
        Name = row.GetString(1),
        Uid = Guid.Parse(row.GetString(2)),
        SizeMb = row.GetInt32(3),
        AttachedTo = c.Query(vm => vm.GetString(0), $"{AttachedTo} ORDER BY vms.name", ("$name", row.GetString(1))),
        CreatedAt = DateTimeOffset.FromUnixTimeMilliseconds(row.GetInt64(4)),
        UpdatedAt = DateTimeOffset.FromUnixTimeMilliseconds(row.GetInt64(5)),
    };
}
