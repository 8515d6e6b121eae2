using System.CommandLine;
using Volant.Cli.Output;

namespace Volant.Cli.Commands;

/// <summary><c>volar plugins show</c>.</summary>
internal static class PluginsShowCommand
{
    /// <summary>Makes the command.</summary>
    public static Command Create(CommandScope scope)
    {
        var name = Symbols.PluginName();
        return scope.Define(
            "show",
            "Show a plugin; with --output json its whole manifest.",
            [name],
            ["volar plugins show hello", "volar plugins show hello --output json"],
            async (parsed, run, cancellationToken) =>
            {
                var manifest = await run.Client.GetPluginAsync(parsed.GetRequiredValue(name), cancellationToken);
                if (run.IsStructured)
                {
                    run.Print(manifest);
                }
                else
                {
                    run.Print(PluginView.Details(manifest));
                }

                return ExitCodes.Ok;
            });
    }
}
