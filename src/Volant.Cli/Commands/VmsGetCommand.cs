using System.CommandLine;

namespace Volant.Cli.Commands;

/// <summary><c>volar vms get</c>.</summary>
internal static class VmsGetCommand
{
    /// <summary>Makes the command.</summary>
    public static Command Create(CommandScope scope)
    {
        var name = Symbols.VmName();
        return scope.Define(
            "get",
            "Show one VM.",
            [name],
            ["volar vms get web", "volar vms get web --output json | jq -r .ip_address"],
            async (parsed, run, cancellationToken) =>
            {
                run.Print(await run.Client.GetVmAsync(parsed.GetRequiredValue(name), cancellationToken));
                return ExitCodes.Ok;
            });
    }
}
