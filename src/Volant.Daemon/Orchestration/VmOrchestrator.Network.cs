using Volant.Contracts;
using Volant.Contracts.Api;
using Volant.Daemon.Networking;
using Volant.Daemon.Store;
using Volant.Daemon.Telemetry;

namespace Volant.Daemon.Orchestration;

// Addresses of VMs, and what becomes of their taps while they run.
internal sealed partial class VmOrchestrator
{
    /// <summary>The addresses that VMs may have.</summary>
    private AddressRange Pool { get; } = ToRange(subnet);

    private static AddressRange ToRange(Subnet subnet)
    {
        var (first, last, reserved) = subnet.Range();
        return new AddressRange(first, last, reserved) { IPv6Of = subnet.IPv6 is { } prefix ? prefix.AddressOf : null };
    }

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
                await store.AppendEventAsync(vm.Id, VmEventTypes.NetworkRepaired, "the tap, or what its guest may send, was changed by somebody", CancellationToken.None);
                Instruments.NetworkRepairs.Add(1);
                LogNetworkRepaired(vm.Name);
            }
        }
        finally
        {
            owner.Lane.Release();
        }
    }

    /// <summary>Where a VM's address comes from; null when the host gives it none.</summary>
    /// <exception cref="VolantException"><c>unsupported</c>: the plan asks for a network that this host does not have.</exception>
    private AddressRange? PoolOf(LaunchPlan plan)
    {
        if (!resources.LeasesAddress(plan))
        {
            return null;
        }

        List<FieldError> faults = [];
        Require(plan.Network?.Subnet, subnet.ToString(), "subnet");
        Require(plan.Network?.Gateway, subnet.HostAddress.ToString(), "gateway");
        if (plan.Network?.AutoAssign is false)
        {
            faults.Add(new("config.network.auto_assign", "must be true: this host assigns the addresses of its guests"));
        }

        var words = string.Join("; ", faults.Select(fault => $"{fault.Path} {fault.Message}"));
        return faults.Count == 0 ? Pool : throw new VolantException(ErrorCodes.Unsupported, $"This host cannot give the guest the network that it asks for: {words}.") { Fields = faults };

        void Require(string? wanted, string has, string field)
        {
            if (wanted is not null && wanted != has)
            {
                faults.Add(new($"config.network.{field}", $"must be '{has}', the {field} of this host's guests, or absent"));
            }
        }
    }

    [LoggerMessage(EventId = 1007, Level = LogLevel.Warning, Message = "The tap of VM {Vm}, or what its guest may send, was changed by somebody and is put right")]
    private partial void LogNetworkRepaired(string vm);
}
