using System.CommandLine;
using Volant.Cli.Api;
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
        var quiet = new Option<bool>("--quiet", "-q") { Description = "Print names only" };
        return scope.Define(
            "list",
            "List VMs by name.",
            [status, plugin, quiet],
            ["volar vms list --status running,starting", "volar vms list --quiet --plugin hello | xargs volar vms delete"],
            async (parsed, run, cancellationToken) =>
            {
                var filter = new VmFilter([.. (parsed.GetValue(status) ?? []).SelectMany(Words)], parsed.GetValue(plugin));
                var vms = await run.Client.ListVmsAsync(filter, cancellationToken);
                if (parsed.GetValue(quiet))
                {
                    foreach (var vm in vms)
                    {
                        run.PrintLine(vm.Value.Name);
                    }
                }
                else
                {
                    run.Print(vms);
                }

                return ExitCodes.Ok;
            });
    }

    private static string[] Words(string list) => list.Split(',', StringSplitOptions.TrimEntries);
}
