using Microsoft.Data.Sqlite;
using Volant.Contracts.Api;

namespace Volant.Daemon.Store;

/// <summary>A PCI device that is taken from the host.</summary>
/// <param name="Address">Its address.</param>
/// <param name="VmId">The VM that holds it; null for none.</param>
/// <param name="Pinned">A client asked for it, so it stays bound when no VM holds it.</param>
/// <param name="Changed">It may be bound to vfio-pci; <paramref name="Driver"/> and <paramref name="DriverOverride"/> are known.</param>
/// <param name="Driver">The driver that it had before; null for none.</param>
/// <param name="DriverOverride">The override that it had before; null for none.</param>
internal sealed record DeviceLease(string Address, long? VmId, bool Pinned, bool Changed, string? Driver, string? DriverOverride);

/// <content>Exclusive leases of PCI devices.</content>
internal sealed partial class VolantStore
{
    /// <summary>Every lease, by address.</summary>
    public IReadOnlyList<DeviceLease> ListDeviceLeases() => database.Read(c => c.Query(
        row => new DeviceLease(row.GetString(0), row.Number(1), row.GetInt64(2) == 1, row.GetInt64(3) == 1, row.Text(4), row.Text(5)),
        "SELECT pci_address, vm_id, pinned, changed, driver, driver_override FROM device_leases ORDER BY pci_address"));

    /// <summary>Name of the VM that holds each device that one holds, by address.</summary>
    public IReadOnlyDictionary<string, string> ListDeviceHolders() => database.Read(c => c.Query(
        row => (row.GetString(0), row.GetString(1)), "SELECT pci_address, name FROM device_leases JOIN vms ON vms.id = vm_id").ToDictionary(StringComparer.Ordinal));

    /// <summary>Takes devices from the host on request of a client; those that are taken already stay so.</summary>
    /// <exception cref="VolantException"><c>device_in_use</c>: a VM holds one; nothing is recorded.</exception>
    public Task PinDevicesAsync(IReadOnlyList<string> addresses, CancellationToken cancellationToken) => database.WriteAsync(
        c =>
        {
            RequireUnheld(c, addresses, id: null);
            return addresses.Sum(address => c.Execute(
                "INSERT INTO device_leases (pci_address, pinned) VALUES ($address, 1) ON CONFLICT (pci_address) DO NOTHING", ("$address", address)));
        },
        cancellationToken);

    /// <summary>Records what devices had before they are changed, unless it is known.</summary>
    public Task RecordDriversAsync(IReadOnlyList<DeviceLease> leases, CancellationToken cancellationToken) => database.WriteAsync(
        c => leases.Sum(lease => c.Execute(
            "UPDATE device_leases SET changed = 1, driver = $driver, driver_override = $override WHERE pci_address = $address AND changed = 0",
            ("$address", lease.Address), ("$driver", lease.Driver), ("$override", lease.DriverOverride))),
        cancellationToken);

    /// <summary>Forgets the leases of a VM; devices that a client asked for stay taken.</summary>
    public Task ReleaseDevicesAsync(long id, CancellationToken cancellationToken) => database.WriteAsync(
        c => c.Execute("DELETE FROM device_leases WHERE vm_id = $id AND pinned = 0", ("$id", id)) + c.Execute("UPDATE device_leases SET vm_id = NULL WHERE vm_id = $id", ("$id", id)),
        cancellationToken);

    /// <summary>Forgets that a client asked for devices, which were given back to the host. One that a VM has taken since stays taken by it.</summary>
    public Task UnpinDevicesAsync(IReadOnlyList<string> addresses, CancellationToken cancellationToken) => database.WriteAsync(
        c => addresses.Sum(address =>
            c.Execute("DELETE FROM device_leases WHERE pci_address = $address AND vm_id IS NULL", ("$address", address)) +
            c.Execute("UPDATE device_leases SET pinned = 0 WHERE pci_address = $address", ("$address", address))),
        cancellationToken);

    private static void LeaseDevices(SqliteConnection c, long id, IReadOnlyList<string> addresses)
    {
        RequireUnheld(c, addresses, id);
        foreach (var address in addresses)
        {
            c.Execute("INSERT INTO device_leases (pci_address, vm_id, pinned) VALUES ($address, $id, 0) ON CONFLICT (pci_address) DO UPDATE SET vm_id = $id", ("$address", address), ("$id", id));
        }
    }

    private static void RequireUnheld(SqliteConnection c, IReadOnlyList<string> addresses, long? id)
    {
        foreach (var address in addresses)
        {
            if (c.Scalar("SELECT name FROM device_leases JOIN vms ON vms.id = vm_id WHERE pci_address = $address AND vm_id IS NOT $id", ("$address", address), ("$id", id)) is string holder)
            {
                throw new VolantException(ErrorCodes.DeviceInUse, $"PCI device {address} is held by VM '{holder}'; stop or delete that VM first.");
            }
        }
    }
}
