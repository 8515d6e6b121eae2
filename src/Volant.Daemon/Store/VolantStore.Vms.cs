using System.Net;
using System.Text.Json;
using Microsoft.Data.Sqlite;
using Volant.Contracts;
using Volant.Contracts.Api;
using Volant.Linux.Processes;

namespace Volant.Daemon.Store;

/// <content>VMs: records, leases, status and what they hold on the host.</content>
internal sealed partial class VolantStore
{
    /// <summary>Smallest vsock context id for guests (VMADDR_CID_HOST is 2).</summary>
    private const long FirstVsockCid = 3;

    /// <summary>VMs that match, and how many there are in all.</summary>
    public (IReadOnlyList<Vm> Vms, long Total) ListVms(VmFilter filter) => database.Read(c =>
    {
        var statuses = string.Join(',', filter.Statuses.Select(status => $"'{status.ToText()}'"));
        var where = $"""
            WHERE deleting = 0 AND ($runtime IS NULL OR runtime = $runtime) AND ($plugin IS NULL OR plugin = $plugin)
              AND ($text IS NULL OR instr(name, $text) OR instr(ifnull(ip_address, ''), $text) OR instr(runtime, $text))
              {(statuses.Length > 0 ? $"AND status IN ({statuses})" : string.Empty)}
            """;
        var column = VmFilter.SortColumns.Contains(filter.Sort, StringComparer.Ordinal) ? filter.Sort : throw new ArgumentOutOfRangeException(nameof(filter));
        var direction = filter.Descending ? "DESC" : "ASC";
        (string, object?)[] parameters =
            [("$runtime", filter.Runtime), ("$plugin", filter.Plugin), ("$text", filter.Contains), ("$limit", filter.Limit), ("$offset", filter.Offset)];
        var total = (long)c.Scalar($"SELECT count(*) FROM vms {where}", parameters)!;
        return (c.Query(row => ReadVm(row).Vm, $"SELECT * FROM vms {where} ORDER BY {column} {direction}, id {direction} LIMIT $limit OFFSET $offset", parameters), total);
    });

    /// <summary>Every VM, those being deleted included.</summary>
    public IReadOnlyList<VmRecord> AllVms() => database.Read(c => c.Query(ReadVm, "SELECT * FROM vms ORDER BY id"));

    /// <summary>One VM; null when there is none of that name.</summary>
    public VmRecord? FindVm(string name) => database.Read(c => c.Query(ReadVm, "SELECT * FROM vms WHERE name = $name", ("$name", name)) is [var vm] ? vm : null);

    /// <summary>One VM by number; null when it is gone.</summary>
    public VmRecord? FindVm(long id) => database.Read(c => FindVm(c, id));

    /// <summary>Current configuration of a VM.</summary>
    public VmConfig GetConfig(long id) => database.Read(c => JsonSerializer.Deserialize(
        (string)c.Scalar("SELECT config FROM vm_configs WHERE vm_id = $id ORDER BY version DESC LIMIT 1", ("$id", id))!, ContractsJson.Default.VmConfig)!);

    /// <summary>What a VM holds on the host.</summary>
    public IReadOnlyList<HostResource> ListResources(long id) => database.Read(
        c => c.Query(row => new HostResource(row.GetString(0), row.GetString(1)), "SELECT kind, name FROM host_resources WHERE vm_id = $id", ("$id", id)));

    /// <summary>Records a VM in status <c>starting</c> with its leases, its configuration and what it will hold on the host.</summary>
    /// <exception cref="VolantException"><c>vm_exists</c>, <c>plugin_not_found</c> or <c>ip_pool_exhausted</c>; nothing is recorded.</exception>
    public Task<VmRecord> InsertVmAsync(NewVm vm, CancellationToken cancellationToken) => database.WriteAsync(
        c =>
        {
            var now = Now;
            if (c.Scalar("SELECT 1 FROM vms WHERE name = $name", ("$name", vm.Name)) is not null)
            {
                throw new VolantException(ErrorCodes.VmExists, $"A VM named '{vm.Name}' already exists; choose another name or delete it first.");
            }

            var address = vm.Addresses is { } range ? LeaseAddress(c, range) : null;
            try
            {
                c.Execute(
                    """
                    INSERT INTO vms (uid, name, plugin, runtime, desired, status, hypervisor, network_mode, ip_address, mac_address, link_key,
                                     cpu_cores, memory_mb, kernel_cmdline, directory, serial_socket, config_version, created_at, updated_at)
                    VALUES ($uid, $name, $plugin, $runtime, 'running', 'starting', $hypervisor, $mode, $ip, $mac, $key,
                            $cpus, $memory, $cmdline, $directory, $serial, 1, $now, $now)
                    """,
                    ("$uid", vm.Uid.Invariant()), ("$name", vm.Name), ("$plugin", vm.Plugin), ("$runtime", vm.Runtime), ("$hypervisor", vm.Hypervisor),
                    ("$mode", vm.NetworkMode), ("$ip", address), ("$mac", vm.MacAddress), ("$key", vm.LinkKey), ("$cpus", vm.CpuCores),
                    ("$memory", vm.MemoryMib), ("$cmdline", vm.KernelCmdline), ("$directory", vm.Directory), ("$serial", vm.SerialSocket), ("$now", now));
            }
            catch (SqliteException e) when (e.SqliteExtendedErrorCode == ForeignKeyViolation)
            {
                throw new VolantException(ErrorCodes.PluginNotFound, $"Plugin '{vm.Plugin}' is not installed.", e);
            }

            var id = (long)c.Scalar("SELECT last_insert_rowid()")!;
            c.Execute(
                "INSERT INTO vm_configs (vm_id, version, config, updated_at) VALUES ($id, 1, $config, $now)",
                ("$id", id), ("$config", JsonSerializer.Serialize(vm.Config, ContractsJson.Default.VmConfig)), ("$now", now));
            InsertResources(c, id, vm.Resources);
            return FindVm(c, id)!;
        },
        cancellationToken);

    /// <summary>Moves a stopped or crashed VM to <c>starting</c> and records what it will hold on the host.</summary>
    /// <exception cref="VolantException"><c>vm_status_conflict</c>: its status does not allow a start.</exception>
    public Task<VmRecord> BeginStartAsync(long id, NewStart start, CancellationToken cancellationToken) => database.WriteAsync(
        c =>
        {
            Transition(
                c, id, VmStatus.Starting,
                """
                desired = 'running', ready = 0, pid = NULL, last_error = NULL, exit_code = NULL, exit_signal = NULL, exit_at = NULL, exit_reason = NULL,
                boot_ms = NULL, cpu_cores = $cpus, memory_mb = $memory, kernel_cmdline = $cmdline
                """,
                ("$cpus", start.CpuCores), ("$memory", start.MemoryMib), ("$cmdline", start.KernelCmdline));
            InsertResources(c, id, start.Resources);
            return FindVm(c, id)!;
        },
        cancellationToken);

    /// <summary>Records the hypervisor as soon as it exists.</summary>
    public Task SetProcessAsync(long id, ProcessIdentity process, CancellationToken cancellationToken) => database.WriteAsync(
        c => c.Execute(
            "UPDATE vms SET pid = $pid, pid_start_time = $start, pid_boot_id = $boot, started_at = $now, updated_at = $now WHERE id = $id",
            ("$id", id), ("$pid", process.Pid), ("$start", process.StartTime), ("$boot", process.BootId), ("$now", Now)),
        cancellationToken);

    /// <summary>Changes the status if the current one allows it.</summary>
    /// <exception cref="VolantException"><c>vm_status_conflict</c> or <c>vm_not_found</c>.</exception>
    public Task<VmRecord> SetStatusAsync(long id, VmStatus status, DesiredState? desired, CancellationToken cancellationToken) => database.WriteAsync(
        c =>
        {
            Transition(c, id, status, "desired = ifnull($desired, desired)", ("$desired", desired is { } wanted ? DesiredText(wanted) : null));
            return FindVm(c, id)!;
        },
        cancellationToken);

    /// <summary>Changes only what is wanted.</summary>
    public Task SetDesiredAsync(long id, DesiredState desired, CancellationToken cancellationToken) => database.WriteAsync(
        c => c.Execute("UPDATE vms SET desired = $desired, updated_at = $now WHERE id = $id", ("$id", id), ("$desired", DesiredText(desired)), ("$now", Now)),
        cancellationToken);

    /// <summary>Records that a VM became ready or lost it; a boot time is kept once per run.</summary>
    public Task<VmRecord?> SetReadyAsync(long id, bool ready, long? bootMs, CancellationToken cancellationToken) => database.WriteAsync(
        c =>
        {
            c.Execute(
                "UPDATE vms SET ready = $ready, boot_ms = ifnull(boot_ms, $boot), updated_at = $now WHERE id = $id AND status = 'running'",
                ("$id", id), ("$ready", ready ? 1 : 0), ("$boot", bootMs), ("$now", Now));
            return FindVm(c, id);
        },
        cancellationToken);

    /// <summary>Records that a run ended: status, reason, and that the process is gone.</summary>
    public Task<VmRecord> EndRunAsync(long id, VmStatus status, VmExit exit, string? error, CancellationToken cancellationToken) => database.WriteAsync(
        c =>
        {
            Transition(
                c, id, status,
                """
                ready = 0, pid = NULL, pid_start_time = NULL, pid_boot_id = NULL, last_error = $error,
                exit_code = $code, exit_signal = $signal, exit_at = $at, exit_reason = $reason
                """,
                ("$error", error), ("$code", exit.Code), ("$signal", exit.Signal), ("$at", exit.At.ToUnixTimeMilliseconds()), ("$reason", exit.Reason));
            return FindVm(c, id)!;
        },
        cancellationToken);

    /// <summary>Says that a VM is to be deleted; from now on it is not listed.</summary>
    public Task BeginDeleteAsync(long id, CancellationToken cancellationToken) => database.WriteAsync(
        c => c.Execute("UPDATE vms SET deleting = 1, desired = 'stopped', ready = 0, updated_at = $now WHERE id = $id", ("$id", id), ("$now", Now)),
        cancellationToken);

    /// <summary>Forgets that a VM holds a resource; call it when the resource is gone.</summary>
    public Task DeleteResourceAsync(long id, string kind, CancellationToken cancellationToken) => database.WriteAsync(
        c => c.Execute("DELETE FROM host_resources WHERE vm_id = $id AND kind = $kind", ("$id", id), ("$kind", kind)),
        cancellationToken);

    /// <summary>Forgets a VM and gives its address back. It must hold nothing on the host any more.</summary>
    public Task DeleteVmAsync(long id, CancellationToken cancellationToken) => database.WriteAsync(
        c =>
        {
            c.Execute(
                """
                INSERT INTO released_addresses (ip_address, released_at) SELECT ip_address, $now FROM vms WHERE id = $id AND ip_address IS NOT NULL
                ON CONFLICT (ip_address) DO UPDATE SET released_at = $now
                """,
                ("$id", id), ("$now", Now));
            return c.Execute("DELETE FROM vms WHERE id = $id", ("$id", id));
        },
        cancellationToken);

    private static VmRecord? FindVm(SqliteConnection c, long id) => c.Query(ReadVm, "SELECT * FROM vms WHERE id = $id", ("$id", id)) is [var vm] ? vm : null;

    private static string DesiredText(DesiredState desired) => desired == DesiredState.Running ? "running" : "stopped";

    private static void InsertResources(SqliteConnection c, long id, IReadOnlyList<HostResource> resources)
    {
        foreach (var resource in resources)
        {
            c.Execute(
                "INSERT INTO host_resources (vm_id, kind, name) VALUES ($id, $kind, $name) ON CONFLICT (vm_id, kind) DO UPDATE SET name = $name",
                ("$id", id), ("$kind", resource.Kind), ("$name", resource.Name));
        }
    }

    /// <summary>An address never given out before, else the one that rested longest.</summary>
    private static string LeaseAddress(SqliteConnection c, AddressRange range)
    {
        var leased = c.Query(row => row.GetString(0), "SELECT ip_address FROM vms WHERE ip_address IS NOT NULL").ToHashSet(StringComparer.Ordinal);
        var resting = c.Query(row => row.GetString(0), "SELECT ip_address FROM released_addresses ORDER BY released_at");
        var rested = resting.ToHashSet(StringComparer.Ordinal);
        for (var number = range.First; number <= range.Last; number++)
        {
            var address = Format(number);
            if (number != range.Reserved && !leased.Contains(address) && !rested.Contains(address))
            {
                return address;
            }
        }

        return resting.FirstOrDefault(address => InRange(address, range) && !leased.Contains(address))
            ?? throw new VolantException(ErrorCodes.IpPoolExhausted, $"All addresses from {Format(range.First)} to {Format(range.Last)} are in use; delete VMs or configure a larger VOLANT_SUBNET.");
    }

    private static string Format(uint number) => new IPAddress([(byte)(number >> 24), (byte)(number >> 16), (byte)(number >> 8), (byte)number]).ToString();

    private static bool InRange(string address, AddressRange range)
    {
        var b = IPAddress.Parse(address).GetAddressBytes();
        var number = ((uint)b[0] << 24) | ((uint)b[1] << 16) | ((uint)b[2] << 8) | b[3];
        return number >= range.First && number <= range.Last && number != range.Reserved;
    }

    /// <summary>The only writer of <c>status</c>: compare-and-set by the transition table.</summary>
    private void Transition(SqliteConnection c, long id, VmStatus to, string assignments, params ReadOnlySpan<(string Name, object? Value)> parameters)
    {
        var allowed = string.Join(',', Enum.GetValues<VmStatus>().Where(from => from.CanBecome(to)).Select(from => $"'{from.ToText()}'"));
        var changed = c.Execute(
            $"UPDATE vms SET status = $to, updated_at = $now, {assignments} WHERE id = $id AND status IN ({allowed})",
            [("$id", id), ("$to", to.ToText()), ("$now", Now), .. parameters]);
        if (changed == 0)
        {
            throw FindVm(c, id) is { } vm
                ? new VolantException(ErrorCodes.VmStatusConflict, $"VM '{vm.Name}' is {vm.Vm.Status.ToText()} and cannot become {to.ToText()}.")
                : new VolantException(ErrorCodes.VmNotFound, $"VM number {id} does not exist.");
        }
    }

    private static VmRecord ReadVm(SqliteDataReader row)
    {
        var id = row.Number("id")!.Value;
        var pid = row.Int("pid");
        var vm = new Vm
        {
            Id = id,
            Uid = Guid.Parse(row.Text("uid")!),
            Name = row.Text("name")!,
            Plugin = row.Text("plugin")!,
            Runtime = row.Text("runtime")!,
            Desired = row.Text("desired") == "running" ? DesiredState.Running : DesiredState.Stopped,
            Status = VmStatusRules.FindStatus(row.Text("status")!)!.Value,
            Ready = row.Number("ready") == 1,
            Hypervisor = row.Text("hypervisor")!,
            Pid = pid,
            NetworkMode = row.Text("network_mode")!,
            IpAddress = row.Text("ip_address") ?? string.Empty,
            MacAddress = row.Text("mac_address") ?? string.Empty,
            VsockCid = FirstVsockCid + id,
            CpuCores = row.Int("cpu_cores")!.Value,
            MemoryMb = row.Int("memory_mb")!.Value,
            KernelCmdline = row.Text("kernel_cmdline")!,
            SerialSocket = row.Text("serial_socket")!,
            LastError = row.Text("last_error"),
            Exit = row.Time("exit_at") is { } at ? new VmExit { Code = row.Int("exit_code"), Signal = row.Int("exit_signal"), At = at, Reason = row.Text("exit_reason") ?? string.Empty } : null,
            Restarts = row.Int("restarts")!.Value,
            StartedAt = row.Time("started_at"),
            BootMs = row.Number("boot_ms"),
            ConfigVersion = row.Int("config_version")!.Value,
            CreatedAt = row.Time("created_at")!.Value,
            UpdatedAt = row.Time("updated_at")!.Value,
        };
        var process = pid is { } number && row.Number("pid_start_time") is { } start && row.Text("pid_boot_id") is { } boot ? new ProcessIdentity(number, start, boot) : null;
        return new VmRecord(vm, row.Number("deleting") == 1, process, row.GetFieldValue<byte[]>(row.GetOrdinal("link_key")), row.Text("directory")!);
    }
}

/// <summary>What a start of an existing VM changes in its record.</summary>
internal sealed record NewStart(int CpuCores, int MemoryMib, string KernelCmdline, IReadOnlyList<HostResource> Resources);
