using System.Net;
using Volant.Contracts.Api;
using Volant.Linux.Processes;

namespace Volant.Daemon.Store;

/// <summary>A VM as the store knows it: what the API shows, and what only the daemon needs.</summary>
/// <param name="Vm">What the API shows.</param>
/// <param name="Deleting">A delete was asked for and is not finished.</param>
/// <param name="Process">The hypervisor that was launched last and is not known to be gone.</param>
/// <param name="LinkKey">Key of the virtio-serial link, 16 bytes.</param>
/// <param name="Directory">Runtime directory of this VM.</param>
internal sealed record VmRecord(Vm Vm, bool Deleting, ProcessIdentity? Process, byte[] LinkKey, string Directory)
{
    /// <summary>Rises with every change of the record; its ETag.</summary>
    public long Revision { get; init; }

    /// <summary>Failed starts in a row by the restart policy.</summary>
    public int RestartAttempts { get; init; }

    /// <summary>Number of the VM.</summary>
    public long Id => Vm.Id;

    /// <summary>Name of the VM.</summary>
    public string Name => Vm.Name;
}

/// <summary>A VM that is to be recorded.</summary>
internal sealed record NewVm
{
    public required Guid Uid { get; init; }

    public required string Name { get; init; }

    public required string Plugin { get; init; }

    public required string Runtime { get; init; }

    public required string Hypervisor { get; init; }

    public required string NetworkMode { get; init; }

    /// <summary>Null without Ethernet.</summary>
    public string? MacAddress { get; init; }

    /// <summary>Where an address is leased from; null when the host manages none.</summary>
    public AddressRange? Addresses { get; init; }

    /// <summary>Ports of the host that it publishes.</summary>
    public IReadOnlyList<PortLease> Ports { get; init; } = [];

    public required int CpuCores { get; init; }

    public required int MemoryMib { get; init; }

    public required string KernelCmdline { get; init; }

    public required byte[] LinkKey { get; init; }

    public required string Directory { get; init; }

    public required string SerialSocket { get; init; }

    public required VmConfig Config { get; init; }

    /// <summary>The deployment that it belongs to; null for none.</summary>
    public ReplicaOf? Replica { get; init; }

    /// <summary>What the first start will hold on the host.</summary>
    public required IReadOnlyList<HostResource> Resources { get; init; }

    /// <summary>PCI devices that it leases.</summary>
    public IReadOnlyList<string> Devices { get; init; } = [];

    /// <summary>Its disks that come from an image.</summary>
    public IReadOnlyList<DiskRecord> Disks { get; init; } = [];

    /// <summary>Volumes that it holds.</summary>
    public IReadOnlyList<VolumeLease> Volumes { get; init; } = [];
}

/// <summary>What a start of an existing VM changes in its record.</summary>
internal sealed record NewStart
{
    public required string Plugin { get; init; }

    public required string Runtime { get; init; }

    public required string NetworkMode { get; init; }

    /// <summary>Null without Ethernet.</summary>
    public string? MacAddress { get; init; }

    /// <summary>Where an address is leased from when it has none; null gives the address back.</summary>
    public AddressRange? Addresses { get; init; }

    /// <summary>Ports of the host that its configuration publishes now; others are given back.</summary>
    public IReadOnlyList<PortLease> Ports { get; init; } = [];

    public required int CpuCores { get; init; }

    public required int MemoryMib { get; init; }

    public required string KernelCmdline { get; init; }

    /// <summary>What the start will hold on the host.</summary>
    public required IReadOnlyList<HostResource> Resources { get; init; }

    /// <summary>PCI devices that it leases.</summary>
    public IReadOnlyList<string> Devices { get; init; } = [];

    /// <summary>Its disks that come from an image.</summary>
    public IReadOnlyList<DiskRecord> Disks { get; init; } = [];

    /// <summary>Volumes that it holds.</summary>
    public IReadOnlyList<VolumeLease> Volumes { get; init; } = [];

    /// <summary>Whether the restart policy asked for it.</summary>
    public required bool Automatic { get; init; }
}

/// <summary>How a run ended.</summary>
internal sealed record EndedRun
{
    public required VmStatus Status { get; init; }

    public required VmExit Exit { get; init; }

    /// <summary>In words, when it was a fault.</summary>
    public string? Error { get; init; }

    /// <summary>When it is started again; null when it is not.</summary>
    public DateTimeOffset? RestartAt { get; init; }

    /// <summary>Failed starts in a row.</summary>
    public int RestartAttempts { get; init; }
}

/// <summary>One thing that a VM holds on the host.</summary>
/// <param name="Kind">Which kind; one of each per VM.</param>
/// <param name="Name">Its name on the host.</param>
internal sealed record HostResource(string Kind, string Name);

/// <summary>IPv4 addresses to lease from, as numbers in host byte order.</summary>
/// <param name="First">First usable address.</param>
/// <param name="Last">Last usable address.</param>
/// <param name="Reserved">Ranges that are never leased, in any order: the host's own address, and what the operator keeps for others.</param>
internal sealed record AddressRange(uint First, uint Last, IReadOnlyList<(uint First, uint Last)> Reserved)
{
    /// <summary>Ranges that are never leased, ascending.</summary>
    public IReadOnlyList<(uint First, uint Last)> Reserved { get; } = [.. Reserved.Order()];

    /// <summary>The IPv6 address that goes with an IPv4 address; null to give none.</summary>
    public Func<IPAddress, IPAddress>? IPv6Of { get; init; }

    /// <summary>Whether a number may be leased.</summary>
    public bool Contains(long number) => number >= First && number <= Last && !Reserved.Any(range => number >= range.First && number <= range.Last);

    /// <summary>A number, or the first after it that is not reserved; it may lie beyond <see cref="Last"/>.</summary>
    public long SkipReserved(long number)
    {
        foreach (var (first, last) in Reserved)
        {
            number = number >= first && number <= last ? last + 1L : number;
        }

        return number;
    }
}

/// <summary>Which VMs to list, in which order.</summary>
internal sealed record VmFilter
{
    public IReadOnlyList<VmStatus> Statuses { get; init; } = [];

    public string? Runtime { get; init; }

    public string? Plugin { get; init; }

    /// <summary>Part of the name, the address or the runtime.</summary>
    public string? Contains { get; init; }

    /// <summary>A column of <see cref="SortColumns"/>.</summary>
    public string Sort { get; init; } = "created_at";

    public bool Descending { get; init; }

    public int Limit { get; init; } = 1000;

    public int Offset { get; init; }

    /// <summary>What may be sorted by.</summary>
    public static IReadOnlyList<string> SortColumns { get; } = ["created_at", "updated_at", "name", "status", "runtime"];
}
