using System.CommandLine;

namespace Volant.Cli.Commands;

/// <summary>The verbs of <c>volar plugins</c>.</summary>
internal static class PluginCommands
{
    /// <summary>Makes them.</summary>
    public static IEnumerable<Command> Create(CommandScope scope) =>
    [
        PluginsInstallCommand.Create(scope),
        PluginsListCommand.Create(scope),
        PluginsShowCommand.Create(scope),
        PluginsEnableCommands.CreateEnable(scope),
        PluginsEnableCommands.CreateDisable(scope),
        PluginsRemoveCommand.Create(scope),
    ];
}
