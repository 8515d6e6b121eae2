using System.CommandLine;

namespace Volant.Cli.Commands;

/// <summary><c>volar plugins remove</c>.</summary>
internal static class PluginsRemoveCommand
{
    /// <summary>Makes the command.</summary>
    public static Command Create(CommandScope scope)
    {
        var name = Symbols.PluginName();
        return scope.Define(
            "remove",
            "Remove a plugin that no VM uses.",
            [name],
            ["volar plugins remove hello"],
            async (parsed, run, cancellationToken) =>
            {
                var plugin = parsed.GetRequiredValue(name);
                await run.Client.RemovePluginAsync(plugin, cancellationToken);
                run.Tell(plugin, $"Removed plugin '{plugin}'.", "deleted", value: true);
                return ExitCodes.Ok;
            });
    }
}
