using System.CommandLine;
using Volant.Cli.Api;
using Volant.Cli.Output;
using Volant.Contracts.Api;

namespace Volant.Cli.Commands;

/// <summary><c>volar vms list</c>.</summary>
internal static class VmsListCommand
{
    /// <summary>Makes the command.</summary>
    public static Command Create(CommandScope scope)
    {
        var status = Symbols.Repeated("--status", "STATUS", "Only VMs in this status: pending, starting, running, stopping, stopped or crashed");
        status.Validators.Add(result =>
        {
            foreach (var word in result.Tokens.SelectMany(token => Words(token.Value)).Where(word => VmStatusRules.FindStatus(word) is null))
            {
                result.AddError($"'{word}' is no status; use {string.Join(", ", Enum.GetValues<VmStatus>().Select(known => known.ToText()))}.");
            }
        });
        var plugin = Symbols.Plugin("Only VMs of this plugin");
        var watch = Symbols.Watch();
        return scope.Define(
            "list",
            "List VMs by name.",
            [status, plugin, watch],
            ["volar vms list --status running,starting", "volar vms list --quiet --plugin hello | xargs volar vms delete", "volar vms list --watch"],
            (parsed, run, cancellationToken) =>
            {
                var filter = new VmFilter([.. (parsed.GetValue(status) ?? []).SelectMany(Words)], parsed.GetValue(plugin));
                return new ListPrinter<Vm>(
                    run, vm => vm.Name, vms => VmView.Table(vms, run.Host.Clock), () => run.Client.ListVmsAsync(filter, cancellationToken)).RunAsync(parsed.GetValue(watch), cancellationToken);
            });
    }

    private static string[] Words(string list) => list.Split(',', StringSplitOptions.TrimEntries);
}
