namespace Volant.Contracts.Api;

/// <summary>Body of every error: RFC 9457 problem details with the members that clients rely on (contract §1).</summary>
public sealed record Problem
{
    /// <summary>URI reference of the problem type.</summary>
    public string? Type { get; init; }

    /// <summary>Short title of the status.</summary>
    public string? Title { get; init; }

    /// <summary>HTTP status.</summary>
    public int? Status { get; init; }

    /// <summary>One sentence: cause and remedy.</summary>
    public string? Detail { get; init; }

    /// <summary>Path of the request.</summary>
    public string? Instance { get; init; }

    /// <summary>Same sentence as <see cref="Detail"/>.</summary>
    public string? Error { get; init; }

    /// <summary>One of <see cref="ErrorCodes"/>.</summary>
    public string? Code { get; init; }

    /// <summary>Messages by offending field.</summary>
    public IReadOnlyDictionary<string, IReadOnlyList<string>>? Errors { get; init; }
}

/// <summary>Answer of <c>GET /healthz</c>.</summary>
public sealed record HealthResponse
{
    /// <summary>"ok".</summary>
    public required string Status { get; init; }
}

/// <summary>Answer of <c>GET /api/v1/plugins</c>.</summary>
public sealed record PluginList
{
    /// <summary>Names of the installed plugins, sorted.</summary>
    public required IReadOnlyList<string> Plugins { get; init; }
}

/// <summary>Answer to an artifact upload or look-up.</summary>
public sealed record StoredArtifact
{
    /// <summary>64 lower-case hex digits.</summary>
    public required string Sha256 { get; init; }

    /// <summary>Size in bytes.</summary>
    public required long SizeBytes { get; init; }

    /// <summary>What a manifest writes as URL.</summary>
    public required string Url { get; init; }
}

/// <summary>Answer of <c>GET /api/v1/system/info</c>.</summary>
public sealed record SystemInfo
{
    /// <summary>"ok".</summary>
    public required string Status { get; init; }

    /// <summary>Version of the daemon.</summary>
    public required string Version { get; init; }

    /// <summary>Address that the API listens on.</summary>
    public required string ApiListenAddr { get; init; }

    /// <summary>Address that clients should use.</summary>
    public required string ApiAdvertiseAddr { get; init; }

    /// <summary>Address of the host on the bridge.</summary>
    public required string HostIp { get; init; }

    /// <summary>Usable hypervisors.</summary>
    public required IReadOnlyList<string> Hypervisors { get; init; }

    /// <summary>Version of the one that launches VMs; null when there is none.</summary>
    public string? HypervisorVersion { get; init; }

    /// <summary>Why no VM can be launched, and the remedy; null when they can.</summary>
    public string? HypervisorError { get; init; }

    /// <summary>Whether hardware virtualisation is usable.</summary>
    public required bool Kvm { get; init; }

    /// <summary>What this daemon can do, as words: <c>deployments</c>, <c>events-resume</c>, <c>restart-policies</c> and so on.</summary>
    public IReadOnlyList<string>? Features { get; init; }
}

/// <summary>Answer of <c>GET /api/v1/system/status</c>.</summary>
public sealed record SystemStatus
{
    /// <summary>How many VMs there are.</summary>
    public required long VmCount { get; init; }

    /// <summary>Share of the host's processor time in use, 0 to 100, since the last such request.</summary>
    public required double CpuPercent { get; init; }

    /// <summary>Share of the host's memory in use, 0 to 100.</summary>
    public required double MemPercent { get; init; }
}

/// <summary>Answer of <c>GET /api/v1/system/summary</c>.</summary>
public sealed record SystemSummary
{
    /// <summary>How many VMs there are.</summary>
    public required long TotalVms { get; init; }

    /// <summary>How many VMs have each status.</summary>
    public required IReadOnlyDictionary<string, long> ByStatus { get; init; }

    /// <summary>How many VMs have each runtime.</summary>
    public required IReadOnlyDictionary<string, long> ByRuntime { get; init; }

    /// <summary>How many plugins are installed.</summary>
    public required int TotalPlugins { get; init; }

    /// <summary>How many of them are enabled.</summary>
    public required int EnabledPlugins { get; init; }

    /// <summary>The plugins by name.</summary>
    public required IReadOnlyList<PluginSummary> Plugins { get; init; }
}

/// <summary>A plugin in short.</summary>
public sealed record PluginSummary
{
    /// <summary>Name of the plugin.</summary>
    public required string Name { get; init; }

    /// <summary>Its version.</summary>
    public required string Version { get; init; }

    /// <summary>Whether VMs may be created from it.</summary>
    public required bool Enabled { get; init; }
}

/// <summary>An event of a VM (contract §2, events).</summary>
public sealed record VmEvent
{
    /// <summary>One of <see cref="VmEventTypes"/>.</summary>
    public required string Type { get; init; }

    /// <summary>VM name.</summary>
    public required string Name { get; init; }

    /// <summary>Status after the event.</summary>
    public required VmStatus Status { get; init; }

    /// <summary>IPv4 address, when there is one.</summary>
    public string? IpAddress { get; init; }

    /// <summary>MAC address, when there is one.</summary>
    public string? MacAddress { get; init; }

    /// <summary>Host process id of the hypervisor.</summary>
    public int? Pid { get; init; }

    /// <summary>When it happened.</summary>
    public required DateTimeOffset Timestamp { get; init; }

    /// <summary>Why, in words.</summary>
    public string? Message { get; init; }

    /// <summary><c>stdout</c> or <c>stderr</c>, of a log line.</summary>
    public string? Stream { get; init; }

    /// <summary>The log line.</summary>
    public string? Line { get; init; }
}

/// <summary>Data of the event <c>gap</c>: the stream could not be resumed where the client wished.</summary>
public sealed record EventGap
{
    /// <summary>What to do, in words.</summary>
    public required string Message { get; init; }

    /// <summary>Number of the event that the stream goes on after.</summary>
    public required long ResumeAfter { get; init; }
}

/// <summary>Types of <see cref="VmEvent"/>.</summary>
public static class VmEventTypes
{
    /// <summary>A VM was recorded.</summary>
    public const string Created = "VM_CREATED";

    /// <summary>A launch has begun.</summary>
    public const string Starting = "VM_STARTING";

    /// <summary>The hypervisor runs.</summary>
    public const string Running = "VM_RUNNING";

    /// <summary>Agent and workload answer.</summary>
    public const string Ready = "VM_READY";

    /// <summary>Agent or workload do not answer any more.</summary>
    public const string NotReady = "VM_NOT_READY";

    /// <summary>Somebody had changed its tap, or the rules that keep its guest from posing as others; they are put right.</summary>
    public const string NetworkRepaired = "VM_NETWORK_REPAIRED";

    /// <summary>A stop was asked for and is under way.</summary>
    public const string Stopping = "VM_STOPPING";

    /// <summary>Stopped on request, or powered off by the guest.</summary>
    public const string Stopped = "VM_STOPPED";

    /// <summary>Ended without being asked to.</summary>
    public const string Crashed = "VM_CRASHED";

    /// <summary>Gone with everything it owned.</summary>
    public const string Deleted = "VM_DELETED";

    /// <summary>A log line.</summary>
    public const string Log = "VM_LOG";

    /// <summary>The event that tells of the change to a status.</summary>
    public static string Of(VmStatus status) => status switch
    {
        VmStatus.Pending => Created,
        VmStatus.Starting => Starting,
        VmStatus.Running => Running,
        VmStatus.Stopping => Stopping,
        VmStatus.Stopped => Stopped,
        VmStatus.Crashed => Crashed,
        _ => throw new ArgumentOutOfRangeException(nameof(status), status, message: null),
    };
}

/// <summary>Body of <c>POST /api/v1/plugins/{plugin}/enabled</c>.</summary>
[System.Text.Json.Serialization.JsonUnmappedMemberHandling(System.Text.Json.Serialization.JsonUnmappedMemberHandling.Disallow)]
public sealed record PluginEnabled
{
    /// <summary>Whether VMs may be created from the plugin.</summary>
    public required bool Enabled { get; init; }
}
