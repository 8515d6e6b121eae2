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

    /// <summary>The application with what it can serve at once: the agent's state, its end, and the time.</summary>
    public AgentApplication Begin() => new(
        [.. new StateRoutes(Status, ShutDown).Routes, new("POST", "/v1/agent/clock", HostClock.HandleAsync, RouteTraits.HostOnly | RouteTraits.Ungated)],
        Gate,
        Status);

    /// <summary>Adds all the rest.</summary>
    /// <param name="application">What <see cref="Begin"/> returned.</param>
    /// <param name="commands">Starts commands.</param>
    /// <param name="manifest">The manifest; null when there is none to speak of.</param>
    /// <param name="target">Where the workload serves; null when it serves no HTTP.</param>
    public void Complete(AgentApplication application, CommandRunner commands, PluginManifest? manifest, WorkloadTarget? target)
    {
        var measurements = new Measurements();
        var passThrough = target is null ? null : new PassThrough(target, [.. manifest?.Actions?.Values ?? []], Status, Clock);
        List<AgentRoute> routes =
        [
            .. new LogRoutes(Log, Clock).Routes,
            .. new ExecRoutes(commands, CaptureBudget.For(measurements.TotalMemory), Clock).Routes,
            .. new FileRoutes(Root).Routes,
            .. new TunnelRoutes(Clock).Routes,
            new("POST", "/v1/agent/datagrams", DatagramRoute.HandleAsync, RouteTraits.HostOnly),
            .. new MetricsRoutes(measurements, () => commands.Running).Routes,
            .. new IdentityRoutes(Gate, Status, IdentifyAsync, Linux.Kernel.FileSystems.Sync).Routes,
        ];
        if (manifest is not null)
        {
            routes.AddRange(new OpenApiRoutes(manifest, target, Clock).Routes);
        }

        if (passThrough is not null)
        {
            routes.AddRange(new DevToolsRoutes(target!, passThrough, Clock).Routes);
        }

        application.Complete(routes, passThrough);
    }

    private async Task IdentifyAsync(IdentifyRequest request, CancellationToken cancellationToken)
    {
        await Identify(request, cancellationToken);
        Log.Renew();
    }
}
