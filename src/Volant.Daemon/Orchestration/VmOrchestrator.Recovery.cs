using Volant.Contracts.Api;
using Volant.Daemon.Hypervisors;
using Volant.Daemon.Store;
using Volant.Linux.Processes;

namespace Volant.Daemon.Orchestration;

// What a daemon does with the VMs of the one before it.
internal sealed partial class VmOrchestrator
{
    /// <summary>Refuses a subnet that leaves out addresses which VMs have: their guests would be cut off, or others would get their addresses.</summary>
    /// <exception cref="ConfigurationException">The message names those VMs and the remedy.</exception>
    public void CheckSubnet()
    {
        var outside = store.ListLeases().Where(lease => !subnet.IsUsable(lease.Address)).ToList();
        if (outside.Count > 0)
        {
            var named = string.Join(", ", outside.Take(5).Select(lease => $"{lease.Vm} ({lease.Address})")) + (outside.Count > 5 ? $" and {outside.Count - 5} others" : string.Empty);
            throw new ConfigurationException(
                $"VOLANT_SUBNET: '{subnet}' with the host's address {subnet.HostAddress} leaves out the addresses of VMs: {named}; expected the subnet of before as long as these VMs exist. Start with that, delete them, then change it.");
        }
    }

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

    /// <summary>Repairs the tap of a run, or says that its network is lost; leaves it alone when an operation is under way, or the run is over.</summary>
    /// <param name="owner">The VM's owner.</param>
    /// <param name="run">The run whose tap was looked at.</param>
    /// <param name="isLost">Whether it cannot be repaired.</param>
    /// <exception cref="VolantException"><c>network_unavailable</c>.</exception>
    public async Task RepairNetworkAsync(VmOwner owner, VmRun run, bool isLost)
    {
        if (!await owner.Lane.WaitAsync(TimeSpan.Zero))
        {
            return;
        }

        try
        {
            if (owner.Run != run || store.FindVm(owner.Id) is not { } vm)
            {
                return;
            }

            if (isLost)
            {
                await supervisor.ReportNetworkLostAsync(run, vm);
            }
            else
            {
                await resources.RepairNetworkAsync(vm);
                LogNetworkRepaired(vm.Name);
            }
        }
        finally
        {
            owner.Lane.Release();
        }
    }

    private async Task AdoptAsync(VmOwner owner, VmRecord vm, VmProcess process)
    {
        if (vm.Vm.Status == VmStatus.Starting)
        {
            vm = await store.SetStatusAsync(vm.Id, VmStatus.Running, desired: null, CancellationToken.None);
        }

        var run = supervisor.Watch(owner, vm, process, EndpointOf(vm, launcher.Capabilities.HostVsock ? vm.Vm.VsockCid : null), launchedAt: 0);
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

    [LoggerMessage(EventId = 1007, Level = LogLevel.Warning, Message = "The tap of VM {Vm}, or what its guest may send, was changed by somebody and is put right")]
    private partial void LogNetworkRepaired(string vm);
}
