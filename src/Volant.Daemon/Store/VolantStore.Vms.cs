using System.Collections.Concurrent;
using System.Runtime.InteropServices;
using System.Text;
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

    // A revision of a VM never changes, so what was read of it once need not be read again. Only committed revisions come here: a number that was rolled back is given again.
    private const int MaxKnown = 10_000;
    private readonly ConcurrentDictionary<long, VmRecord> _known = new();

    /// <summary>VMs that match, and how many there are in all.</summary>
    public (IReadOnlyList<Vm> Vms, long Total) ListVms(VmFilter filter) => database.Read(c =>
    {
        // Only the conditions that are asked for: the usual list then needs nothing but an index.
        var where = new StringBuilder("deleting = 0");
        List<(string, object?)> parameters = [];
        Add(filter.Runtime, "$runtime", "runtime = $runtime");
        Add(filter.Plugin, "$plugin", "plugin = $plugin");
        Add(filter.Contains, "$text", "(instr(name, $text) OR instr(ifnull(ip_address, ''), $text) OR instr(runtime, $text))");
        if (filter.Statuses.Count > 0)
        {
            where.Append(" AND status IN (").AppendJoin(',', filter.Statuses.Select(status => $"'{status.ToText()}'")).Append(')');
        }

        var total = (long)c.Scalar($"SELECT count(*) FROM vms WHERE {where}", CollectionsMarshal.AsSpan(parameters))!;
        var column = VmFilter.SortColumns.Contains(filter.Sort, StringComparer.Ordinal) ? filter.Sort : throw new ArgumentOutOfRangeException(nameof(filter));
        var direction = filter.Descending ? "DESC" : "ASC";
        parameters.AddRange([("$limit", filter.Limit), ("$offset", filter.Offset)]);
        var found = c.Query(
            ReadRevision, $"SELECT id, revision FROM vms WHERE {where} ORDER BY {column} {direction}, id {direction} LIMIT $limit OFFSET $offset", CollectionsMarshal.AsSpan(parameters));
        return ((IReadOnlyList<Vm>)[.. found.Select(vm => ReadCommitted(c, vm)?.Vm).OfType<Vm>()], total);

        void Add(string? value, string parameter, string condition)
        {
            if (value is not null)
            {
                where.Append(" AND ").Append(condition);
                parameters.Add((parameter, value));
            }
        }
    });

    /// <summary>Every VM, those being deleted included.</summary>
    public IReadOnlyList<VmRecord> AllVms() => database.Read(c => c.Query(ReadVm, $"SELECT {VmColumns} FROM vms ORDER BY id"));

    /// <summary>One VM; null when there is none of that name.</summary>
    public VmRecord? FindVm(string name) => database.Read(c => c.Query(ReadRevision, "SELECT id, revision FROM vms WHERE name = $name", ("$name", name)) is [var vm] ? ReadCommitted(c, vm) : null);

    /// <summary>One VM that is not being deleted.</summary>
    /// <exception cref="VolantException"><c>vm_not_found</c>.</exception>
    public VmRecord GetVm(string name) => FindVm(name) is { Deleting: false } vm ? vm : throw NoVm(name);

    /// <summary>The failure of every look-up.</summary>
    public static VolantException NoVm(string name) => new(ErrorCodes.VmNotFound, $"There is no VM named '{name}'; see 'volar vms list'.");

    /// <summary>One VM by number; null when it is gone.</summary>
    public VmRecord? FindVm(long id) => database.Read(c => c.Query(ReadRevision, "SELECT id, revision FROM vms WHERE id = $id", ("$id", id)) is [var vm] ? ReadCommitted(c, vm) : null);

    /// <summary>How many VMs have each status and each runtime.</summary>
    public (IReadOnlyDictionary<string, long> ByStatus, IReadOnlyDictionary<string, long> ByRuntime) CountVms() => database.Read(c => (Count(c, "status"), Count(c, "runtime")));

    private static Dictionary<string, long> Count(SqliteConnection c, string column) =>
        c.Query(row => (row.GetString(0), row.GetInt64(1)), $"SELECT {column}, count(*) FROM vms WHERE deleting = 0 GROUP BY {column}").ToDictionary(StringComparer.Ordinal);

    /// <summary>Name and hypervisor of every VM that runs, by name.</summary>
    public IReadOnlyList<(string Name, int Pid)> ListProcesses() => database.Read(
        c => c.Query(row => (row.GetString(0), row.GetInt32(1)), "SELECT name, pid FROM vms WHERE pid IS NOT NULL ORDER BY name"));

    /// <summary>VMs whose workload is ready.</summary>
    public long CountReady() => database.Read(c => (long)c.Scalar("SELECT count(*) FROM vms WHERE status = 'running' AND ready = 1 AND deleting = 0")!);

    /// <summary>Changes that wait to be written.</summary>
    public int QueueDepth => database.QueueDepth;

    /// <summary>Name of one of a plugin's ready VMs, by chance; null when none is ready.</summary>
    public string? FindAnyReady(string plugin) => database.Read(c => (string?)c.Scalar(
        "SELECT name FROM vms WHERE plugin = $plugin AND status = 'running' AND ready = 1 AND deleting = 0 ORDER BY random() LIMIT 1", ("$plugin", plugin)));

    /// <summary>What a VM holds on the host.</summary>
    public IReadOnlyList<HostResource> ListResources(long id) => database.Read(
        c => c.Query(row => new HostResource(row.GetString(0), row.GetString(1)), "SELECT kind, name FROM host_resources WHERE vm_id = $id", ("$id", id)));

    /// <summary>Records a VM with its leases, its configuration and what it will hold on the host, and moves it from <c>pending</c> to <c>starting</c>.</summary>
    /// <exception cref="VolantException"><c>vm_exists</c>, <c>plugin_not_found</c>, <c>device_in_use</c>, <c>port_in_use</c> or <c>ip_pool_exhausted</c>; nothing is recorded.</exception>
    public Task<VmRecord> InsertVmAsync(NewVm vm, CancellationToken cancellationToken) => ChangeAsync(
        change =>
        {
            var c = change.Connection;
            var now = Now;
            if (c.Scalar("SELECT 1 FROM vms WHERE name = $name", ("$name", vm.Name)) is not null)
            {
                throw new VolantException(ErrorCodes.VmExists, $"A VM named '{vm.Name}' already exists; choose another name or delete it first.");
            }

            try
            {
                c.Execute(
                    """
                    INSERT INTO vms (uid, name, plugin, runtime, desired, status, hypervisor, network_mode, mac_address, link_key,
                                     cpu_cores, memory_mb, kernel_cmdline, directory, serial_socket, config_version, created_at, updated_at,
                                     deployment_id, deployment, deployment_revision)
                    VALUES ($uid, $name, $plugin, $runtime, 'running', 'pending', $hypervisor, $mode, $mac, $key,
                            $cpus, $memory, $cmdline, $directory, $serial, 1, $now, $now, $dep, $depname, $deprev)
                    """,
                    ("$uid", vm.Uid.Invariant()), ("$name", vm.Name), ("$plugin", vm.Plugin), ("$runtime", vm.Runtime), ("$hypervisor", vm.Hypervisor),
                    ("$mode", vm.NetworkMode), ("$mac", vm.MacAddress), ("$key", vm.LinkKey), ("$cpus", vm.CpuCores),
                    ("$memory", vm.MemoryMib), ("$cmdline", vm.KernelCmdline), ("$directory", vm.Directory), ("$serial", vm.SerialSocket), ("$now", now),
                    ("$dep", vm.Replica?.Id), ("$depname", vm.Replica?.Deployment), ("$deprev", vm.Replica?.Revision));
            }
            catch (SqliteException e) when (e.SqliteExtendedErrorCode == ForeignKeyViolation)
            {
                throw new VolantException(ErrorCodes.PluginNotFound, $"Plugin '{vm.Plugin}' is not installed.", e);
            }

            var id = (long)c.Scalar("SELECT last_insert_rowid()")!;
            Lease(c, id, vm.Addresses);
            LeasePorts(c, id, vm.Ports);
            LeaseDevices(c, id, vm.Devices);
            RecordDisks(c, id, vm.Disks);
            LeaseVolumes(c, id, vm.Volumes);
            InsertConfig(c, id, 1, vm.Config);
            InsertResources(c, id, vm.Resources);
            Append(change, FindVm(c, id)!, VmEventTypes.Created);
            return Transition(change, id, VmStatus.Starting, message: null, "desired = 'running'");
        },
        cancellationToken);

    /// <summary>Moves a stopped or crashed VM to <c>starting</c> and records what it will hold on the host.</summary>
    /// <exception cref="VolantException"><c>vm_status_conflict</c>: its status does not allow a start; <c>device_in_use</c>, <c>port_in_use</c> or <c>ip_pool_exhausted</c>.</exception>
    public Task<VmRecord> BeginStartAsync(long id, NewStart start, CancellationToken cancellationToken) => ChangeAsync(
        change =>
        {
            Lease(change.Connection, id, start.Addresses);
            LeasePorts(change.Connection, id, start.Ports);
            LeaseDevices(change.Connection, id, start.Devices);
            RecordDisks(change.Connection, id, start.Disks);
            LeaseVolumes(change.Connection, id, start.Volumes);
            InsertResources(change.Connection, id, start.Resources);
            return Transition(
                change, id, VmStatus.Starting, start.Automatic ? "started again by its restart policy" : null,
                """
                desired = 'running', ready = 0, pid = NULL, last_error = NULL, exit_code = NULL, exit_signal = NULL, exit_at = NULL, exit_reason = NULL,
                exit_asked_by = NULL, exit_lines = NULL, boot_ms = NULL, restart_at = NULL, plugin = $plugin, runtime = $runtime,
                network_mode = $mode, mac_address = $mac, cpu_cores = $cpus, memory_mb = $memory, kernel_cmdline = $cmdline,
                restarts = CASE WHEN $automatic THEN restarts + 1 ELSE 0 END, restart_attempts = CASE WHEN $automatic THEN restart_attempts ELSE 0 END
                """,
                ("$plugin", start.Plugin), ("$runtime", start.Runtime), ("$mode", start.NetworkMode), ("$mac", start.MacAddress), ("$cpus", start.CpuCores),
                ("$memory", start.MemoryMib), ("$cmdline", start.KernelCmdline), ("$automatic", start.Automatic ? 1 : 0));
        },
        cancellationToken);

    /// <summary>Records the hypervisor as soon as it exists.</summary>
    public Task SetProcessAsync(long id, ProcessIdentity process, CancellationToken cancellationToken) => database.WriteAsync(
        c => c.Execute(
            "UPDATE vms SET pid = $pid, pid_start_time = $start, pid_boot_id = $boot, started_at = $now, updated_at = $now, revision = revision + 1 WHERE id = $id",
            ("$id", id), ("$pid", process.Pid), ("$start", process.StartTime), ("$boot", process.BootId), ("$now", Now)),
        cancellationToken);

    /// <summary>Changes the status if the current one allows it.</summary>
    /// <exception cref="VolantException"><c>vm_status_conflict</c> or <c>vm_not_found</c>.</exception>
    public Task<VmRecord> SetStatusAsync(long id, VmStatus status, DesiredState? desired, CancellationToken cancellationToken, string? askedBy = null) => ChangeAsync(
        change => Transition(
            change, id, status, askedBy is null ? null : $"asked by {askedBy}",
            "desired = ifnull($desired, desired), exit_asked_by = ifnull($by, exit_asked_by)",
            ("$desired", desired is { } wanted ? DesiredText(wanted) : null), ("$by", askedBy)),
        cancellationToken);

    /// <summary>Says that a VM that does not run is not wanted to run; it is not started again by itself.</summary>
    public Task<VmRecord> SettleStoppedAsync(long id, CancellationToken cancellationToken) => ChangeAsync(
        change =>
        {
            change.Connection.Execute(
                "UPDATE vms SET desired = 'stopped', restart_at = NULL, restart_attempts = 0, updated_at = $now, revision = revision + 1 WHERE id = $id", ("$id", id), ("$now", Now));
            var vm = FindVm(change.Connection, id) ?? throw Gone(id);
            return vm.Vm.Status == VmStatus.Crashed ? Transition(change, id, VmStatus.Stopped, "stopped on request", "ready = 0") : vm;
        },
        cancellationToken);

    /// <summary>Records that a VM became ready or lost it; a boot time is kept once per run. Null when it does not run any more.</summary>
    /// <remarks>What is recorded already is no event: a daemon that takes a VM over finds it as it was.</remarks>
    public Task<VmRecord?> SetReadyAsync(long id, bool ready, long? bootMs, string? message, CancellationToken cancellationToken) => ChangeAsync(
        change =>
        {
            if (FindVm(change.Connection, id) is not { Vm.Status: VmStatus.Running } known)
            {
                return null;
            }

            if (known.Vm.Ready == ready && known.Vm.LastError == message)
            {
                return known;
            }

            change.Connection.Execute(
                "UPDATE vms SET ready = $ready, boot_ms = ifnull(boot_ms, $boot), last_error = $message, updated_at = $now, revision = revision + 1 WHERE id = $id",
                ("$id", id), ("$ready", ready ? 1 : 0), ("$boot", bootMs), ("$message", message), ("$now", Now));
            var vm = FindVm(change.Connection, id)!;
            Append(change, vm, ready ? VmEventTypes.Ready : VmEventTypes.NotReady, message);
            return vm;
        },
        cancellationToken);

    /// <summary>Records that a run ended: status, reason, that the process is gone, and when it is started again.</summary>
    public Task<VmRecord> EndRunAsync(long id, EndedRun ended, CancellationToken cancellationToken) => ChangeAsync(
        change => Transition(
            change, id, ended.Status, ended.Exit.Reason,
            """
            ready = 0, pid = NULL, pid_start_time = NULL, pid_boot_id = NULL, last_error = $error,
            exit_code = $code, exit_signal = $signal, exit_at = $at, exit_reason = $reason, exit_asked_by = ifnull($by, exit_asked_by), exit_lines = $lines,
            restart_at = $restart, restart_attempts = $attempts
            """,
            ("$error", ended.Error), ("$code", ended.Exit.Code), ("$signal", ended.Exit.Signal), ("$at", ended.Exit.At.ToUnixTimeMilliseconds()),
            ("$reason", ended.Exit.Reason), ("$by", ended.Exit.AskedBy),
            ("$lines", ended.Exit.LastLines is { } lines ? JsonSerializer.Serialize(lines, ContractsJson.Default.IReadOnlyListString) : null),
            ("$restart", ended.RestartAt?.ToUnixTimeMilliseconds()), ("$attempts", ended.RestartAttempts)),
        cancellationToken);

    /// <summary>Records why a start failed before anything was launched, and when it is tried again.</summary>
    public Task SetStartFailureAsync(long id, string error, DateTimeOffset? restartAt, int attempts, CancellationToken cancellationToken) => database.WriteAsync(
        c => c.Execute(
            "UPDATE vms SET last_error = $error, restart_at = $restart, restart_attempts = $attempts, updated_at = $now, revision = revision + 1 WHERE id = $id",
            ("$id", id), ("$error", error), ("$restart", restartAt?.ToUnixTimeMilliseconds()), ("$attempts", attempts), ("$now", Now)),
        cancellationToken);

    /// <summary>VMs that wait to be started again, the next one first.</summary>
    public IReadOnlyList<VmRecord> ListRestarts() => database.Read(c => c.Query(
        ReadVm, $"SELECT {VmColumns} FROM vms WHERE restart_at IS NOT NULL AND deleting = 0 AND desired = 'running' ORDER BY restart_at"));

    /// <summary>Says that a VM is to be deleted; from now on it is not listed.</summary>
    public Task BeginDeleteAsync(long id, CancellationToken cancellationToken) => database.WriteAsync(
        c => c.Execute(
            "UPDATE vms SET deleting = 1, desired = 'stopped', ready = 0, restart_at = NULL, updated_at = $now, revision = revision + 1 WHERE id = $id", ("$id", id), ("$now", Now)),
        cancellationToken);

    /// <summary>Forgets that a VM holds resources; call it when they are gone.</summary>
    public Task DeleteResourcesAsync(long id, IReadOnlyList<string> kinds, CancellationToken cancellationToken) => database.WriteAsync(
        c => kinds.Sum(kind => c.Execute("DELETE FROM host_resources WHERE vm_id = $id AND kind = $kind", ("$id", id), ("$kind", kind))),
        cancellationToken);

    /// <summary>Forgets a VM and gives its address back. It must hold nothing on the host any more.</summary>
    public Task DeleteVmAsync(long id, string? message, CancellationToken cancellationToken) => ChangeAsync(
        change =>
        {
            var c = change.Connection;
            if (FindVm(c, id) is not { } vm)
            {
                return false;
            }

            Release(c, id);
            c.Execute("DELETE FROM vms WHERE id = $id", ("$id", id));
            Append(change, vm with { Vm = vm.Vm with { Status = VmStatus.Stopped, Pid = null } }, VmEventTypes.Deleted, message);
            _known.TryRemove(id, out _);
            return true;
        },
        cancellationToken);

    private static (long Id, long Revision) ReadRevision(SqliteDataReader row) => (row.GetInt64(0), row.GetInt64(1));

    /// <summary>A VM as a reader's connection sees it, at that revision or a later one; null when it has gone since.</summary>
    private VmRecord? ReadCommitted(SqliteConnection reader, (long Id, long Revision) vm)
    {
        if (_known.TryGetValue(vm.Id, out var known) && known.Revision == vm.Revision)
        {
            return known;
        }

        if (FindVm(reader, vm.Id) is not { } read)
        {
            _known.TryRemove(vm.Id, out _);
            return null;
        }

        if (_known.Count >= MaxKnown)
        {
            _known.Clear();
        }

        return _known[vm.Id] = read;
    }

    private static VmRecord? FindVm(SqliteConnection c, long id) => c.Query(ReadVm, $"SELECT {VmColumns} FROM vms WHERE id = $id", ("$id", id)) is [var vm] ? vm : null;

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

    /// <summary>The only writer of <c>status</c>: compare-and-set by the transition table, with the event that tells of it.</summary>
    private VmRecord Transition(Change change, long id, VmStatus to, string? message, string assignments, params ReadOnlySpan<(string Name, object? Value)> parameters)
    {
        var allowed = string.Join(',', Enum.GetValues<VmStatus>().Where(from => from.CanBecome(to)).Select(from => $"'{from.ToText()}'"));
        var changed = change.Connection.Execute(
            $"UPDATE vms SET status = $to, updated_at = $now, revision = revision + 1, {assignments} WHERE id = $id AND status IN ({allowed})",
            [("$id", id), ("$to", to.ToText()), ("$now", Now), .. parameters]);
        var vm = FindVm(change.Connection, id) ?? throw Gone(id);
        if (changed == 0)
        {
            throw new VolantException(ErrorCodes.VmStatusConflict, $"VM '{vm.Name}' is {vm.Vm.Status.ToText()} and cannot become {to.ToText()}.");
        }

        Append(change, vm, VmEventTypes.Of(to), message);
        return vm;
    }

    private static VolantException Gone(long id) => new(ErrorCodes.VmNotFound, $"VM number {id} does not exist.");

    /// <summary>What <see cref="ReadVm"/> reads, in this order: finding columns by their names takes longer than the query.</summary>
    private enum VmColumn
    {
        Id,
        Pid,
        Uid,
        Name,
        Plugin,
        Runtime,
        Desired,
        Status,
        Ready,
        Deployment,
        Hypervisor,
        NetworkMode,
        IpAddress,
        Ipv6Address,
        MacAddress,
        CpuCores,
        MemoryMb,
        KernelCmdline,
        SerialSocket,
        LastError,
        Restarts,
        RestartAt,
        StartedAt,
        BootMs,
        ConfigVersion,
        CreatedAt,
        UpdatedAt,
        PidStartTime,
        PidBootId,
        Deleting,
        Directory,
        Revision,
        RestartAttempts,
        ExitAt,
        ExitCode,
        ExitSignal,
        ExitReason,
        ExitAskedBy,
        ExitLines,
        LinkKey,
    }

    private static readonly string VmColumns = string.Join(", ", Enum.GetNames<VmColumn>().Select(JsonNamingPolicy.SnakeCaseLower.ConvertName));

    private static VmRecord ReadVm(SqliteDataReader row)
    {
        var id = row.GetInt64((int)VmColumn.Id);
        var pid = row.Int((int)VmColumn.Pid);
        var vm = new Vm
        {
            Id = id,
            Uid = Guid.Parse(row.GetString((int)VmColumn.Uid)),
            Name = row.GetString((int)VmColumn.Name),
            Plugin = row.GetString((int)VmColumn.Plugin),
            Runtime = row.GetString((int)VmColumn.Runtime),
            Desired = row.GetString((int)VmColumn.Desired) == "running" ? DesiredState.Running : DesiredState.Stopped,
            Status = VmStatusRules.FindStatus(row.GetString((int)VmColumn.Status))!.Value,
            Ready = row.GetInt64((int)VmColumn.Ready) == 1,
            Deployment = row.Text((int)VmColumn.Deployment),
            Hypervisor = row.GetString((int)VmColumn.Hypervisor),
            Pid = pid,
            NetworkMode = row.GetString((int)VmColumn.NetworkMode),
            IpAddress = row.Text((int)VmColumn.IpAddress) ?? string.Empty,
            Ipv6Address = row.Text((int)VmColumn.Ipv6Address),
            MacAddress = row.Text((int)VmColumn.MacAddress) ?? string.Empty,
            VsockCid = FirstVsockCid + id,
            CpuCores = row.GetInt32((int)VmColumn.CpuCores),
            MemoryMb = row.GetInt32((int)VmColumn.MemoryMb),
            KernelCmdline = row.GetString((int)VmColumn.KernelCmdline),
            SerialSocket = row.GetString((int)VmColumn.SerialSocket),
            LastError = row.Text((int)VmColumn.LastError),
            Exit = ReadExit(row),
            Restarts = row.GetInt32((int)VmColumn.Restarts),
            RestartAt = row.Time((int)VmColumn.RestartAt),
            StartedAt = row.Time((int)VmColumn.StartedAt),
            BootMs = row.Number((int)VmColumn.BootMs),
            ConfigVersion = row.GetInt32((int)VmColumn.ConfigVersion),
            CreatedAt = DateTimeOffset.FromUnixTimeMilliseconds(row.GetInt64((int)VmColumn.CreatedAt)),
            UpdatedAt = DateTimeOffset.FromUnixTimeMilliseconds(row.GetInt64((int)VmColumn.UpdatedAt)),
        };
        var process = pid is { } number && row.Number((int)VmColumn.PidStartTime) is { } start && row.Text((int)VmColumn.PidBootId) is { } boot ? new ProcessIdentity(number, start, boot) : null;
        return new VmRecord(vm, row.GetInt64((int)VmColumn.Deleting) == 1, process, row.GetFieldValue<byte[]>((int)VmColumn.LinkKey), row.GetString((int)VmColumn.Directory))
        {
            Revision = row.GetInt64((int)VmColumn.Revision),
            RestartAttempts = row.GetInt32((int)VmColumn.RestartAttempts),
        };
    }

    private static VmExit? ReadExit(SqliteDataReader row) => row.Time((int)VmColumn.ExitAt) is not { } at ? null : new VmExit
    {
        Code = row.Int((int)VmColumn.ExitCode),
        Signal = row.Int((int)VmColumn.ExitSignal),
        At = at,
        Reason = row.Text((int)VmColumn.ExitReason) ?? string.Empty,
        AskedBy = row.Text((int)VmColumn.ExitAskedBy),
        LastLines = row.Text((int)VmColumn.ExitLines) is { } lines ? JsonSerializer.Deserialize(lines, ContractsJson.Default.IReadOnlyListString) : null,
    };
}
