using System.Globalization;
using Volant.Contracts.Api;
using Volant.Daemon.Events;
using Volant.Daemon.Guests;
using Volant.Daemon.Hypervisors;
using Volant.Daemon.Logs;
using Volant.Daemon.Store;

namespace Volant.Daemon.Orchestration;

/// <summary>Follows every run: sets <c>ready</c> from what the agent says, and settles the record when the hypervisor ends.</summary>
/// <remarks>The only writer of <c>crashed</c>, and of <c>stopped</c>.</remarks>
internal sealed partial class VmSupervisor(
    VolantStore store,
    HostResources resources,
    EventBus events,
    DaemonOptions options,
    LogCollector logs,
    TimeProvider clock,
    ILogger<VmSupervisor> logger)
{
    private static readonly TimeSpan StateWait = TimeSpan.FromSeconds(25);
    private static readonly TimeSpan RetryDelay = TimeSpan.FromMilliseconds(250);
    private static readonly TimeSpan LostAfter = TimeSpan.FromSeconds(15);

    /// <summary>Takes charge of a hypervisor. The caller holds the owner's lane.</summary>
    public VmRun Watch(VmOwner owner, VmRecord vm, VmProcess process, GuestEndpoint endpoint, long launchedAt)
    {
        var run = new VmRun(process, new GuestClient(endpoint, clock), launchedAt);
        owner.Run = run;
        var paths = resources.PathsOf(vm.Vm.Uid);
        run.Log = logs.Follow(vm.Name, vm.Vm.Uid, paths.LogDirectory, paths.ConsoleLog, run.Guest, run.Ended);
        _ = FollowAgentAsync(run, vm);
        _ = AwaitExitAsync(owner, run);
        return run;
    }

    /// <summary>Settles a run whose hypervisor has ended. The caller holds the owner's lane.</summary>
    public async Task<VmRecord> EndRunAsync(VmOwner owner, VmRun run)
    {
        var exit = await run.Process.Exited;
        owner.Run = null;
        await (run.Log?.DrainAsync() ?? Task.CompletedTask);
        await run.DisposeAsync();
        var vm = store.FindVm(owner.Id)!;
        var (status, reason) = Judge(run, exit);
        var record = await SettleAsync(vm, status, new VmExit { Code = exit.Code, Signal = exit.Signal, At = clock.GetUtcNow(), Reason = reason });
        run.Ready.TrySetException(new VolantException(ErrorCodes.AgentUnreachable, $"VM '{vm.Name}' ended before it was ready: {record.Vm.LastError ?? reason}"));
        _ = run.Ready.Task.Exception;
        return record;
    }

    /// <summary>Releases what a run held and records how it ended.</summary>
    public async Task<VmRecord> SettleAsync(VmRecord vm, VmStatus status, VmExit exit)
    {
        await resources.ReleaseAsync(vm, keepLogs: true);
        var error = status == VmStatus.Crashed ? Explain(vm, exit.Reason) : null;

        // What happened happened, whoever asked for it and whether they still wait.
        var record = await store.EndRunAsync(vm.Id, status, exit, error, CancellationToken.None);
        events.Publish(Describe(record, status == VmStatus.Crashed ? VmEventTypes.Crashed : VmEventTypes.Stopped, exit.Reason));
        LogEnded(vm.Name, status.ToText(), exit.Reason);
        return record;
    }

    /// <summary>An event of a VM as it is now.</summary>
    public VmEvent Describe(VmRecord vm, string type, string? message = null) => new()
    {
        Type = type,
        Name = vm.Name,
        Status = vm.Vm.Status,
        IpAddress = vm.Vm.IpAddress.Length > 0 ? vm.Vm.IpAddress : null,
        MacAddress = vm.Vm.MacAddress.Length > 0 ? vm.Vm.MacAddress : null,
        Pid = vm.Vm.Pid,
        Timestamp = clock.GetUtcNow(),
        Message = message,
    };

    private async Task AwaitExitAsync(VmOwner owner, VmRun run)
    {
        await run.Process.Exited;
        await owner.Lane.WaitAsync();
        try
        {
            if (owner.Run == run)
            {
                await EndRunAsync(owner, run);
            }
        }
        catch (Exception e)
        {
            LogSettleFailed(e, owner.Name);
        }
        finally
        {
            owner.Lane.Release();
        }
    }

    private async Task FollowAgentAsync(VmRun run, VmRecord vm)
    {
        var started = clock.GetTimestamp();
        var lastAnswer = (long?)null;
        var revision = 0L;
        var ready = vm.Vm.Ready;
        while (!run.Ended.IsCancellationRequested)
        {
            try
            {
                var state = await run.Guest.GetStateAsync(revision, StateWait, run.Ended);
                lastAnswer = clock.GetTimestamp();
                revision = state.Revision;
                if (state.Ready != ready || (ready && !run.Ready.Task.IsCompleted))
                {
                    ready = state.Ready;
                    await PublishReadyAsync(run, vm, ready, state.Workload.Message);
                }
            }
            catch (OperationCanceledException)
            {
                // The run ended; the loop's condition sees it.
            }
            catch (Exception e)
            {
                revision = 0;
                if (ready && lastAnswer is { } seen && clock.GetElapsedTime(seen) > LostAfter)
                {
                    ready = false;
                    await PublishReadyAsync(run, vm, ready, e.Message);
                }
                else if (lastAnswer is null && vm.Vm.BootMs is null && clock.GetElapsedTime(started) > options.BootTimeout)
                {
                    run.KilledBecause = string.Create(CultureInfo.InvariantCulture, $"the agent did not answer within {options.BootTimeout.TotalSeconds:0} s of the launch");
                    await run.Process.KillAsync();
                    return;
                }

                LogAgentSilent(e, vm.Name);
                await Task.Delay(RetryDelay, clock, CancellationToken.None);
            }
        }
    }

    private async Task PublishReadyAsync(VmRun run, VmRecord vm, bool ready, string? message)
    {
        long? bootMs = !ready ? null
            : run.LaunchedAt != 0 ? (long)clock.GetElapsedTime(run.LaunchedAt).TotalMilliseconds
            : vm.Vm.StartedAt is { } at ? (long)(clock.GetUtcNow() - at).TotalMilliseconds : null;
        var record = await store.SetReadyAsync(vm.Id, ready, bootMs, CancellationToken.None);
        if (record is not { Vm.Status: VmStatus.Running })
        {
            return;
        }

        if (ready)
        {
            run.Ready.TrySetResult();
            events.Publish(Describe(record, VmEventTypes.Ready));
            LogReady(vm.Name, bootMs ?? 0);
        }
        else
        {
            LogNotReady(vm.Name, message ?? "no reason given");
        }
    }

    /// <summary>What an exit means, in a status and in words.</summary>
    internal static (VmStatus Status, string Reason) Judge(VmRun run, HypervisorExit exit)
    {
        if (run.StopAsked)
        {
            return (VmStatus.Stopped, exit.Reason == "guest-shutdown" ? "stopped on request; the guest powered off" : "stopped on request; the hypervisor was ended");
        }

        if (run.KilledBecause is { } because)
        {
            return (VmStatus.Crashed, because);
        }

        return exit switch
        {
            { Reason: "guest-shutdown" } => (VmStatus.Stopped, "the guest powered off"),
            { Reason: "guest-reset" } => (VmStatus.Crashed, "the guest rebooted or its kernel panicked"),
            { Reason: "guest-panic" } => (VmStatus.Crashed, "the guest's kernel panicked"),
            { Reason: "host-signal" } => (VmStatus.Crashed, "the hypervisor was ended by a signal from the host"),
            { Signal: { } signal } => (VmStatus.Crashed, string.Create(CultureInfo.InvariantCulture, $"the hypervisor was killed by signal {signal}")),
            { Code: { } code } => (VmStatus.Crashed, string.Create(CultureInfo.InvariantCulture, $"the hypervisor exited with code {code}")),
            _ => (VmStatus.Crashed, "the hypervisor is gone"),
        };
    }

    private string Explain(VmRecord vm, string reason)
    {
        var tail = LogTail.Read(resources.PathsOf(vm.Vm.Uid).ConsoleLog, maxLines: 5);
        return tail.Count == 0 ? reason : $"{reason}; last console lines: {string.Join(" | ", tail)}";
    }

    [LoggerMessage(EventId = 1101, Level = LogLevel.Information, Message = "VM {Vm} is ready after {BootMs} ms")]
    private partial void LogReady(string vm, long bootMs);

    [LoggerMessage(EventId = 1102, Level = LogLevel.Warning, Message = "VM {Vm} is not ready any more: {Reason}")]
    private partial void LogNotReady(string vm, string reason);

    [LoggerMessage(EventId = 1103, Level = LogLevel.Information, Message = "VM {Vm} is {Status}: {Reason}")]
    private partial void LogEnded(string vm, string status, string reason);

    [LoggerMessage(EventId = 1104, Level = LogLevel.Error, Message = "The end of VM {Vm} could not be settled; the reconciler tries again")]
    private partial void LogSettleFailed(Exception exception, string vm);

    [LoggerMessage(EventId = 1105, Level = LogLevel.Debug, Message = "The agent of VM {Vm} does not answer")]
    private partial void LogAgentSilent(Exception exception, string vm);
}
