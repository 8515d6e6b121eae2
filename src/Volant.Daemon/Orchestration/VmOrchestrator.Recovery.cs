using Volant.Contracts.Api;
using Volant.Daemon.Hypervisors;
using Volant.Daemon.Store;
using Volant.Linux.Processes;

namespace Volant.Daemon.Orchestration;

// What a daemon does with the VMs of the one before it.
internal sealed partial class VmOrchestrator
{
    /// <summary>Takes charge of a VM that an earlier daemon launched, or settles its record. The caller holds the owner's lane.</summary>
    /// <param name="owner">Its owner.</param>
    /// <param name="vm">Its record.</param>
    /// <param name="unseen">Why nobody saw the hypervisor end, if it has.</param>
    public async Task RecoverAsync(VmOwner owner, VmRecord vm, string unseen)
    {
        if (vm.Deleting)
        {
            await DeleteInLaneAsync(owner);
            return;
        }

        if (vm.Vm.Status is VmStatus.Stopped or VmStatus.Crashed && vm.Process is null)
        {
            return;
        }

        var handle = vm.Process is { } identity ? new VmHandle(vm.Vm.Uid, identity, resources.PathsOf(vm.Vm.Uid)) : null;
        if (handle is not null && await launcher.TryAdoptAsync(handle, CancellationToken.None) is { } process)
        {
            await AdoptAsync(owner, vm, process);
        }
        else if (vm.Vm is { Status: VmStatus.Starting or VmStatus.Pending, StartedAt: null })
        {
            // The create was never answered, and nothing of it runs: it did not happen.
            await DeleteInLaneAsync(owner);
        }
        else
        {
            var stopping = vm.Vm.Status == VmStatus.Stopping;
            var reason = stopping ? $"stopped on request; it ended {unseen}"
                : handle is not null && handle.Process.BootId != ProcessIdentity.CurrentBootId ? "the host was restarted"
                : $"the hypervisor ended {unseen}";
            var exit = new VmExit { At = clock.GetUtcNow(), Reason = reason, AskedBy = stopping ? vm.Vm.Exit?.AskedBy ?? Itself : null };
            await supervisor.SettleAsync(vm, stopping ? VmStatus.Stopped : VmStatus.Crashed, exit, ran: TimeSpan.Zero);
        }
    }

    /// <summary>Finishes a delete that an earlier attempt did not.</summary>
    public Task FinishDeleteAsync(VmOwner owner) => InLaneAsync(
        "finish-delete",
        owner.Name,
        async current =>
        {
            await DeleteInLaneAsync(current);
            return true;
        },
        CancellationToken.None);

    private async Task AdoptAsync(VmOwner owner, VmRecord vm, VmProcess process)
    {
        if (vm.Vm.Status == VmStatus.Starting)
        {
            vm = await store.SetStatusAsync(vm.Id, VmStatus.Running, desired: null, CancellationToken.None);
        }

        var run = supervisor.Watch(owner, vm, process, EndpointOf(vm, process), launchedAt: 0);
        resources.Reopen(vm);
        LogAdopted(vm.Name, process.Handle.Process.Pid);
        if (vm.Vm.Status == VmStatus.Stopping)
        {
            run.StopAskedBy = vm.Vm.Exit?.AskedBy ?? Itself;
            _ = ending.EndAsync(run, owner.Name, DefaultGrace);
        }
    }

    [LoggerMessage(EventId = 1006, Level = LogLevel.Information, Message = "VM {Vm} is adopted, hypervisor process {ProcessId}")]
    private partial void LogAdopted(string vm, int processId);

}
