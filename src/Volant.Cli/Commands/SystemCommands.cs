using System.CommandLine;
using System.Globalization;
using Volant.Cli.Output;

namespace Volant.Cli.Commands;

/// <summary>The verbs of <c>volar system</c>.</summary>
internal static class SystemCommands
{
    /// <summary>Makes them.</summary>
    public static IEnumerable<Command> Create(CommandScope scope) => [CreateInfo(scope), CreateStatus(scope), CreateSummary(scope)];

    private static Command CreateInfo(CommandScope scope) => scope.Define(
        "info",
        "Show version, addresses and abilities of volantd.",
        symbols: [],
        ["volar system info", "volar system info --output json"],
        async (_, run, cancellationToken) =>
        {
            var info = await run.Client.GetInfoAsync(cancellationToken);
            run.Print(info.Json, () =>
            {
                var table = new TextTable();
                table.Add("Status:", info.Value.Status);
                table.Add("Version:", info.Value.Version);
                table.Add("Listens on:", info.Value.ApiListenAddr);
                table.Add("Clients use:", info.Value.ApiAdvertiseAddr);
                table.Add("Host IP:", info.Value.HostIp);
                table.Add("Hypervisors:", string.Join(' ', info.Value.Hypervisors));
                table.Add("KVM:", info.Value.Kvm ? "yes" : new Cell("no, guests are emulated", Paint.Yellow));
                table.Add("Features:", string.Join(' ', info.Value.Features ?? []));
                return table;
            });
            return ExitCodes.Ok;
        });

    private static Command CreateStatus(CommandScope scope) => scope.Define(
        "status",
        "Show how busy the host of volantd is.",
        symbols: [],
        ["volar system status"],
        async (_, run, cancellationToken) =>
        {
            var status = await run.Client.GetStatusAsync(cancellationToken);
            run.Print(status.Json, () =>
            {
                var table = new TextTable("VMS", "CPU", "MEMORY");
                table.Add(Text($"{status.Value.VmCount}"), Text($"{status.Value.CpuPercent:F1}%"), Text($"{status.Value.MemPercent:F1}%"));
                return table;
            });
            return ExitCodes.Ok;
        });

    private static Command CreateSummary(CommandScope scope) => scope.Define(
        "summary",
        "Count VMs by status and runtime, and list the plugins.",
        symbols: [],
        ["volar system summary"],
        async (_, run, cancellationToken) =>
        {
            var summary = await run.Client.GetSummaryAsync(cancellationToken);
            run.Print(summary.Json, () =>
            {
                var table = new TextTable();
                table.Add("VMs:", Text($"{summary.Value.TotalVms}"));
                foreach (var (status, count) in summary.Value.ByStatus.Where(each => each.Value > 0))
                {
                    table.Add($"  {status}:", Text($"{count}"));
                }

                foreach (var (runtime, count) in summary.Value.ByRuntime)
                {
                    table.Add($"  runtime {runtime}:", Text($"{count}"));
                }

                table.Add("Plugins:", Text($"{summary.Value.TotalPlugins}, {summary.Value.EnabledPlugins} enabled"));
                foreach (var plugin in summary.Value.Plugins)
                {
                    table.Add($"  {plugin.Name}:", plugin.Enabled ? plugin.Version : $"{plugin.Version}, disabled");
                }

                return table;
            });
            return ExitCodes.Ok;
        });

    private static string Text(FormattableString text) => text.ToString(CultureInfo.InvariantCulture);
}
