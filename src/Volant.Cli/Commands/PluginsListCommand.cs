using System.CommandLine;
using System.Text.Json;
using Volant.Cli.Output;
using Volant.Contracts;

namespace Volant.Cli.Commands;

/// <summary><c>volar plugins list</c>.</summary>
internal static class PluginsListCommand
{
    /// <summary>Makes the command.</summary>
    public static Command Create(CommandScope scope) => scope.Define(
        "list",
        "List the installed plugins.",
        symbols: [],
        ["volar plugins list", "volar plugins list --output json | jq -r '.[]'"],
        (_, run, cancellationToken) => RunAsync(run, cancellationToken));

    private static async Task<int> RunAsync(CommandRun run, CancellationToken cancellationToken)
    {
        var names = await run.Client.ListPluginsAsync(cancellationToken);
        if (run.IsStructured)
        {
            run.Print(JsonPrinter.Make(writer =>
            {
                writer.WriteStartArray();
                foreach (var name in names)
                {
                    writer.WriteStringValue(name);
                }

                writer.WriteEndArray();
            }));
            return ExitCodes.Ok;
        }

        if (run.Quiet)
        {
            run.PrintLines(names);
            return ExitCodes.Ok;
        }

        var manifests = new List<JsonElement>();
        foreach (var name in names.Where(Names.IsPluginName))
        {
            try
            {
                manifests.Add(await run.Client.GetPluginAsync(name, cancellationToken));
            }
            catch (CliException e) when (e.IsNotFound)
            {
                // Removed since the list was made.
            }
        }

        run.Print(PluginView.Table(manifests));
        return ExitCodes.Ok;
    }
}
