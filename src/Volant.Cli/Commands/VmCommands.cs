using System.CommandLine;

namespace Volant.Cli.Commands;

/// <summary>The verbs of <c>volar vms</c>.</summary>
internal static class VmCommands
{
    /// <summary>Makes them.</summary>
    public static IEnumerable<Command> Create(CommandScope scope) =>
    [
        VmsCreateCommand.Create(scope),
        VmsListCommand.Create(scope),
        VmsGetCommand.Create(scope),
        VmsDeleteCommand.Create(scope),
        VmsChangeCommands.CreateStart(scope),
        VmsChangeCommands.CreateStop(scope),
        VmsChangeCommands.CreateRestart(scope),
        VmsLogsCommand.Create(scope),
    ];
}
