using System.Text.Json.Serialization;

namespace Volant.Daemon.Hypervisors.CloudHypervisor;

// The bodies of Cloud Hypervisor's API, as far as they are used. Source: Cloud Hypervisor, vmm/src/api/openapi/cloud-hypervisor.yaml; the members
// have its names in snake case, its units (bytes) and its ranges. All that matters is written out, whatever the default: defaults have changed.

/// <summary>Body of <c>vm.create</c>: <c>VmConfig</c>.</summary>
internal sealed record VmConfigBody(
    PayloadBody Payload,
    CpusBody Cpus,
    MemoryBody Memory,
    IReadOnlyList<DiskBody>? Disks,
    VsockBody? Vsock,
    SerialBody Serial,
    ConsoleBody Console,
    RngBody Rng,
    BalloonBody Balloon,
    IReadOnlyList<DeviceBody>? Devices,
    PlatformBody Platform,
    bool Iommu,
    bool Watchdog,
    bool Pvpanic,
    bool LandlockEnable,
    IReadOnlyList<LandlockBody>? LandlockRules);

/// <summary><c>PayloadConfig</c>.</summary>
internal sealed record PayloadBody(string Kernel, string Cmdline, string? Initramfs);

/// <summary><c>CpusConfig</c>.</summary>
internal sealed record CpusBody(int BootVcpus, int MaxVcpus);

/// <summary><c>MemoryConfig</c>; sizes in bytes.</summary>
internal sealed record MemoryBody(long Size, bool Mergeable, bool Shared, bool Hugepages, bool Prefault, bool Thp);

/// <summary><c>DiskConfig</c>.</summary>
/// <param name="Path">Image.</param>
/// <param name="Readonly">Whether the guest may only read it.</param>
/// <param name="ImageType"><c>Raw</c> or <c>Qcow2</c>; never detected.</param>
/// <param name="BackingFiles">Whether the image's header may name another one below it.</param>
/// <param name="Id">Name of the device.</param>
/// <param name="Serial">Serial number that the guest sees.</param>
internal sealed record DiskBody(string Path, bool Readonly, string ImageType, bool BackingFiles, string Id, string Serial);

/// <summary>Body of <c>vm.add-net</c>: <c>NetConfig</c> of a tap whose descriptor comes with the request; numbers of descriptors in a body are ignored.</summary>
internal sealed record NetBody(string Mac, string Id, int NumQueues, int QueueSize);

/// <summary><c>VsockConfig</c>: both are needed.</summary>
internal sealed record VsockBody(long Cid, string Socket, string Id);

/// <summary><c>SerialConfig</c>.</summary>
internal sealed record SerialBody(string Mode, string Socket);

/// <summary><c>ConsoleConfig</c>.</summary>
internal sealed record ConsoleBody(string Mode);

/// <summary><c>RngConfig</c>.</summary>
internal sealed record RngBody(string Src);

/// <summary><c>BalloonConfig</c>; the size in bytes.</summary>
internal sealed record BalloonBody(long Size, bool DeflateOnOom, bool FreePageReporting);

/// <summary><c>DeviceConfig</c>: the device's directory in sysfs.</summary>
internal sealed record DeviceBody(string Path, string Id);

/// <summary><c>PlatformConfig</c>: <c>system_uuid</c> since version 53, <c>uuid</c> before.</summary>
internal sealed record PlatformBody(string? SystemUuid, string? Uuid);

/// <summary><c>LandlockConfig</c>.</summary>
/// <param name="Path">File, or directory with all that is in it.</param>
/// <param name="Access"><c>r</c>, <c>w</c> or <c>rw</c>.</param>
internal sealed record LandlockBody(string Path, string Access);

/// <summary>Answer of <c>vmm.ping</c>.</summary>
internal sealed record PingAnswer(string? Version);

/// <summary>Answer of <c>vm.info</c>, as far as it matters.</summary>
/// <param name="State"><c>Created</c>, <c>Running</c>, <c>Shutdown</c>, <c>Paused</c> or <c>BreakPoint</c>.</param>
internal sealed record InfoAnswer(string? State);

/// <summary>JSON of the bodies and answers.</summary>
[JsonSourceGenerationOptions(PropertyNamingPolicy = JsonKnownNamingPolicy.SnakeCaseLower, DefaultIgnoreCondition = JsonIgnoreCondition.WhenWritingNull)]
[JsonSerializable(typeof(VmConfigBody))]
[JsonSerializable(typeof(NetBody))]
[JsonSerializable(typeof(PingAnswer))]
[JsonSerializable(typeof(InfoAnswer))]
[JsonSerializable(typeof(string[]))]
[JsonSerializable(typeof(Dictionary<string, Dictionary<string, long>>))]
internal sealed partial class CloudHypervisorJson : JsonSerializerContext;
