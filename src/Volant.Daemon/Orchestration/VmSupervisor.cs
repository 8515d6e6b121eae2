using System.Globalization;
using System.Net;
using System.Net.NetworkInformation;
using System.Net.Sockets;
using Volant.Contracts.Api;
using Volant.Contracts.Boot;
using Volant.Daemon.Guests;
using Volant.Daemon.Hypervisors;
using Volant.Daemon.Logs;
using Volant.Daemon.Store;
using Volant.Daemon.Telemetry;

namespace Volant.Daemon.Orchestration;

/// <summary>Follows every run: sets <c>ready</c> from what the agent says, and settles the record when the hypervisor ends.</summary>
/// <remarks>The only writer of <c>crashed</c>, and of <c>stopped</c>.</remarks>
internal sealed partial class VmSupervisor(
    VolantStore store,
    HostResources resources,
    DaemonOptions options,
    LogCollector logs,
    TimeProvider clock,
    ILogger<VmSupervisor> logger)
{
    private const int LastLines = 20;

    private static readonly TimeSpan StateWait = TimeSpan.FromSeconds(25);
    private static readonly TimeSpan LongestTelling = TimeSpan.FromMilliseconds(250);
    private static readonly TimeSpan FirstRetry = TimeSpan.FromMilliseconds(100);
    private static readonly TimeSpan LongestRetry = TimeSpan.FromSeconds(2);

    /// <summary>How long the agent may not be reached before its VM is not ready; a hung one is noticed by pings 10 to 20 s earlier.</summary>
    private static readonly TimeSpan LostAfter = TimeSpan.FromSeconds(5);

    /// <summary>How long a guest may be silent before its restart policy, if it has one, ends it. Without one it is left alone.</summary>
    private static readonly TimeSpan HungAfter = TimeSpan.FromSeconds(120);

    /// <summary>Takes charge of a hypervisor. The caller holds the owner's lane.</summary>
    public VmRun Watch(VmOwner owner, VmRecord vm, VmProcess process, GuestEndpoint endpoint, long launchedAt)
    {
        var run = new VmRun(vm.Vm, process, new GuestClient(endpoint, clock), launchedAt)
        {
            Exposed = vm.Vm.Deployment is null ? [] : store.GetConfig(vm.Id).Expose ?? [],
        };
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
        var (status, reason) = FindBootFailure(run, vm, exit) is { } failure ? (VmStatus.Crashed, $"the guest could not boot: {failure}")
            : run.StopAskedBy is null && resources.RanOutOfMemory(vm.Vm.Uid) ? (VmStatus.Crashed, "the hypervisor used up the memory that its control group allows")
            : Judge(run, exit);
        var ended = new VmExit { Code = exit.Code, Signal = exit.Signal, At = clock.GetUtcNow(), Reason = reason, AskedBy = run.StopAskedBy };
        var ran = run.LaunchedAt != 0 ? clock.GetElapsedTime(run.LaunchedAt) : vm.Vm.StartedAt is { } at ? ended.At - at : TimeSpan.Zero;
        var record = await SettleAsync(vm, status, ended, ran);
        run.Ready.TrySetException(new VolantException(ErrorCodes.AgentUnreachable, $"VM '{vm.Name}' ended before it was ready: {record.Vm.LastError ?? reason}"));
        _ = run.Ready.Task.Exception;
        return record;
    }

    /// <summary>Releases what a run held, records how it ended, and when the restart policy starts it again.</summary>
    /// <param name="vm">The VM.</param>
    /// <param name="status"><c>stopped</c> or <c>crashed</c>.</param>
    /// <param name="exit">How it ended.</param>
    /// <param name="ran">How long it ran, for the restart policy; null when that has no say, because somebody waits for the answer.</param>
    public async Task<VmRecord> SettleAsync(VmRecord vm, VmStatus status, VmExit exit, TimeSpan? ran)
    {
        await resources.ReleaseAsync(vm, stays: true);
        var crashed = status == VmStatus.Crashed;
        var wanted = exit.AskedBy is null && vm.Vm.Desired == DesiredState.Running && !vm.Deleting;
        var decision = wanted && ran is { } time ? DecideRestart(vm, crashed, time) : new RestartDecision(null, 0, GaveUp: false);
        var lines = exit.AskedBy is null ? LogTail.Read(resources.PathsOf(vm.Vm.Uid).ConsoleLog, LastLines) : [];
        var error = !crashed ? null
            : exit.Reason + (lines.Count == 0 ? string.Empty : $"; last console lines: {string.Join(" | ", lines.TakeLast(5))}")
                + (decision.GaveUp ? $"; not started again after {decision.Attempts} attempts" : string.Empty);

        // What happened happened, whoever asked for it and whether they still wait.
        var record = await store.EndRunAsync(
            vm.Id,
            new EndedRun
            {
                Status = status,
                Exit = exit with { LastLines = lines.Count > 0 ? lines : null },
                Error = error,
                RestartAt = decision.Delay is { } delay ? clock.GetUtcNow() + delay : null,
                RestartAttempts = decision.Attempts,
            },
            CancellationToken.None);
        Instruments.Exits.Add(1, new KeyValuePair<string, object?>("status", status.ToText()));
        LogEnded(vm.Name, status.ToText(), exit.Reason);
        return record;
    }

    /// <summary>Says that a VM's tap is gone: it is not ready any more, until it is started again. Once per run.</summary>
    public async Task ReportNetworkLostAsync(VmRun run, VmRecord vm)
    {
        if (run.NetworkFault is null)
        {
            run.NetworkFault = $"somebody deleted its tap while it ran, so that its guest has no network any more; restart it with 'volar vms restart {vm.Name}'";
            await PublishReadyAsync(run, vm, ready: false, run.NetworkFault);
        }
    }

    /// <summary>What the restart policy of a VM says to the end of a run.</summary>
    public RestartDecision DecideRestart(VmRecord vm, bool crashed, TimeSpan ran) =>
        RestartPolicy.Of(store.GetConfig(vm.Id)).Decide(crashed, ran, vm.RestartAttempts, Random.Shared.NextDouble());

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
        var silentSince = started;
        var silences = 0;
        var revision = 0L;
        var clockIsSet = false;
        var ready = vm.Vm.Ready;
        while (!run.Ended.IsCancellationRequested)
        {
            try
            {
                var state = await run.Guest.GetStateAsync(revision, StateWait, run.Ended);
                (silentSince, silences, run.AgentSeen) = (clock.GetTimestamp(), 0, true);
                revision = state.Revision;
                await LearnAddressAsync(run, vm.Id, state.Addresses);
                var serves = state.Ready && run.NetworkFault is null;
                if (serves != ready || (ready && !run.Ready.Task.IsCompleted))
                {
                    ready = serves;
                    await PublishReadyAsync(run, vm, ready, run.NetworkFault ?? state.Workload.Message);
                }

                clockIsSet = clockIsSet || await TrySetClockAsync(run, vm.Name);
            }
            catch (OperationCanceledException)
            {
                // The run ended; the loop's condition sees it.
            }
            catch (Exception e)
            {
                revision = 0;

                // Until the connection broke the guest may have had nothing to say.
                silentSince = silences == 0 && run.AgentSeen ? clock.GetTimestamp() : silentSince;
                var silence = clock.GetElapsedTime(silentSince);
                if (ready && silence > LostAfter)
                {
                    ready = false;
                    await PublishReadyAsync(run, vm, ready, $"the guest's agent is silent while the hypervisor runs: {e.Message}");
                }

                if (Hopeless(run, vm, silence) is { } because)
                {
                    run.KilledBecause = because;
                    await run.Process.KillAsync();
                    return;
                }

                LogAgentSilent(e, vm.Name);
                await Task.Delay(RetryDelay(silences++), clock, CancellationToken.None);
            }
        }
    }

    /// <summary>
    /// Follows the address that somebody else's DHCP server gave the guest. The guest may lie, and gets what nobody else has:
    /// neither this host's address nor that of another VM.
    /// </summary>
    private async Task LearnAddressAsync(VmRun run, long id, IReadOnlyList<string>? addresses)
    {
        if (store.FindVm(id) is not { } known || !resources.LearnsAddress(known))
        {
            return;
        }

        var said = addresses is [var first, ..] && IPAddress.TryParse(first, out var parsed) && MayBelongToGuest(parsed) ? parsed : null;
        if ((said?.ToString() ?? string.Empty) != known.Vm.IpAddress && await store.SetLearntAddressAsync(id, said, run.Ended) is { } vm)
        {
            await resources.RepairNetworkAsync(vm);
            LogAddressLearnt(vm.Name, said?.ToString() ?? "none");
        }
    }

    private bool MayBelongToGuest(IPAddress address) =>
        address.AddressFamily == AddressFamily.InterNetwork && address.GetAddressBytes() is [> 0 and < 224 and not 127, ..] && !address.Equals(options.HostIp)
        && NetworkInterface.GetAllNetworkInterfaces().All(link => link.GetIPProperties().UnicastAddresses.All(own => !own.Address.Equals(address)));

    /// <summary>Tells the guest the time, once its agent answers; false when that is to be tried again with the next answer.</summary>
    private async Task<bool> TrySetClockAsync(VmRun run, string name)
    {
        try
        {
            // The time is as old as its way into the guest was long, and a guest that boots is busy.
            var asked = clock.GetTimestamp();
            await run.Guest.SetClockAsync(run.Ended);
            return clock.GetElapsedTime(asked) < LongestTelling;
        }
        catch (VolantException e)
        {
            LogClockNotSet(e, name);
            return false;
        }
    }

    private static TimeSpan RetryDelay(int silences) =>
        silences < 20 ? FirstRetry : TimeSpan.FromMilliseconds(Math.Min(LongestRetry.TotalMilliseconds, FirstRetry.TotalMilliseconds * (silences - 18)));

    /// <summary>Why a silent guest is ended; null while there is hope, or nobody said that it may be ended.</summary>
    private string? Hopeless(VmRun run, VmRecord vm, TimeSpan silence)
    {
        if (!run.AgentSeen && vm.Vm.BootMs is null)
        {
            return silence > options.BootTimeout
                ? string.Create(CultureInfo.InvariantCulture, $"the agent did not answer within {options.BootTimeout.TotalSeconds:0} s of the launch")
                : null;
        }

        return silence > HungAfter && RestartPolicy.Of(store.GetConfig(vm.Id)).IsActive
            ? string.Create(CultureInfo.InvariantCulture, $"the guest hung: its agent was silent for {HungAfter.TotalSeconds:0} s while the hypervisor ran")
            : null;
    }

    private async Task PublishReadyAsync(VmRun run, VmRecord vm, bool ready, string? message)
    {
        run.IsReady = ready;
        long? bootMs = !ready ? null
            : run.LaunchedAt != 0 ? (long)clock.GetElapsedTime(run.LaunchedAt).TotalMilliseconds
            : vm.Vm.StartedAt is { } at && clock.GetUtcNow() is var now && now >= at ? (long)(now - at).TotalMilliseconds : null;
        if (await store.SetReadyAsync(vm.Id, ready, bootMs, ready ? null : message ?? "no reason given", CancellationToken.None) is not { } record)
        {
            return;
        }

        if (ready)
        {
            if (run.Ready.TrySetResult() && run.LaunchedAt != 0)
            {
                Instruments.RecordBoot(clock, run.LaunchedAt, "ready");
            }

            LogReady(vm.Name, record.Vm.BootMs ?? 0);
        }
        else
        {
            LogNotReady(vm.Name, message ?? "no reason given");
        }
    }

    /// <summary>Why a guest that powered off before its agent answered could not boot, in its own words; null when it did not say so.</summary>
    private string? FindBootFailure(VmRun run, VmRecord vm, HypervisorExit exit) =>
        exit.Reason == "guest-shutdown" && run is { AgentSeen: false, StopAskedBy: null, KilledBecause: null } && vm.Vm.BootMs is null
            ? BootFailure.Find(LogTail.Read(resources.PathsOf(vm.Vm.Uid).ConsoleLog, LastLines))
            : null;

    /// <summary>What an exit means, in a status and in words.</summary>
    internal static (VmStatus Status, string Reason) Judge(VmRun run, HypervisorExit exit)
    {
        if (run.StopAskedBy is not null)
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

    [LoggerMessage(EventId = 1101, Level = LogLevel.Information, Message = "VM {Vm} is ready; its boot took {BootMs} ms")]
    private partial void LogReady(string vm, long bootMs);

    [LoggerMessage(EventId = 1102, Level = LogLevel.Warning, Message = "VM {Vm} is not ready any more: {Reason}")]
    private partial void LogNotReady(string vm, string reason);

    [LoggerMessage(EventId = 1103, Level = LogLevel.Information, Message = "VM {Vm} is {Status}: {Reason}")]
    private partial void LogEnded(string vm, string status, string reason);

    [LoggerMessage(EventId = 1104, Level = LogLevel.Error, Message = "The end of VM {Vm} could not be settled; the reconciler tries again")]
    private partial void LogSettleFailed(Exception exception, string vm);

    [LoggerMessage(EventId = 1105, Level = LogLevel.Debug, Message = "The agent of VM {Vm} does not answer")]
    private partial void LogAgentSilent(Exception exception, string vm);

    [LoggerMessage(EventId = 1107, Level = LogLevel.Information, Message = "The guest of VM {Vm} has the address {Address} by DHCP")]
    private partial void LogAddressLearnt(string vm, string address);

    [LoggerMessage(EventId = 1106, Level = LogLevel.Debug, Message = "The clock of VM {Vm} could not be set")]
    private partial void LogClockNotSet(Exception exception, string vm);
}
