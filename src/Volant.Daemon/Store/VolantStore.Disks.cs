using Microsoft.Data.Sqlite;

namespace Volant.Daemon.Store;

/// <summary>A disk of a VM that comes from an image of the artifact cache.</summary>
/// <param name="Name">Its name in the VM, and its serial number in the guest.</param>
/// <param name="Sha256">The image.</param>
/// <param name="Format">Format of the image: "raw" or "qcow2".</param>
/// <param name="ReadOnly">Whether it is the image itself; otherwise it is an overlay on it.</param>
/// <param name="IsMade">Whether the overlay is complete. From then on it is never made again: a guest may have written to it.</param>
internal sealed record DiskRecord(string Name, string Sha256, string Format, bool ReadOnly, bool IsMade = false);

/// <content>Disks of VMs.</content>
internal sealed partial class VolantStore
{
    /// <summary>Disks of a VM, those that its configuration does not name any more included.</summary>
    public IReadOnlyList<DiskRecord> ListDisks(long vmId) => database.Read(c => c.Query(
        row => new DiskRecord(row.GetString(0), row.GetString(1), row.GetString(2), row.GetInt64(3) == 1, row.GetInt64(4) == 1),
        "SELECT name, sha256, format, read_only, made FROM vm_disks WHERE vm_id = $id ORDER BY name", ("$id", vmId)));

    /// <summary>Says that overlays of a VM are complete.</summary>
    public Task SetDisksMadeAsync(long vmId, IReadOnlyList<string> names, CancellationToken cancellationToken) => database.WriteAsync(
        c => names.Sum(name => c.Execute("UPDATE vm_disks SET made = 1 WHERE vm_id = $id AND name = $name", ("$id", vmId), ("$name", name))), cancellationToken);

    /// <summary>Records the disks of a start. Overlays that are there stay what they are.</summary>
    private static void RecordDisks(SqliteConnection c, long vmId, IReadOnlyList<DiskRecord> disks)
    {
        c.Execute("DELETE FROM vm_disks WHERE vm_id = $id AND read_only = 1", ("$id", vmId));
        foreach (var disk in disks)
        {
            c.Execute(
                "INSERT INTO vm_disks (vm_id, name, sha256, format, read_only) VALUES ($id, $name, $sha256, $format, $ro) ON CONFLICT (vm_id, name) DO NOTHING",
                ("$id", vmId), ("$name", disk.Name), ("$sha256", disk.Sha256), ("$format", disk.Format), ("$ro", disk.ReadOnly ? 1 : 0));
        }
    }
}
