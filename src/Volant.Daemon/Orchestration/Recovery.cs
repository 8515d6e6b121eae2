using Volant.Contracts.Api;
using Volant.Daemon.Hypervisors;
using Volant.Daemon.Networking;
using Volant.Daemon.Store;
using Volant.Daemon.Telemetry;
using Volant.Linux.Processes;

namespace Volant.Daemon.Orchestration;

/// <summary>Makes what is observed on the host and what the store says agree: at start, and every 30 s (design §3).</summary>
/// <remarks>
/// The host is looked at before the store is read. Since a resource is recorded before it is made, whatever was seen and has no
/// record is an orphan, and is removed; what cannot be told to be ours is never touched.
/// </remarks>
internal sealed partial class Recovery(
    VolantStore store,
    VmOrchestrator orchestrator,
    VmOwners owners,
    IHypervisorLauncher launcher,
    IHostNetwork network,
    PublishedPorts ports,
    DevicePassthrough devices,
    VolumeKeeper volumes,
    DaemonOptions options,
    TimeProvider clock,
    ILogger<Recovery> logger) : BackgroundService
{
    private static readonly TimeSpan Period = TimeSpan.FromSeconds(30);

    /// <summary>VMs that are adopted at a time: one whose hypervisor does not answer must not delay the others.</summary>
    private const int Concurrency = 32;

    private readonly TaskCompletionSource _completed = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private IReadOnlyList<(VmOwner Owner, VmRecord Vm)> _known = [];

    /// <summary>Whether every VM of an earlier daemon is adopted or settled.</summary>
    public bool IsComplete { get; private set; }

    /// <summary>Completes when <see cref="IsComplete"/>.</summary>
    public Task Completed => _completed.Task;

    /// <summary>Registers every VM; operations on one wait until it is adopted or settled. Quick: the API is served meanwhile.</summary>
    public override async Task StartAsync(CancellationToken cancellationToken)
    {
        orchestrator.CheckSubnet();
        await store.SettleRestsAsync(cancellationToken);
        await volumes.RecoverAsync();
        _known = [.. store.AllVms().Select(vm => (owners.Add(vm), vm))];
        foreach (var (owner, _) in _known)
        {
            owner.Recovering = true;
        }

        await base.StartAsync(cancellationToken);
    }

    /// <inheritdoc/>
    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        try
        {
            // A cancelled adoption would leave lanes locked; the store's end stops it soon enough.
            await RecoverAllAsync();
            while (true)
            {
                await SweepAsync();
                await Task.Delay(Period, clock, stoppingToken);
            }
        }
        catch (OperationCanceledException) when (stoppingToken.IsCancellationRequested)
        {
            // The daemon stops; VMs go on.
        }
    }

    private async Task RecoverAllAsync()
    {
        await Task.Yield();
        var started = clock.GetTimestamp();
        await devices.RecoverAsync();
        ReportForeignDisks();

        // Ports of deployments and of addresses; those of a VM follow when it is adopted.
        await ports.SyncAsync();
        var observed = await ObserveAsync();
        await Parallel.ForEachAsync(_known, new ParallelOptions { MaxDegreeOfParallelism = Concurrency }, async (known, _) => await RecoverAsync(known.Owner, known.Vm, observed));
        if (_known.Count > 0)
        {
            LogRecovered(_known.Count, (long)clock.GetElapsedTime(started).TotalMilliseconds);
        }

        Instruments.RecoveryDuration.Record(clock.GetElapsedTime(started).TotalSeconds);
        _known = [];
        IsComplete = true;
        _completed.TrySetResult();
    }

    private async Task RecoverAsync(VmOwner owner, VmRecord vm, Observation observed)
    {
        var outcome = "failed";
        try
        {
            await TakeOverAsync(owner, vm, observed, "while the daemon was down");
            outcome = owner.Run is null ? "settled" : "adopted";
        }
        catch (Exception e)
        {
            // One damaged VM must not keep the others from being adopted.
            LogRecoverFailed(e, vm.Name);
        }
        finally
        {
            Instruments.Recovered.Add(1, new KeyValuePair<string, object?>("outcome", outcome));
            owner.Recovering = false;
            owner.Lane.Release();
        }
    }

    private async Task TakeOverAsync(VmOwner owner, VmRecord vm, Observation observed, string unseen)
    {
        if (vm.Process is null && observed.ProcessOf(vm.Vm.Uid) is { } process)
        {
            await store.SetProcessAsync(vm.Id, process, CancellationToken.None);
            vm = store.FindVm(vm.Id) ?? vm;
        }

        await orchestrator.RecoverAsync(owner, vm, unseen);
    }

    /// <summary>An operation that failed together with the store left a record that is not true, and nobody who corrects it.</summary>
    private async Task SettleAsync(VmOwner owner, Observation observed)
    {
        if (!await owner.Lane.WaitAsync(TimeSpan.Zero))
        {
            // An operation is under way.
            return;
        }

        try
        {
            if (owner.Run is null && store.FindVm(owner.Id) is { Deleting: false } vm && (vm.Process is not null || vm.Vm.Status is not (VmStatus.Stopped or VmStatus.Crashed)))
            {
                await TakeOverAsync(owner, vm, observed, "and that could not be recorded at once");
            }
        }
        finally
        {
            owner.Lane.Release();
        }
    }

    private async Task SweepAsync()
    {
        try
        {
            await ports.SyncAsync();
            var observed = await ObserveAsync();
            var known = store.AllVms();
            var uids = known.Select(vm => vm.Vm.Uid).ToHashSet();
            foreach (var (uid, process) in observed.Processes.Where(seen => !uids.Contains(seen.Uid)))
            {
                CountOrphan("process", $"{process.Pid} of VM {uid}");
                await HostResources.ProveDeadAsync(process);
            }

            var taps = uids.Select(LinuxBridgeNetwork.TapNameFor).ToHashSet(StringComparer.Ordinal);
            foreach (var tap in observed.Taps.Where(tap => !taps.Contains(tap)))
            {
                CountOrphan("tap", tap);
                await network.DetachAsync(tap, CancellationToken.None);
            }

            foreach (var directory in observed.Directories.Where(seen => !uids.Contains(seen.Uid)))
            {
                CountOrphan("directory", directory.Path);
                Directory.Delete(directory.Path, recursive: true);
            }

            foreach (var group in observed.Groups.Where(seen => !uids.Contains(seen.Uid)))
            {
                CountOrphan("group", group.Path);
                await ResourceGroup.RemoveAsync(group.Path);
            }

            await CheckNetworkAsync(known);
            foreach (var owner in known.Select(vm => owners.Find(vm.Name)).OfType<VmOwner>())
            {
                await SettleAsync(owner, observed);
            }

            foreach (var owner in known.Where(vm => vm.Deleting).Select(vm => owners.Find(vm.Name)).OfType<VmOwner>())
            {
                await orchestrator.FinishDeleteAsync(owner);
            }
        }
        catch (Exception e)
        {
            LogSweepFailed(e);
        }
    }

    /// <summary>Somebody may have changed the bridge, the rules or the taps of VMs that run. A fault of the network keeps nothing else from being settled.</summary>
    private async Task CheckNetworkAsync(IReadOnlyList<VmRecord> known)
    {
        try
        {
            var running = (from vm in known
                           let owner = owners.Find(vm.Name)
                           let run = owner?.Run
                           let guest = HostResources.GuestOf(vm)
                           where run is not null && guest is not null
                           select (Owner: owner, Run: run, Guest: guest)).ToDictionary(vm => vm.Guest.Uid);
            foreach (var fault in await network.CheckAsync([.. running.Values.Select(vm => vm.Guest)]))
            {
                await orchestrator.RepairNetworkAsync(running[fault.Uid].Owner, running[fault.Uid].Run, fault.IsLost);
            }
        }
        catch (VolantException e)
        {
            LogNetworkFault(e.Message);
        }
    }

    /// <summary>Disks are only ever removed with their VM. Those of a VM that the store does not know, as after its restoration from a copy, are for people to judge.</summary>
    private void ReportForeignDisks()
    {
        var known = store.AllVms().Select(vm => vm.Vm.Uid.ToString("D")).ToHashSet(StringComparer.Ordinal);
        foreach (var directory in Directory.Exists(options.DiskDirectory) ? Directory.GetDirectories(options.DiskDirectory) : [])
        {
            if (!known.Contains(Path.GetFileName(directory)))
            {
                LogForeignDisks(directory);
            }
        }
    }

    private void CountOrphan(string kind, string name)
    {
        Instruments.Orphans.Add(1, new KeyValuePair<string, object?>("kind", kind));
        LogOrphan(kind, name);
    }

    private async Task<Observation> ObserveAsync() => new(
        launcher.Discover(options.RuntimeDirectory),
        await network.ListAsync(),
        [.. DirectoriesIn(options.RuntimeDirectory), .. DirectoriesIn(options.LogDirectory)],
        [.. DirectoriesIn(options.ControlGroup)]);

    /// <summary>The directories that are named after VMs.</summary>
    private static IEnumerable<(Guid Uid, string Path)> DirectoriesIn(string? root) =>
        from path in Directory.Exists(root) ? Directory.EnumerateDirectories(root) : []
        let uid = Guid.TryParseExact(Path.GetFileName(path), "D", out var parsed) ? parsed : (Guid?)null
        where uid is not null
        select (uid.Value, path);

    private sealed record Observation(
        IReadOnlyList<(Guid Uid, ProcessIdentity Process)> Processes,
        IReadOnlyList<string> Taps,
        IReadOnlyList<(Guid Uid, string Path)> Directories,
        IReadOnlyList<(Guid Uid, string Path)> Groups)
    {
        private readonly Dictionary<Guid, ProcessIdentity> _byUid = Processes.GroupBy(seen => seen.Uid).ToDictionary(group => group.Key, group => group.First().Process);

        public ProcessIdentity? ProcessOf(Guid uid) => _byUid.GetValueOrDefault(uid);
    }

    [LoggerMessage(EventId = 1201, Level = LogLevel.Error, Message = "VM {Vm} could not be recovered")]
    private partial void LogRecoverFailed(Exception exception, string vm);

    [LoggerMessage(EventId = 1202, Level = LogLevel.Warning, Message = "Removing an orphan {Kind}: {Name}")]
    private partial void LogOrphan(string kind, string name);

    [LoggerMessage(EventId = 1203, Level = LogLevel.Error, Message = "The host could not be compared with the store; trying again later")]
    private partial void LogSweepFailed(Exception exception);

    [LoggerMessage(EventId = 1205, Level = LogLevel.Warning, Message = "The disks in {Directory} belong to no VM of this database and are left alone; remove them when nobody needs them")]
    private partial void LogForeignDisks(string directory);

    [LoggerMessage(EventId = 1206, Level = LogLevel.Error, Message = "The network of running VMs is not as it should be: {Reason}")]
    private partial void LogNetworkFault(string reason);

    [LoggerMessage(EventId = 1204, Level = LogLevel.Information, Message = "{Count} VMs of an earlier daemon are adopted or settled after {ElapsedMs} ms")]
    private partial void LogRecovered(int count, long elapsedMs);
}
