using System.Text.Json;
using System.Text.Json.Serialization;
using Volant.Contracts.Manifests;

namespace Volant.Contracts.Api;

/// <summary>Body of <c>POST /api/v1/vms</c>.</summary>
[JsonUnmappedMemberHandling(JsonUnmappedMemberHandling.Disallow)]
public sealed record CreateVmRequest
{
    /// <summary>Unique name, a DNS label.</summary>
    public string? Name { get; init; }

    /// <summary>Installed plugin to boot.</summary>
    public string? Plugin { get; init; }

    /// <summary>Runtime family; the manifest's when absent.</summary>
    public string? Runtime { get; init; }

    /// <summary>Virtual CPUs; the manifest's when absent.</summary>
    public int? CpuCores { get; init; }

    /// <summary>Memory in MiB; the manifest's when absent.</summary>
    public int? MemoryMb { get; init; }

    /// <summary>Words to append to the kernel command line.</summary>
    public string? KernelCmdline { get; init; }

    /// <summary>Address that the agent's TCP listener binds in the guest.</summary>
    public string? ApiHost { get; init; }

    /// <summary>Port of the agent's TCP listener.</summary>
    public int? ApiPort { get; init; }

    /// <summary>Configuration that overrides the manifest.</summary>
    public VmConfig? Config { get; init; }
}

/// <summary>Configuration of one VM; what is absent comes from the manifest (contract §5).</summary>
[JsonUnmappedMemberHandling(JsonUnmappedMemberHandling.Disallow)]
public sealed record VmConfig
{
    /// <summary>Plugin name.</summary>
    public string? Plugin { get; init; }

    /// <summary>Runtime family.</summary>
    public string? Runtime { get; init; }

    /// <summary>Words to append to the kernel command line.</summary>
    public string? KernelCmdline { get; init; }

    /// <summary>Kernel image on the host, below an image directory.</summary>
    public string? KernelOverride { get; init; }

    /// <summary>Size.</summary>
    public ManifestResources? Resources { get; init; }

    /// <summary>TCP listener of the agent.</summary>
    public ApiEndpoint? Api { get; init; }

    /// <summary>A manifest in place of the plugin's.</summary>
    public PluginManifest? Manifest { get; init; }

    /// <summary>Passed-through devices.</summary>
    public DeviceConfig? Devices { get; init; }

    /// <summary>Free data of the user.</summary>
    public JsonElement? Metadata { get; init; }

    /// <summary>Published ports.</summary>
    public IReadOnlyList<ExposedPort>? Expose { get; init; }

    /// <summary>NoCloud documents.</summary>
    public CloudInit? CloudInit { get; init; }

    /// <summary>Network.</summary>
    public NetworkConfig? Network { get; init; }

    /// <summary>What happens when the VM ends without being asked to.</summary>
    public RestartConfig? Restart { get; init; }

    /// <summary>Initial RAM filesystem in place of the manifest's.</summary>
    public BootMedia? Initramfs { get; init; }

    /// <summary>Root image in place of the manifest's; it counts until the root disk is made, at the first start that has one.</summary>
    public RootfsMedia? Rootfs { get; init; }

    /// <summary>Volumes that it has while it runs.</summary>
    public IReadOnlyList<VolumeAttachment>? Volumes { get; init; }
}

/// <summary>What happens when a VM ends without being asked to.</summary>
[JsonUnmappedMemberHandling(JsonUnmappedMemberHandling.Disallow)]
public sealed record RestartConfig
{
    /// <summary>"no" (default), "on-failure" (after a crash) or "always" (after a power-off by the guest, too).</summary>
    public string? Policy { get; init; }

    /// <summary>Failed attempts in a row after which it is left alone; 0 (default) for no limit, at most 1,000.</summary>
    public int? MaxAttempts { get; init; }

    /// <summary>Milliseconds before the first attempt, doubled with each one up to a minute; 10 to 60,000, default 1,000.</summary>
    public int? BackoffMs { get; init; }

    /// <summary>Milliseconds of running after which earlier failures are forgotten; 1,000 to 86,400,000, default 60,000.</summary>
    public int? StableAfterMs { get; init; }
}

/// <summary>The configuration of a VM with its version.</summary>
public sealed record VmConfigVersion
{
    /// <summary>Number of the record; only in the history.</summary>
    public long? Id { get; init; }

    /// <summary>Rises by one with every change, from 1.</summary>
    public required int Version { get; init; }

    /// <summary>When it was written.</summary>
    public required DateTimeOffset UpdatedAt { get; init; }

    /// <summary>The configuration.</summary>
    public required VmConfig Config { get; init; }
}

/// <summary>Where the agent's TCP listener binds in the guest.</summary>
[JsonUnmappedMemberHandling(JsonUnmappedMemberHandling.Disallow)]
public sealed record ApiEndpoint
{
    /// <summary>IP address.</summary>
    public string? Host { get; init; }

    /// <summary>Port, 1 to 65,535.</summary>
    public int? Port { get; init; }
}

/// <summary>A guest port published on the host; each host port leads to one VM or deployment.</summary>
[JsonUnmappedMemberHandling(JsonUnmappedMemberHandling.Disallow)]
public sealed record ExposedPort
{
    /// <summary>Name, for people.</summary>
    public string? Name { get; init; }

    /// <summary>"tcp" (default) or "udp".</summary>
    public string? Protocol { get; init; }

    /// <summary>Port in the guest, 1 to 65,535.</summary>
    public int? Port { get; init; }

    /// <summary>Port on the host, 1 to 65,535; when it is absent or 0 a free one, which <c>GET /api/v1/drift/routes</c> tells.</summary>
    public int? HostPort { get; init; }

    /// <summary>How the guest is reached: "bridged" by its address, "vsock" and "dhcp" by the guest channel; the VM's network mode when absent. "vsock" suits every VM.</summary>
    public string? Mode { get; init; }
}

/// <summary>A VM as the API shows it (contract §2).</summary>
public sealed record Vm
{
    /// <summary>Number of the VM, never used again.</summary>
    public required long Id { get; init; }

    /// <summary>Unique name.</summary>
    public required string Name { get; init; }

    /// <summary>Identity that names everything on the host.</summary>
    public required Guid Uid { get; init; }

    /// <summary>Observed status.</summary>
    public required VmStatus Status { get; init; }

    /// <summary>Whether the agent answers and the workload's health check passes.</summary>
    public required bool Ready { get; init; }

    /// <summary>What the user wants.</summary>
    public required DesiredState Desired { get; init; }

    /// <summary>Plugin it was made from.</summary>
    public required string Plugin { get; init; }

    /// <summary>Runtime family.</summary>
    public required string Runtime { get; init; }

    /// <summary>Deployment it belongs to.</summary>
    public string? Deployment { get; init; }

    /// <summary>"qemu" or "cloud-hypervisor".</summary>
    public required string Hypervisor { get; init; }

    /// <summary>Host process id of the hypervisor while it lives.</summary>
    public int? Pid { get; init; }

    /// <summary>See <see cref="NetworkModes"/>.</summary>
    public required string NetworkMode { get; init; }

    /// <summary>IPv4 address; empty when the host does not manage it.</summary>
    public required string IpAddress { get; init; }

    /// <summary>IPv6 address, a unique local one (RFC 4193); absent when the host gives none (VOLANT_SUBNET6).</summary>
    public string? Ipv6Address { get; init; }

    /// <summary>MAC address of the guest; empty without Ethernet.</summary>
    public required string MacAddress { get; init; }

    /// <summary>Vsock context id, 3 or more.</summary>
    public required long VsockCid { get; init; }

    /// <summary>Virtual CPUs.</summary>
    public required int CpuCores { get; init; }

    /// <summary>Memory in MiB.</summary>
    public required int MemoryMb { get; init; }

    /// <summary>Kernel command line of the last launch, or the user's words before the first.</summary>
    public required string KernelCmdline { get; init; }

    /// <summary>Path of the serial console's unix socket.</summary>
    public required string SerialSocket { get; init; }

    /// <summary>Why the last operation failed, in words.</summary>
    public string? LastError { get; init; }

    /// <summary>How the last run ended.</summary>
    public VmExit? Exit { get; init; }

    /// <summary>How often it was started again without being asked to.</summary>
    public required int Restarts { get; init; }

    /// <summary>When it will be started again by its restart policy.</summary>
    public DateTimeOffset? RestartAt { get; init; }

    /// <summary>When the hypervisor was launched last.</summary>
    public DateTimeOffset? StartedAt { get; init; }

    /// <summary>Milliseconds from launch to ready, of the last run.</summary>
    public long? BootMs { get; init; }

    /// <summary>Version of the configuration, from 1.</summary>
    public required int ConfigVersion { get; init; }

    /// <summary>When it was created.</summary>
    public required DateTimeOffset CreatedAt { get; init; }

    /// <summary>When its record last changed.</summary>
    public required DateTimeOffset UpdatedAt { get; init; }
}

/// <summary>How a run of a VM ended.</summary>
public sealed record VmExit
{
    /// <summary>Exit code of the hypervisor, when it is known.</summary>
    public int? Code { get; init; }

    /// <summary>Signal that ended the hypervisor.</summary>
    public int? Signal { get; init; }

    /// <summary>When it ended.</summary>
    public required DateTimeOffset At { get; init; }

    /// <summary>Why, in words.</summary>
    public required string Reason { get; init; }

    /// <summary>Who asked for it; absent when nobody did.</summary>
    public string? AskedBy { get; init; }

    /// <summary>The last lines on the serial console, when it was not asked for.</summary>
    public IReadOnlyList<string>? LastLines { get; init; }
}
