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
        VmsScaleCommand.Create(scope),
        VmsLogsCommand.Create(scope),
        VmsConsoleCommand.Create(scope),
        VmsExecCommand.Create(scope),
        VmsCpCommand.Create(scope),
        VmsPortForwardCommand.Create(scope),
        VmsTopCommand.Create(scope),
        VmsCallCommands.CreateOperations(scope),
        VmsCallCommands.CreateCall(scope),
        CommandTree.Group("config", "Read and change the configuration of VMs.", VmsConfigCommands.Create(scope)),
    ];
}
