using Volant.Agent.Commands;
using Volant.Agent.Files;
using Volant.Agent.Identity;
using Volant.Agent.Power;
using Volant.Agent.Workloads;
using Volant.Contracts.Api;
using Volant.Contracts.Manifests;

namespace Volant.Agent.Http;

/// <summary>Puts together what the agent serves.</summary>
internal sealed record AgentSurface
{
    /// <summary>State of the agent.</summary>
    public required AgentStatus Status { get; init; }

    /// <summary>What the workload writes.</summary>
    public required OutputLog Log { get; init; }

    /// <summary>Whether anything is served.</summary>
    public required Gate Gate { get; init; }

    /// <summary>Starts commands.</summary>
    public required CommandRunner Commands { get; init; }

    /// <summary>The manifest; null when there is none to speak of.</summary>
    public required PluginManifest? Manifest { get; init; }

    /// <summary>Where the workload serves; null when it serves no HTTP.</summary>
    public required WorkloadTarget? Target { get; init; }

    /// <summary>Takes over what the host says of the time.</summary>
    public required ClockRoute HostClock { get; init; }

    /// <summary>Takes an identity over.</summary>
    public required Func<IdentifyRequest, CancellationToken, Task> Identify { get; init; }

    /// <summary>Begins the orderly shutdown; must return at once.</summary>
    public required Action<PowerAction, string> ShutDown { get; init; }

    /// <summary>The clock.</summary>
    public required TimeProvider Clock { get; init; }

    /// <summary>Root of the file routes.</summary>
    public string Root { get; init; } = "/";

    /// <summary>The application.</summary>
    public AgentApplication Build()
    {
        var measurements = new Measurements();
        var passThrough = Target is null ? null : new PassThrough(Target, [.. Manifest?.Actions?.Values ?? []], Status, Clock);
        List<AgentRoute> routes =
        [
            .. new StateRoutes(Status, ShutDown).Routes,
            .. new LogRoutes(Log, Clock).Routes,
            .. new ExecRoutes(Commands, CaptureBudget.For(measurements.TotalMemory), Clock).Routes,
            .. new FileRoutes(Root).Routes,
            .. new TunnelRoutes(Clock).Routes,
            new("POST", "/v1/agent/datagrams", DatagramRoute.HandleAsync, RouteTraits.HostOnly),
            .. new MetricsRoutes(measurements, () => Commands.Running).Routes,
            .. new IdentityRoutes(Gate, Status, IdentifyAsync, Linux.Kernel.FileSystems.Sync).Routes,
            new("POST", "/v1/agent/clock", HostClock.HandleAsync, RouteTraits.HostOnly | RouteTraits.Ungated),
        ];
        if (Manifest is not null)
        {
            routes.AddRange(new OpenApiRoutes(Manifest, Target, Clock).Routes);
        }

        if (passThrough is not null)
        {
            routes.AddRange(new DevToolsRoutes(Target!, passThrough, Clock).Routes);
        }

        return new AgentApplication(routes, passThrough, Gate, Status);
    }

    private async Task IdentifyAsync(IdentifyRequest request, CancellationToken cancellationToken)
    {
        await Identify(request, cancellationToken);
        Log.Renew();
    }
}
