namespace Volant.Contracts.Api;

/// <summary>What the agent says of itself: <c>GET /healthz</c> of the agent, and <c>GET /v1/agent/state</c>.</summary>
/// <remarks>
/// <c>/v1/agent/state?since=N&amp;timeout_ms=M</c> answers when <see cref="Revision"/> exceeds N, or after M milliseconds with what is.
/// Readers must ignore members they do not know: daemon and agent may differ in version.
/// </remarks>
public sealed record AgentState
{
    /// <summary>Rises by one with every change; starts at 1.</summary>
    public required long Revision { get; init; }

    /// <summary>"ok" while the agent works.</summary>
    public required string Status { get; init; }

    /// <summary>Whether the workload runs and its health check passes.</summary>
    public required bool Ready { get; init; }

    /// <summary>Version of the agent program.</summary>
    public required string Version { get; init; }

    /// <summary>Host name of the guest.</summary>
    public required string Hostname { get; init; }

    /// <summary>Release of the guest kernel.</summary>
    public required string Kernel { get; init; }

    /// <summary>Seconds since the guest kernel started, to the millisecond.</summary>
    public required double Uptime { get; init; }

    /// <summary>True while the agent waits for its identity and serves nothing else, see <see cref="IdentifyRequest"/>.</summary>
    public bool? Gated { get; init; }

    /// <summary>IPv4 addresses of the guest, loopback left out.</summary>
    public IReadOnlyList<string>? Addresses { get; init; }

    /// <summary>The workload.</summary>
    public required WorkloadState Workload { get; init; }
}

/// <summary>State of the workload in the guest.</summary>
public sealed record WorkloadState
{
    /// <summary><c>starting</c>, <c>running</c>, <c>backoff</c> (exited, will be started again), <c>failed</c> (could not start) or <c>stopped</c>.</summary>
    public required string Status { get; init; }

    /// <summary>Process id in the guest.</summary>
    public int? Pid { get; init; }

    /// <summary>Exit code of the last run.</summary>
    public int? ExitCode { get; init; }

    /// <summary>Signal that ended the last run.</summary>
    public int? Signal { get; init; }

    /// <summary>How often it was started again.</summary>
    public int Restarts { get; init; }

    /// <summary>Why it is not ready, in words.</summary>
    public string? Message { get; init; }
}
