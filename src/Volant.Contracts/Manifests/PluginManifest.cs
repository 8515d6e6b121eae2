using System.Text.Json.Serialization;

namespace Volant.Contracts.Manifests;

/// <summary>What a plugin is: boot media, workload and defaults of the VMs made from it (contract §4).</summary>
/// <remarks>Read it with <see cref="ManifestReader"/>: only then is it normalised and checked.</remarks>
[JsonUnmappedMemberHandling(JsonUnmappedMemberHandling.Disallow)]
public sealed record PluginManifest
{
    /// <summary>JSON Schema reference for editors; carries no meaning.</summary>
    [JsonPropertyName("$schema")]
    public string? Schema { get; init; }

    /// <summary>"1.0" or "v1".</summary>
    public string? SchemaVersion { get; init; }

    /// <summary>Plugin name, see <see cref="Names.IsPluginName"/>.</summary>
    public string? Name { get; init; }

    /// <summary>Version of the plugin, free text.</summary>
    public string? Version { get; init; }

    /// <summary>Runtime family that actions are matched by; the plugin's name when absent.</summary>
    public string? Runtime { get; init; }

    /// <summary>Whether VMs may be created from it; true when absent.</summary>
    public bool? Enabled { get; init; }

    /// <summary>OCI reference that the root filesystem was made from.</summary>
    public string? Image { get; init; }

    /// <summary>Digest of <see cref="Image"/>.</summary>
    public string? ImageDigest { get; init; }

    /// <summary>Default size of a VM.</summary>
    public ManifestResources? Resources { get; init; }

    /// <summary>What runs in the guest.</summary>
    public Workload? Workload { get; init; }

    /// <summary>Initial RAM filesystem to boot.</summary>
    public BootMedia? Initramfs { get; init; }

    /// <summary>Root disk image to boot.</summary>
    public RootfsMedia? Rootfs { get; init; }

    /// <summary>URL or absolute guest path of the workload's OpenAPI document.</summary>
    [JsonPropertyName("openapi")]
    public string? OpenApi { get; init; }

    /// <summary>Free labels; normalising adds <c>volant.plugin</c> and <c>volant.runtime</c>.</summary>
    public IReadOnlyDictionary<string, string>? Labels { get; init; }

    /// <summary>Additional disks.</summary>
    public IReadOnlyList<ManifestDisk>? Disks { get; init; }

    /// <summary>NoCloud seed documents.</summary>
    public CloudInit? CloudInit { get; init; }

    /// <summary>Default network of a VM.</summary>
    public NetworkConfig? Network { get; init; }

    /// <summary>Passed-through PCI devices.</summary>
    public DeviceConfig? Devices { get; init; }

    /// <summary>HTTP actions of the workload by name.</summary>
    public IReadOnlyDictionary<string, ManifestAction>? Actions { get; init; }

    /// <summary>How the agent decides that the workload is ready.</summary>
    public HealthCheck? HealthCheck { get; init; }
}

/// <summary>Size of a VM.</summary>
[JsonUnmappedMemberHandling(JsonUnmappedMemberHandling.Disallow)]
public sealed record ManifestResources
{
    /// <summary>Virtual CPUs, 1 to <see cref="ManifestRules.MaxCpuCores"/>.</summary>
    public int? CpuCores { get; init; }

    /// <summary>Memory in MiB, 1 to <see cref="ManifestRules.MaxMemoryMib"/>.</summary>
    public int? MemoryMb { get; init; }
}

/// <summary>The program that the guest runs.</summary>
[JsonUnmappedMemberHandling(JsonUnmappedMemberHandling.Disallow)]
public sealed record Workload
{
    /// <summary>"http": it serves at <see cref="BaseUrl"/>. "process": it need not serve anything.</summary>
    public string? Type { get; init; }

    /// <summary>Program and arguments; the program is an absolute path in the guest.</summary>
    public IReadOnlyList<string>? Entrypoint { get; init; }

    /// <summary>Where the workload serves inside the guest, <c>http://127.0.0.1:8080</c>; required for "http".</summary>
    public string? BaseUrl { get; init; }

    /// <summary>Environment variables; may hold secrets, so they never travel on a command line.</summary>
    public IReadOnlyDictionary<string, string>? Env { get; init; }

    /// <summary>Absolute working directory in the guest; <c>/</c> when absent.</summary>
    public string? Workdir { get; init; }

    /// <summary><c>USER</c> or <c>USER:GROUP</c>, each a name of the guest's /etc/passwd and /etc/group or a number; root when absent.</summary>
    public string? User { get; init; }
}

/// <summary>Values of <see cref="Workload.Type"/>.</summary>
public static class WorkloadTypes
{
    /// <summary>It serves HTTP at its base URL.</summary>
    public const string Http = "http";

    /// <summary>It need not serve anything.</summary>
    public const string Process = "process";

    /// <summary>Every type.</summary>
    internal static string[] All { get; } = [Http, Process];
}

/// <summary>A boot medium by reference.</summary>
[JsonUnmappedMemberHandling(JsonUnmappedMemberHandling.Disallow)]
public record BootMedia
{
    /// <summary><c>http(s)://</c>, <c>volant://sha256/HEX</c>, <c>file://</c> or an absolute path.</summary>
    public string? Url { get; init; }

    /// <summary><c>sha256:HEX</c> or bare 64 hex digits.</summary>
    public string? Checksum { get; init; }
}

/// <summary>A root disk image by reference.</summary>
[JsonUnmappedMemberHandling(JsonUnmappedMemberHandling.Disallow)]
public sealed record RootfsMedia : BootMedia
{
    /// <summary>"raw" (default) or "qcow2", see <see cref="DiskFormats"/>.</summary>
    public string? Format { get; init; }
}

/// <summary>Formats of disk images; never guessed from the content.</summary>
public static class DiskFormats
{
    /// <summary>The bytes of the disk.</summary>
    public const string Raw = "raw";

    /// <summary>QEMU's copy-on-write format, without a backing file.</summary>
    public const string Qcow2 = "qcow2";

    /// <summary>Every format.</summary>
    internal static string[] All { get; } = [Raw, Qcow2];
}

/// <summary>An additional disk: read-only it is the image itself, else the VM's own, which begins with the image's content and is kept as long as the VM.</summary>
[JsonUnmappedMemberHandling(JsonUnmappedMemberHandling.Disallow)]
public sealed record ManifestDisk
{
    /// <summary>Name of the disk, unique in the manifest, and its serial number in the guest: a DNS label of at most <see cref="ManifestRules.MaxDiskName"/> characters.</summary>
    public string? Name { get; init; }

    /// <summary>URL or absolute path, as in <see cref="BootMedia.Url"/>.</summary>
    public string? Source { get; init; }

    /// <summary>"raw" (default) or "qcow2".</summary>
    public string? Format { get; init; }

    /// <summary>Expected SHA-256.</summary>
    public string? Checksum { get; init; }

    /// <summary>Whether the guest may only read it; false when absent.</summary>
    public bool? Readonly { get; init; }

    /// <summary>Device name wanted in the guest, such as <c>vdb</c>; the next free one when absent. The root disk is <c>vda</c>.</summary>
    public string? Target { get; init; }
}

/// <summary>NoCloud documents.</summary>
[JsonUnmappedMemberHandling(JsonUnmappedMemberHandling.Disallow)]
public sealed record CloudInit
{
    /// <summary>"NoCloud".</summary>
    public string? Datasource { get; init; }

    /// <summary>"vfat".</summary>
    public string? SeedMode { get; init; }

    /// <summary>User data.</summary>
    public CloudInitDocument? UserData { get; init; }

    /// <summary>Instance metadata; <c>instance-id</c> (the VM's uid) and <c>local-hostname</c> (its name) are added when it has none.</summary>
    public CloudInitDocument? MetaData { get; init; }

    /// <summary>Network configuration; in bridged mode, when absent, the address that the VM has.</summary>
    public CloudInitDocument? NetworkConfig { get; init; }
}

/// <summary>One NoCloud document: inline content, or a path that the client resolves; never both.</summary>
[JsonUnmappedMemberHandling(JsonUnmappedMemberHandling.Disallow)]
public sealed record CloudInitDocument
{
    /// <summary>Value of <see cref="Encoding"/>: <see cref="Content"/> is the document.</summary>
    public const string Text = "text";

    /// <summary>Value of <see cref="Encoding"/>: <see cref="Content"/> is the document as base64, for one that is no text.</summary>
    public const string Base64 = "base64";

    /// <summary>Whether <see cref="Content"/> is the document; carries no meaning beside it.</summary>
    public bool? Inline { get; init; }

    /// <summary>The document itself, at most <see cref="CloudInitRules.MaxBytes"/> bytes.</summary>
    public string? Content { get; init; }

    /// <summary>"text" (default) or "base64".</summary>
    public string? Encoding { get; init; }

    /// <summary>Path of a file that holds the document; volar and fledge put its content here, the daemon reads none.</summary>
    public string? Path { get; init; }
}

/// <summary>How a VM is connected.</summary>
[JsonUnmappedMemberHandling(JsonUnmappedMemberHandling.Disallow)]
public sealed record NetworkConfig
{
    /// <summary>"vsock" (no Ethernet), "bridged" (default) or "dhcp"; see <see cref="NetworkModes"/>.</summary>
    public string? Mode { get; init; }

    /// <summary>IPv4 subnet in CIDR notation.</summary>
    public string? Subnet { get; init; }

    /// <summary>IPv4 gateway.</summary>
    public string? Gateway { get; init; }

    /// <summary>Whether the host assigns the address.</summary>
    public bool? AutoAssign { get; init; }
}

/// <summary>The network modes by wire name.</summary>
public static class NetworkModes
{
    /// <summary>No Ethernet: the host reaches the agent over the guest channel only.</summary>
    public const string Vsock = "vsock";

    /// <summary>A tap on the host's bridge, address leased from the pool.</summary>
    public const string Bridged = "bridged";

    /// <summary>A tap on the host's bridge, address from a DHCP server.</summary>
    public const string Dhcp = "dhcp";

    /// <summary>Every mode.</summary>
    public static IReadOnlyList<string> All { get; } = [Vsock, Bridged, Dhcp];
}

/// <summary>PCI devices to pass through.</summary>
[JsonUnmappedMemberHandling(JsonUnmappedMemberHandling.Disallow)]
public sealed record DeviceConfig
{
    /// <summary>PCI addresses, <c>0000:01:00.0</c>, at most <see cref="DeviceRules.MaxDevices"/>.</summary>
    public IReadOnlyList<string>? PciPassthrough { get; init; }

    /// <summary>Allowed <c>vendor:device</c> pairs, or <c>vendor:*</c>, within what the operator allows; absent or empty: no further limit.</summary>
    public IReadOnlyList<string>? Allowlist { get; init; }
}

/// <summary>An HTTP action of the workload.</summary>
[JsonUnmappedMemberHandling(JsonUnmappedMemberHandling.Disallow)]
public sealed record ManifestAction
{
    /// <summary>What it does, for people.</summary>
    public string? Description { get; init; }

    /// <summary>HTTP method, upper case.</summary>
    public string? Method { get; init; }

    /// <summary>Absolute path below the workload's base URL.</summary>
    public string? Path { get; init; }

    /// <summary>Time limit in milliseconds.</summary>
    public int? TimeoutMs { get; init; }
}

/// <summary>How the agent decides that the workload is ready: exactly one of endpoint, port and command.</summary>
/// <remarks>Without a health check an "http" workload is ready when its address accepts a connection, and a "process" when it runs.</remarks>
[JsonUnmappedMemberHandling(JsonUnmappedMemberHandling.Disallow)]
public sealed record HealthCheck
{
    /// <summary>Absolute path below the workload's base URL that answers 2xx or 3xx when ready.</summary>
    public string? Endpoint { get; init; }

    /// <summary>TCP port of 127.0.0.1 in the guest that accepts connections when ready.</summary>
    public int? Port { get; init; }

    /// <summary>Program, an absolute path in the guest, and arguments, which exits with 0 when ready; runs as the workload's user, in its environment and directory.</summary>
    public IReadOnlyList<string>? Command { get; init; }

    /// <summary>Time limit of one probe in milliseconds; 1 to 60,000, default 2,000.</summary>
    public int? TimeoutMs { get; init; }
}
