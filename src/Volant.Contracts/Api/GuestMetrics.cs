namespace Volant.Contracts.Api;

/// <summary>Counters and gauges of a guest: answer of the agent's <c>GET /v1/metrics</c> (<c>/api/v1/vms/{name}/agent/v1/metrics</c> of the daemon).</summary>
/// <remarks>Counters start with the guest and only grow; a rate is the difference of two answers by that of their <see cref="Uptime"/>. What a kernel does not tell is absent.</remarks>
public sealed record GuestMetrics
{
    /// <summary>Seconds since the guest kernel started.</summary>
    public required double Uptime { get; init; }

    /// <summary>Processors.</summary>
    public required CpuMetrics Cpu { get; init; }

    /// <summary>Memory.</summary>
    public required MemoryMetrics Memory { get; init; }

    /// <summary>Mounted file systems that hold data: those of disks, and the root.</summary>
    public required IReadOnlyList<FileSystemMetrics> FileSystems { get; init; }

    /// <summary>Block devices; partitions, loop and RAM devices left out.</summary>
    public required IReadOnlyList<DiskMetrics> Disks { get; init; }

    /// <summary>Network interfaces, loopback left out.</summary>
    public required IReadOnlyList<NetworkMetrics> Network { get; init; }

    /// <summary>The agent itself.</summary>
    public required AgentMetrics Agent { get; init; }

    /// <summary>Workload and commands together; absent without cgroup v2.</summary>
    public WorkloadMetrics? Workload { get; init; }
}

/// <summary>Time of all processors together, in seconds.</summary>
public sealed record CpuMetrics
{
    /// <summary>How many are online.</summary>
    public required int Count { get; init; }

    /// <summary>In programs.</summary>
    public required double UserSeconds { get; init; }

    /// <summary>In the kernel, interrupts included.</summary>
    public required double SystemSeconds { get; init; }

    /// <summary>Doing nothing.</summary>
    public required double IdleSeconds { get; init; }

    /// <summary>Waiting for a disk.</summary>
    public required double WaitSeconds { get; init; }

    /// <summary>Taken by the host.</summary>
    public required double StealSeconds { get; init; }

    /// <summary>Runnable processes on average over 1, 5 and 15 minutes.</summary>
    public required IReadOnlyList<double> Load { get; init; }
}

/// <summary>Memory in bytes.</summary>
public sealed record MemoryMetrics
{
    /// <summary>All that the kernel manages.</summary>
    public required long TotalBytes { get; init; }

    /// <summary>Free, or free for the asking.</summary>
    public required long AvailableBytes { get; init; }

    /// <summary>Unused.</summary>
    public required long FreeBytes { get; init; }

    /// <summary>Cached files.</summary>
    public required long CachedBytes { get; init; }

    /// <summary>Swap space.</summary>
    public required long SwapTotalBytes { get; init; }

    /// <summary>Unused swap space.</summary>
    public required long SwapFreeBytes { get; init; }
}

/// <summary>A mounted file system.</summary>
public sealed record FileSystemMetrics
{
    /// <summary>Where it is mounted.</summary>
    public required string Mount { get; init; }

    /// <summary>Device or name.</summary>
    public required string Device { get; init; }

    /// <summary>Type.</summary>
    public required string Type { get; init; }

    /// <summary>Size in bytes.</summary>
    public required long TotalBytes { get; init; }

    /// <summary>Bytes that programs without privileges can still write.</summary>
    public required long AvailableBytes { get; init; }
}

/// <summary>A block device.</summary>
public sealed record DiskMetrics
{
    /// <summary>Name, <c>vda</c>.</summary>
    public required string Name { get; init; }

    /// <summary>Bytes read.</summary>
    public required long ReadBytes { get; init; }

    /// <summary>Bytes written.</summary>
    public required long WrittenBytes { get; init; }

    /// <summary>Finished reads.</summary>
    public required long Reads { get; init; }

    /// <summary>Finished writes.</summary>
    public required long Writes { get; init; }
}

/// <summary>A network interface.</summary>
public sealed record NetworkMetrics
{
    /// <summary>Name, <c>eth0</c>.</summary>
    public required string Name { get; init; }

    /// <summary>Bytes received.</summary>
    public required long ReceivedBytes { get; init; }

    /// <summary>Bytes sent.</summary>
    public required long SentBytes { get; init; }

    /// <summary>Packets received.</summary>
    public required long ReceivedPackets { get; init; }

    /// <summary>Packets sent.</summary>
    public required long SentPackets { get; init; }

    /// <summary>Packets that arrived broken or could not be sent.</summary>
    public required long Errors { get; init; }

    /// <summary>Packets dropped, both ways.</summary>
    public required long Dropped { get; init; }
}

/// <summary>What the agent itself uses.</summary>
public sealed record AgentMetrics
{
    /// <summary>Processor time.</summary>
    public required double CpuSeconds { get; init; }

    /// <summary>Resident memory.</summary>
    public required long ResidentBytes { get; init; }

    /// <summary>Threads.</summary>
    public required int Threads { get; init; }

    /// <summary>Open descriptors.</summary>
    public required int OpenFiles { get; init; }

    /// <summary>Commands that run now.</summary>
    public required int Commands { get; init; }
}

/// <summary>What workload and commands use together, and the limits that keep the agent alive beside them.</summary>
public sealed record WorkloadMetrics
{
    /// <summary>Processor time.</summary>
    public required double CpuSeconds { get; init; }

    /// <summary>Memory, cached files included.</summary>
    public required long MemoryBytes { get; init; }

    /// <summary>Most memory that they may use.</summary>
    public long? MemoryLimitBytes { get; init; }

    /// <summary>Processes and threads.</summary>
    public required long Processes { get; init; }

    /// <summary>Most processes and threads that they may have.</summary>
    public long? ProcessLimit { get; init; }

    /// <summary>Processes that were ended because the memory limit was reached.</summary>
    public required long OutOfMemoryKills { get; init; }

    /// <summary>Processes or threads that were refused because the limit was reached.</summary>
    public required long ForksRefused { get; init; }
}
