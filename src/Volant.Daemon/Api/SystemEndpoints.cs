using Microsoft.AspNetCore.Http.HttpResults;
using Volant.Contracts.Api;
using Volant.Contracts;
using Volant.Daemon.Hypervisors;
using Volant.Daemon.Orchestration;
using Volant.Daemon.Plugins;
using Volant.Daemon.Store;
using Volant.Linux.Kernel;

namespace Volant.Daemon.Api;

/// <summary>Health and facts about the daemon.</summary>
internal static class SystemEndpoints
{
    public static void MapSystem(this IEndpointRouteBuilder routes)
    {
        routes.MapGet("/healthz", () => TypedResults.Ok(new HealthResponse { Status = "ok" })).WithTags("system").WithName("getHealth").WithSummary("Whether the daemon is alive");
        routes.MapGet("/readyz", ReadyAsync).WithTags("system").WithName("getReadiness").WithSummary("Whether the daemon can do its work").ProducesProblem(503);
        routes.MapGet("/api/v1/system/status", (VolantStore store, HostLoad load) => TypedResults.Ok(Measure(store, load))).WithTags("system").WithName("getSystemStatus").WithSummary("How busy the host is");
        routes.MapGet("/api/v1/system/summary", (VolantStore store, PluginRegistry plugins) => TypedResults.Ok(Summarise(store, plugins))).WithTags("system").WithName("getSystemSummary").WithSummary("VMs and plugins in numbers");
        routes.MapGet("/api/v1/system/info", (DaemonOptions options, IHypervisorLauncher launcher) => TypedResults.Ok(Describe(options, launcher))).WithTags("system").WithName("getSystemInfo").WithSummary("Version, addresses and abilities of the daemon");
    }

    /// <summary>How busy the host is.</summary>
    public static SystemStatus Measure(VolantStore store, HostLoad load) => new()
    {
        VmCount = store.CountVms().ByStatus.Values.Sum(),
        CpuPercent = Math.Round(load.CpuPercent(), 1),
        MemPercent = Math.Round(HostLoad.MemoryPercent(), 1),
    };

    /// <summary>VMs and plugins in numbers.</summary>
    public static SystemSummary Summarise(VolantStore store, PluginRegistry plugins)
    {
        var (byStatus, byRuntime) = store.CountVms();
        var installed = plugins.All;
        return new SystemSummary
        {
            TotalVms = byStatus.Values.Sum(),
            ByStatus = byStatus,
            ByRuntime = byRuntime,
            TotalPlugins = installed.Count,
            EnabledPlugins = installed.Count(manifest => manifest.Enabled != false),
            Plugins = [.. installed.Select(manifest => new PluginSummary { Name = manifest.Name!, Version = manifest.Version!, Enabled = manifest.Enabled != false })],
        };
    }

    /// <summary>Version, addresses and abilities of the daemon.</summary>
    public static SystemInfo Describe(DaemonOptions options, IHypervisorLauncher launcher)
    {
        HypervisorCapabilities? hypervisor = null;
        string? error = null;
        try
        {
            hypervisor = launcher.Capabilities;
        }
        catch (VolantException e)
        {
            error = e.Message;
        }

        return new SystemInfo
        {
            Status = "ok",
            Version = ProductVersion.Text,
            ApiListenAddr = options.Listen.ToString(),
            ApiAdvertiseAddr = options.Advertise,
            HostIp = options.HostIp.ToString(),
            Hypervisors = hypervisor is null ? [] : [hypervisor.Name],
            HypervisorVersion = hypervisor?.Version,
            HypervisorError = error,
            Kvm = hypervisor?.Kvm ?? false,
            Features = ["actions", "artifacts", "config-history", "deployments", "events-resume", "exec", "files", "mcp", "published-ports", "restart-policies", "rolling-updates", "tunnel", "vfio"],
        };
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
}
