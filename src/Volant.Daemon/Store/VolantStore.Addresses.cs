using System.Net;
using Microsoft.Data.Sqlite;
using Volant.Contracts.Api;

namespace Volant.Daemon.Store;

/// <content>IPv4 addresses: leased by one VM at a time, then resting before they are leased again. An IPv6 address goes with each where there is such a network.</content>
internal sealed partial class VolantStore
{
    /// <summary>How long an address rests: longer than neighbours remember whom it belonged to.</summary>
    public static readonly TimeSpan AddressRest = TimeSpan.FromSeconds(60);

    // The time of day when this daemon started, carried on by the monotonic clock: setting the clock neither ends a rest nor prolongs it.
    private readonly (long Wall, long Monotonic) _started = (clock.GetUtcNow().ToUnixTimeMilliseconds(), clock.GetTimestamp());

    private long SteadyNow => _started.Wall + (long)clock.GetElapsedTime(_started.Monotonic).TotalMilliseconds;

    /// <summary>For the start: an address that was released in the future, because the clock was set back since, rests from now on.</summary>
    public Task SettleRestsAsync(CancellationToken cancellationToken) => database.WriteAsync(
        c => c.Execute("UPDATE addresses SET released_at = $now WHERE released_at > $now", ("$now", SteadyNow)), cancellationToken);

    /// <summary>Addresses that VMs have, with the names of the VMs, ascending.</summary>
    public IReadOnlyList<(IPAddress Address, string Vm)> ListLeases() => database.Read(c => c.Query(
        row => (IPAddress.Parse(Format(row.GetInt64(0))), row.GetString(1)), "SELECT a.number, v.name FROM addresses a JOIN vms v ON v.id = a.vm_id ORDER BY a.number"));

    /// <summary>Records the address that somebody else's DHCP server gave a running VM's guest, as the guest says; null when it has none any more.</summary>
    /// <returns>The record; null when the VM does not run any more, or another VM has the address.</returns>
    public Task<VmRecord?> SetLearntAddressAsync(long id, IPAddress? address, CancellationToken cancellationToken) => ChangeAsync(
        change =>
        {
            var c = change.Connection;
            if (FindVm(c, id) is not { Vm.Status: VmStatus.Running }
                || (address is not null && c.Scalar("SELECT 1 FROM vms WHERE ip_address = $ip AND id <> $id", ("$ip", address.ToString()), ("$id", id)) is not null))
            {
                return null;
            }

            c.Execute("UPDATE vms SET ip_address = $ip, updated_at = $now, revision = revision + 1 WHERE id = $id", ("$id", id), ("$ip", address?.ToString()), ("$now", Now));
            return FindVm(c, id);
        },
        cancellationToken);

    /// <summary>Gives a VM an address of the range, or takes its address back when there is no range.</summary>
    /// <exception cref="VolantException"><c>ip_pool_exhausted</c>.</exception>
    private void Lease(SqliteConnection c, long id, AddressRange? range)
    {
        var current = (long?)c.Scalar("SELECT number FROM addresses WHERE vm_id = $id", ("$id", id));
        if (range is null || (current is { } held && !range.Contains(held)))
        {
            Release(c, id);
            current = null;
        }

        if (range is not null && current is null)
        {
            var number = FindFree(c, range);
            c.Execute(
                "INSERT INTO addresses (number, vm_id) VALUES ($number, $id) ON CONFLICT (number) DO UPDATE SET vm_id = $id, released_at = NULL",
                ("$number", number), ("$id", id));
            c.Execute("UPDATE vms SET ip_address = $ip, revision = revision + 1 WHERE id = $id", ("$id", id), ("$ip", Format(number)));
            current = number;
        }

        var ipv6 = range?.IPv6Of is { } ipv6Of ? ipv6Of(IPAddress.Parse(Format(current!.Value))).ToString() : null;
        c.Execute("UPDATE vms SET ipv6_address = $ip, revision = revision + 1 WHERE id = $id AND ipv6_address IS NOT $ip", ("$id", id), ("$ip", ipv6));
    }

    private void Release(SqliteConnection c, long id)
    {
        c.Execute("UPDATE addresses SET vm_id = NULL, released_at = $now WHERE vm_id = $id", ("$id", id), ("$now", SteadyNow));
        c.Execute("UPDATE vms SET ip_address = NULL, ipv6_address = NULL, revision = revision + 1 WHERE id = $id AND ip_address IS NOT NULL", ("$id", id));
    }

    /// <summary>The lowest address that nobody has, and that has rested if somebody had it.</summary>
    private long FindFree(SqliteConnection c, AddressRange range)
    {
        var taken = c.Query(
            row => row.GetInt64(0),
            "SELECT number FROM addresses WHERE number BETWEEN $first AND $last AND (vm_id IS NOT NULL OR released_at > $before) ORDER BY number",
            ("$first", (long)range.First), ("$last", (long)range.Last), ("$before", SteadyNow - (long)AddressRest.TotalMilliseconds));
        var free = range.SkipReserved(range.First);
        foreach (var number in taken)
        {
            if (number > free)
            {
                break;
            }

            free = number == free ? range.SkipReserved(free + 1) : free;
        }

        return free <= range.Last ? free : throw new VolantException(
            ErrorCodes.IpPoolExhausted,
            $"All addresses from {Format(range.First)} to {Format(range.Last)} are in use, reserved, or were in use less than {AddressRest.TotalSeconds:0} s ago; delete VMs, wait, or configure a larger VOLANT_SUBNET.");
    }

    private static string Format(long number) => new IPAddress([(byte)(number >> 24), (byte)(number >> 16), (byte)(number >> 8), (byte)number]).ToString();
}
