using System.ComponentModel;
using ModelContextProtocol.Server;
using Volant.Daemon.Hypervisors;
using Volant.Daemon.Plugins;
using Volant.Daemon.Store;
using Volant.Linux.Kernel;

namespace Volant.Daemon.Api.Mcp;

/// <summary>Tool for the daemon and its host.</summary>
[McpServerToolType]
internal sealed class SystemTools(DaemonOptions options, IHypervisorLauncher launcher, VolantStore store, PluginRegistry plugins, HostLoad load)
{
    [McpServerTool(Name = "get_system_info", Title = "Get system information", ReadOnly = true, OpenWorld = false, UseStructuredContent = true)]
    [Description("Tells the version and abilities of the daemon, how busy its host is, and how many VMs have which status.")]
    public SystemOverview Get()
    {
        var info = SystemEndpoints.Describe(options, launcher);
        var summary = SystemEndpoints.Summarise(store, plugins);
        var busy = SystemEndpoints.Measure(store, load);
        return new SystemOverview
        {
            Version = info.Version,
            Hypervisors = info.Hypervisors,
            Kvm = info.Kvm,
            Features = info.Features,
            CpuPercent = busy.CpuPercent,
            MemPercent = busy.MemPercent,
            TotalVms = summary.TotalVms,
            VmsByStatus = summary.ByStatus,
            EnabledPlugins = summary.EnabledPlugins,
        };
    }
}
