using System.Text.Json.Serialization;

namespace Volant.Contracts.Api;

/// <summary>A number of VMs of one configuration, kept running (contract §2). Its replicas are VMs named <c>&lt;deployment&gt;-&lt;n&gt;</c>, n from 1.</summary>
public sealed record Deployment
{
    /// <summary>Unique name, a DNS label of at most 56 characters.</summary>
    public required string Name { get; init; }

    /// <summary>How many replicas are wanted.</summary>
    public required int DesiredReplicas { get; init; }

    /// <summary>How many replicas are ready at this moment, of any revision.</summary>
    public required int ReadyReplicas { get; init; }

    /// <summary>How many replicas have the current revision.</summary>
    public required int UpdatedReplicas { get; init; }

    /// <summary><c>progressing</c>, <c>healthy</c> or <c>degraded</c>.</summary>
    public required string Status { get; init; }

    /// <summary>What keeps it from being healthy, in words.</summary>
    public string? Message { get; init; }

    /// <summary>Number of the configuration; a roll-back returns to an earlier one.</summary>
    public required int Revision { get; init; }

    /// <summary>Configuration of every replica.</summary>
    public required VmConfig Config { get; init; }

    /// <summary>How a changed configuration is rolled out.</summary>
    public required RolloutStrategy Strategy { get; init; }

    /// <summary>When it was created.</summary>
    public required DateTimeOffset CreatedAt { get; init; }

    /// <summary>When it was changed last.</summary>
    public required DateTimeOffset UpdatedAt { get; init; }
}

/// <summary>Values of <see cref="Deployment.Status"/>.</summary>
public static class DeploymentStatuses
{
    /// <summary>On its way, nothing is wrong.</summary>
    public const string Progressing = "progressing";

    /// <summary>Every replica is ready and has the current revision.</summary>
    public const string Healthy = "healthy";

    /// <summary>Something keeps it from being healthy; the message says what.</summary>
    public const string Degraded = "degraded";
}

/// <summary>How a changed configuration is rolled out.</summary>
[JsonUnmappedMemberHandling(JsonUnmappedMemberHandling.Disallow)]
public sealed record RolloutStrategy
{
    /// <summary>Replicas that may exist beyond the desired number; 0 to 100, default 1.</summary>
    public int? MaxSurge { get; init; }

    /// <summary>Replicas that may be missing meanwhile; 0 to 100, default 0. One of both must be at least 1.</summary>
    public int? MaxUnavailable { get; init; }

    /// <summary>Seconds without another replica becoming ready after which it is rolled back; 1 to 86,400, default 600.</summary>
    public int? ProgressDeadlineSeconds { get; init; }
}

/// <summary>Body of <c>POST /api/v1/deployments</c>.</summary>
[JsonUnmappedMemberHandling(JsonUnmappedMemberHandling.Disallow)]
public sealed record CreateDeploymentRequest
{
    /// <summary>Unique name, a DNS label of at most 56 characters.</summary>
    public string? Name { get; init; }

    /// <summary>How many replicas, 0 to 1,000; 1 when absent.</summary>
    public int? Replicas { get; init; }

    /// <summary>Configuration of every replica; <c>plugin</c> is required.</summary>
    public VmConfig? Config { get; init; }

    /// <summary>How a changed configuration is rolled out.</summary>
    public RolloutStrategy? Strategy { get; init; }
}

/// <summary>Body of <c>PATCH /api/v1/deployments/{name}</c>; what is absent stays.</summary>
[JsonUnmappedMemberHandling(JsonUnmappedMemberHandling.Disallow)]
public sealed record UpdateDeploymentRequest
{
    /// <summary>How many replicas, 0 to 1,000.</summary>
    public int? Replicas { get; init; }

    /// <summary>Another configuration as a whole; it is rolled out.</summary>
    public VmConfig? Config { get; init; }

    /// <summary>How a changed configuration is rolled out.</summary>
    public RolloutStrategy? Strategy { get; init; }
}

/// <summary>Rules of deployments. Pure; reports every fault at once.</summary>
public static class DeploymentRules
{
    /// <summary>Longest name, so that the names of replicas fit.</summary>
    public const int MaxNameLength = 56;

    /// <summary>Most replicas.</summary>
    public const int MaxReplicas = 1000;

    /// <summary>Faults of a request to create one.</summary>
    public static IReadOnlyList<FieldError> Validate(CreateDeploymentRequest request)
    {
        ArgumentNullException.ThrowIfNull(request);
        var faults = new FaultList();
        faults.Require(
            Names.IsDnsLabel(request.Name) && request.Name!.Length <= MaxNameLength, "name", $"must be 1 to {MaxNameLength} lower-case letters, digits or inner hyphens");
        faults.Require(request.Config is not null, "config", "is required");
        Validate(faults, request.Replicas, request.Config, request.Strategy);
        return faults.All;
    }

    /// <summary>Faults of a request to change one.</summary>
    public static IReadOnlyList<FieldError> Validate(UpdateDeploymentRequest request)
    {
        ArgumentNullException.ThrowIfNull(request);
        var faults = new FaultList();
        Validate(faults, request.Replicas, request.Config, request.Strategy);
        return faults.All;
    }

    private static void Validate(FaultList faults, int? replicas, VmConfig? config, RolloutStrategy? strategy)
    {
        if (replicas is not null)
        {
            faults.Range("replicas", replicas, 0, MaxReplicas);
        }

        if (config is not null)
        {
            faults.Require(config.Plugin is { Length: > 0 }, "config.plugin", "is required");
            foreach (var fault in VmConfigRules.Validate(config))
            {
                faults.Add($"config.{fault.Path}", fault.Message);
            }
        }

        if (strategy is not null)
        {
            faults.Range("strategy.max_surge", strategy.MaxSurge ?? 1, 0, 100);
            faults.Range("strategy.max_unavailable", strategy.MaxUnavailable ?? 0, 0, 100);
            faults.Range("strategy.progress_deadline_seconds", strategy.ProgressDeadlineSeconds ?? 600, 1, 86_400);
            faults.Require((strategy.MaxSurge ?? 1) + (strategy.MaxUnavailable ?? 0) > 0, "strategy", "must allow a surge or a missing replica, else nothing can be rolled out");
        }
    }
}
