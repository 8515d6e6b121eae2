using Volant.Daemon.Hypervisors;
using Volant.Daemon.Networking;
using Volant.Daemon.Store;
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
    DaemonOptions options,
    TimeProvider clock,
    ILogger<Recovery> logger) : BackgroundService
{
    private static readonly TimeSpan Period = TimeSpan.FromSeconds(30);

    /// <summary>Whether every VM of an earlier daemon is adopted or settled.</summary>
    public bool IsComplete { get; private set; }

    /// <inheritdoc/>
    public override async Task StartAsync(CancellationToken cancellationToken)
    {
        var observed = await ObserveAsync();
        await Task.WhenAll(store.AllVms().Select(vm => RecoverAsync(vm, observed)));
        IsComplete = true;
        await base.StartAsync(cancellationToken);
    }

    /// <inheritdoc/>
    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        try
        {
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

    private async Task RecoverAsync(VmRecord vm, Observation observed)
    {
        try
        {
            if (vm.Process is null && observed.Processes.FirstOrDefault(seen => seen.Uid == vm.Vm.Uid) is { Process: { } process })
            {
                await store.SetProcessAsync(vm.Id, process, CancellationToken.None);
                vm = store.FindVm(vm.Id) ?? vm;
            }

            await orchestrator.RecoverAsync(vm);
        }
        catch (Exception e)
        {
            // One damaged VM must not keep the others from being adopted.
            LogRecoverFailed(e, vm.Name);
        }
    }

    private async Task SweepAsync()
    {
        try
        {
            var observed = await ObserveAsync();
            var known = store.AllVms();
            var uids = known.Select(vm => vm.Vm.Uid).ToHashSet();
            foreach (var (uid, process) in observed.Processes.Where(seen => !uids.Contains(seen.Uid)))
            {
                LogOrphan("process", $"{process.Pid} of VM {uid}");
                await HostResources.ProveDeadAsync(process);
            }

            var taps = uids.Select(LinuxBridgeNetwork.TapNameFor).ToHashSet(StringComparer.Ordinal);
            foreach (var tap in observed.Taps.Where(tap => !taps.Contains(tap)))
            {
                LogOrphan("tap", tap);
                await network.DetachAsync(tap, CancellationToken.None);
            }

            foreach (var directory in observed.Directories.Where(seen => !uids.Contains(seen.Uid)))
            {
                LogOrphan("directory", directory.Path);
                Directory.Delete(directory.Path, recursive: true);
            }

            foreach (var vm in known.Where(vm => vm.Deleting))
            {
                await orchestrator.FinishDeleteAsync(owners.Get(vm.Name));
            }
        }
        catch (Exception e)
        {
            LogSweepFailed(e);
        }
    }

    private async Task<Observation> ObserveAsync() => new(
        launcher.Discover(options.RuntimeDirectory),
        await network.ListAsync(),
        [.. from root in new[] { options.RuntimeDirectory, options.LogDirectory }
            where Directory.Exists(root)
            from path in Directory.EnumerateDirectories(root)
            let uid = Guid.TryParseExact(Path.GetFileName(path), "D", out var parsed) ? parsed : (Guid?)null
            where uid is not null
            select (uid.Value, path)]);

    private sealed record Observation(
        IReadOnlyList<(Guid Uid, ProcessIdentity Process)> Processes,
        IReadOnlyList<string> Taps,
        IReadOnlyList<(Guid Uid, string Path)> Directories);

    [LoggerMessage(EventId = 1201, Level = LogLevel.Error, Message = "VM {Vm} could not be recovered")]
    private partial void LogRecoverFailed(Exception exception, string vm);

    [LoggerMessage(EventId = 1202, Level = LogLevel.Warning, Message = "Removing an orphan {Kind}: {Name}")]
    private partial void LogOrphan(string kind, string name);

    [LoggerMessage(EventId = 1203, Level = LogLevel.Error, Message = "The host could not be compared with the store; trying again later")]
    private partial void LogSweepFailed(Exception exception);
}
