using System.CommandLine;

namespace Volant.Cli.Commands;

/// <summary><c>volar plugins enable</c> and <c>disable</c>.</summary>
internal static class PluginsEnableCommands
{
    /// <summary>Makes <c>enable</c>.</summary>
    public static Command CreateEnable(CommandScope scope) => Create(scope, "enable", "Let VMs be created from plugins again.", enabled: true);

    /// <summary>Makes <c>disable</c>.</summary>
    public static Command CreateDisable(CommandScope scope) => Create(scope, "disable", "Let no new VMs be created from plugins; those that are there go on.", enabled: false);

    private static Command Create(CommandScope scope, string verb, string description, bool enabled)
    {
        var names = Symbols.PluginNames();
        return scope.Define(verb, description, [names], [$"volar plugins {verb} hello"], (parsed, run, cancellationToken) => run.ForEachAsync(parsed.GetRequiredValue(names), async name =>
        {
            await run.Client.SetPluginEnabledAsync(name, enabled, cancellationToken);
            run.Tell(name, $"{(enabled ? "Enabled" : "Disabled")} plugin '{name}'.", "enabled", enabled);
        }));
    }
}
