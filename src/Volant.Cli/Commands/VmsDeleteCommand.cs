using System.CommandLine;

namespace Volant.Cli.Commands;

/// <summary><c>volar vms delete</c>.</summary>
internal static class VmsDeleteCommand
{
    /// <summary>Makes the command.</summary>
    public static Command Create(CommandScope scope)
    {
        var names = Symbols.VmNames();
        var ignore = new Option<bool>("--ignore-not-found") { Description = "Take a VM that does not exist for deleted" };
        return scope.Define(
            "delete",
            "Stop and delete VMs, with their disks and logs.",
            [names, ignore],
            ["volar vms delete web", "volar vms delete web-1 web-2 --ignore-not-found"],
            (parsed, run, cancellationToken) => run.ForEachAsync(parsed.GetRequiredValue(names), async name =>
            {
                try
                {
                    await run.Client.DeleteVmAsync(name, cancellationToken);
                    run.Tell(name, $"Deleted VM '{name}'.", "deleted", value: true);
                }
                catch (CliException e) when (e.IsNotFound && parsed.GetValue(ignore))
                {
                    run.Tell(name, $"There is no VM '{name}'.", "deleted", value: true);
                }
            }));
    }
}
