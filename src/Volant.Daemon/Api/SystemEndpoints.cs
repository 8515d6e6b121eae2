using Microsoft.AspNetCore.Http.HttpResults;
using Volant.Contracts.Api;
using Volant.Daemon.Hypervisors;
using Volant.Daemon.Orchestration;
using Volant.Daemon.Store;

namespace Volant.Daemon.Api;

/// <summary>Health and facts about the daemon.</summary>
internal static class SystemEndpoints
{
    public static void MapSystem(this IEndpointRouteBuilder routes)
    {
        routes.MapGet("/healthz", () => TypedResults.Ok(new HealthResponse { Status = "ok" })).WithTags("system").WithName("getHealth").WithSummary("Whether the daemon is alive");
        routes.MapGet("/readyz", ReadyAsync).WithTags("system").WithName("getReadiness").WithSummary("Whether the daemon can do its work").ProducesProblem(503);
        routes.MapGet("/api/v1/system/info", Info).WithTags("system").WithName("getSystemInfo").WithSummary("Version, addresses and abilities of the daemon");
    }

    private static async Task<Ok<HealthResponse>> ReadyAsync(VolantStore store, Recovery recovery, CancellationToken cancellationToken)
    {
        if (!recovery.IsComplete)
        {
            throw new VolantException(ErrorCodes.Unavailable, "The daemon is taking over its VMs; try again shortly.");
        }

        return await store.IsWritableAsync(cancellationToken)
            ? TypedResults.Ok(new HealthResponse { Status = "ok" })
            : throw new VolantException(ErrorCodes.Unavailable, "The database cannot be written; free space below the state directory.");
    }

    private static Ok<SystemInfo> Info(DaemonOptions options, IHypervisorLauncher launcher)
    {
        HypervisorCapabilities? hypervisor;
        try
        {
            hypervisor = launcher.Capabilities;
        }
        catch (VolantException)
        {
            // Reported as an empty list; a create says why.
            hypervisor = null;
        }

        return TypedResults.Ok(new SystemInfo
        {
            Status = "ok",
            Version = DaemonHost.Version,
            ApiListenAddr = options.Listen.ToString(),
            ApiAdvertiseAddr = options.Advertise,
            HostIp = options.HostIp.ToString(),
            Hypervisors = hypervisor is null ? [] : [hypervisor.Name],
            Kvm = hypervisor?.Kvm ?? false,
        });
    }
}
