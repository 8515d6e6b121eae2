using Volant.Contracts.Api;
using Volant.Contracts.Manifests;
using Volant.Daemon.Store;

namespace Volant.Daemon.Api.Mcp;

/// <summary>Why a tool call failed, as the text of its result.</summary>
internal sealed record ToolError
{
    /// <summary>One of <see cref="ErrorCodes"/>.</summary>
    public required string Code { get; init; }

    /// <summary>One sentence: cause and remedy.</summary>
    public required string Message { get; init; }

    /// <summary>Messages by offending argument.</summary>
    public IReadOnlyDictionary<string, IReadOnlyList<string>>? Errors { get; init; }

    /// <summary>What to do now, in terms of tools.</summary>
    public string? NextStep { get; init; }
}

/// <summary>What is gone now.</summary>
internal sealed record DeletedThing
{
    /// <summary>Its name.</summary>
    public required string Deleted { get; init; }
}

/// <summary>A VM in one line.</summary>
internal sealed record VmSummary
{
    public required string Name { get; init; }

    public required VmStatus Status { get; init; }

    public required bool Ready { get; init; }

    public required string Plugin { get; init; }

    public string? Deployment { get; init; }

    public string? IpAddress { get; init; }

    public string? LastError { get; init; }

    public static VmSummary Of(Vm vm) => new()
    {
        Name = vm.Name,
        Status = vm.Status,
        Ready = vm.Ready,
        Plugin = vm.Plugin,
        Deployment = vm.Deployment,
        IpAddress = vm.IpAddress is { Length: > 0 } address ? address : null,
        LastError = vm.LastError,
    };
}

/// <summary>A page of VMs.</summary>
internal sealed record VmListing
{
    public required IReadOnlyList<VmSummary> Vms { get; init; }

    /// <summary>How many match in all.</summary>
    public required long Total { get; init; }

    /// <summary>Where the next page begins; absent after the last one.</summary>
    public int? NextOffset { get; init; }
}

/// <summary>A VM, without what only the host needs to know.</summary>
internal sealed record VmDetails
{
    public required string Name { get; init; }

    public required VmStatus Status { get; init; }

    public required bool Ready { get; init; }

    public required DesiredState Desired { get; init; }

    public required string Plugin { get; init; }

    public required string Runtime { get; init; }

    public string? Deployment { get; init; }

    public required string NetworkMode { get; init; }

    public string? IpAddress { get; init; }

    public required int CpuCores { get; init; }

    public required int MemoryMb { get; init; }

    public required int Restarts { get; init; }

    public DateTimeOffset? RestartAt { get; init; }

    public string? LastError { get; init; }

    public VmExit? Exit { get; init; }

    public DateTimeOffset? StartedAt { get; init; }

    public long? BootMs { get; init; }

    public required DateTimeOffset CreatedAt { get; init; }

    public static VmDetails Of(Vm vm) => new()
    {
        Name = vm.Name,
        Status = vm.Status,
        Ready = vm.Ready,
        Desired = vm.Desired,
        Plugin = vm.Plugin,
        Runtime = vm.Runtime,
        Deployment = vm.Deployment,
        NetworkMode = vm.NetworkMode,
        IpAddress = vm.IpAddress is { Length: > 0 } address ? address : null,
        CpuCores = vm.CpuCores,
        MemoryMb = vm.MemoryMb,
        Restarts = vm.Restarts,
        RestartAt = vm.RestartAt,
        LastError = vm.LastError,
        Exit = vm.Exit,
        StartedAt = vm.StartedAt,
        BootMs = vm.BootMs,
        CreatedAt = vm.CreatedAt,
    };
}

/// <summary>The end of a log.</summary>
internal sealed record VmLogs
{
    public required string Name { get; init; }

    /// <summary>Oldest first.</summary>
    public required IReadOnlyList<LogLine> Lines { get; init; }

    /// <summary>Whether older lines were left out because all together were too long.</summary>
    public required bool Truncated { get; init; }
}

/// <summary>A deployment, without its configuration, which may hold secrets.</summary>
internal sealed record DeploymentDetails
{
    public required string Name { get; init; }

    public string? Plugin { get; init; }

    public required int DesiredReplicas { get; init; }

    public required int ReadyReplicas { get; init; }

    public required int UpdatedReplicas { get; init; }

    public required string Status { get; init; }

    public string? Message { get; init; }

    public required int Revision { get; init; }

    public static DeploymentDetails Of(DeploymentRecord record) => new()
    {
        Name = record.Name,
        Plugin = record.Deployment.Config.Plugin,
        DesiredReplicas = record.Deployment.DesiredReplicas,
        ReadyReplicas = record.Deployment.ReadyReplicas,
        UpdatedReplicas = record.Deployment.UpdatedReplicas,
        Status = record.Deployment.Status,
        Message = record.Deployment.Message,
        Revision = record.Deployment.Revision,
    };
}

/// <summary>A page of deployments.</summary>
internal sealed record DeploymentListing
{
    public required IReadOnlyList<DeploymentDetails> Deployments { get; init; }

    /// <summary>How many there are in all.</summary>
    public required long Total { get; init; }

    /// <summary>Where the next page begins; absent after the last one.</summary>
    public int? NextOffset { get; init; }
}

/// <summary>The installed plugins.</summary>
internal sealed record PluginListing
{
    public required IReadOnlyList<PluginBrief> Plugins { get; init; }
}

/// <summary>A plugin in one line.</summary>
internal sealed record PluginBrief
{
    public required string Name { get; init; }

    public required string Version { get; init; }

    public required bool Enabled { get; init; }

    /// <summary>Names of its actions.</summary>
    public required IReadOnlyList<string> Actions { get; init; }

    public static PluginBrief Of(PluginManifest manifest) => new()
    {
        Name = manifest.Name!,
        Version = manifest.Version!,
        Enabled = manifest.Enabled != false,
        Actions = [.. (manifest.Actions?.Keys ?? []).Order(StringComparer.Ordinal)],
    };
}

/// <summary>A plugin, without environment and cloud-init, which may hold secrets.</summary>
internal sealed record PluginDetails
{
    public required string Name { get; init; }

    public required string Version { get; init; }

    public required bool Enabled { get; init; }

    public string? Runtime { get; init; }

    /// <summary>Size of a VM when nobody says otherwise.</summary>
    public ManifestResources? Resources { get; init; }

    public NetworkConfig? Network { get; init; }

    /// <summary>Program and arguments.</summary>
    public IReadOnlyList<string>? Entrypoint { get; init; }

    public IReadOnlyDictionary<string, ManifestAction>? Actions { get; init; }

    public static PluginDetails Of(PluginManifest manifest) => new()
    {
        Name = manifest.Name!,
        Version = manifest.Version!,
        Enabled = manifest.Enabled != false,
        Runtime = manifest.Runtime,
        Resources = manifest.Resources,
        Network = manifest.Network,
        Entrypoint = manifest.Workload?.Entrypoint,
        Actions = manifest.Actions,
    };
}

/// <summary>What a workload answered to an action.</summary>
internal sealed record ActionAnswer
{
    /// <summary>The VM that it ran in.</summary>
    public required string Vm { get; init; }

    /// <summary>HTTP status of the workload.</summary>
    public required int Status { get; init; }

    public string? ContentType { get; init; }

    /// <summary>The answer, when it is text.</summary>
    public string? Body { get; init; }

    /// <summary>What is missing of the answer and why; absent when nothing is.</summary>
    public string? Note { get; init; }
}

/// <summary>How a command in a guest ended.</summary>
internal sealed record CommandOutcome
{
    /// <summary>The VM that it ran in.</summary>
    public required string Vm { get; init; }

    /// <summary>128 + signal when a signal ended it; absent when it took too long.</summary>
    public int? ExitCode { get; init; }

    /// <summary>Number of the signal that ended it.</summary>
    public int? Signal { get; init; }

    /// <summary>Without control characters; U+FFFD where it is no UTF-8.</summary>
    public required string Stdout { get; init; }

    /// <summary>Under the same rules.</summary>
    public required string Stderr { get; init; }

    public required long DurationMs { get; init; }

    /// <summary>What is missing and why; absent when nothing is.</summary>
    public string? Note { get; init; }
}

/// <summary>The daemon and its host.</summary>
internal sealed record SystemOverview
{
    public required string Version { get; init; }

    public required IReadOnlyList<string> Hypervisors { get; init; }

    public required bool Kvm { get; init; }

    public IReadOnlyList<string>? Features { get; init; }

    public required double CpuPercent { get; init; }

    public required double MemPercent { get; init; }

    public required long TotalVms { get; init; }

    public required IReadOnlyDictionary<string, long> VmsByStatus { get; init; }

    public required int EnabledPlugins { get; init; }
}

/// <summary>Result of the one-shot command that tells what commands there are.</summary>
internal sealed record Capabilities
{
    [System.Text.Json.Serialization.JsonPropertyName("capabilities")]
    public required IReadOnlyList<Capability> Commands { get; init; }
}

/// <summary>A one-shot command.</summary>
internal sealed record Capability
{
    public required string Name { get; init; }

    public required string Description { get; init; }

    /// <summary>Type of each parameter, in words.</summary>
    public required IReadOnlyDictionary<string, string> Params { get; init; }
}
