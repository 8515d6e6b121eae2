using System.CommandLine;
using System.CommandLine.Invocation;
using System.ComponentModel;
using System.Reflection;
using Volant.Fledge.Inspection;
using Volant.Fledge.Sources;

namespace Volant.Fledge.Commands;

/// <summary>The command line of <c>fledge</c>: parses, runs, and turns failures into sentences and exit codes.</summary>
internal static class FledgeApp
{
    /// <summary>Runs one command line.</summary>
    /// <returns>One of <see cref="ExitCodes"/>.</returns>
    public static async Task<int> RunAsync(IReadOnlyList<string> arguments, Terminal terminal, ProgramDefaults defaults, TimeProvider clock, CancellationToken cancellationToken)
    {
        var root = new RootCommand("fledge builds boot media and manifests for Volant microVMs.")
        {
            BuildCommand.Create(terminal, defaults, clock),
            ModulesCommand.Create(terminal),
            InspectCommand.Create(terminal, defaults, clock),
            SchemaCommand.Create(terminal),
            VersionCommand(terminal),
        };
        var configuration = new InvocationConfiguration { Output = terminal.Out, Error = terminal.Error, EnableDefaultExceptionHandler = false };

        // Without a replacer '@' is an ordinary character: a path may start with it.
        var parsed = root.Parse(arguments, new ParserConfiguration { ResponseFileTokenReplacer = null });
        if (parsed.Errors.Count == 0 || parsed.Action is not ParseErrorAction refusal)
        {
            return await parsed.InvokeAsync(configuration, cancellationToken);
        }

        refusal.ShowHelp = false;
        await parsed.InvokeAsync(configuration, cancellationToken);
        await terminal.Error.WriteLineAsync($"Try '{CommandPath(parsed)} --help'.");
        return ExitCodes.Usage;
    }

    /// <summary>Runs the body of a command; what it throws becomes a message and an exit code.</summary>
    public static async Task<int> GuardAsync(Terminal terminal, Func<Task> body)
    {
        try
        {
            await body();
            return ExitCodes.Done;
        }
        catch (FledgeException e)
        {
            foreach (var fault in e.Faults)
            {
                await terminal.Error.WriteLineAsync($"fledge: {fault}");
            }

            return e.ExitCode;
        }
        catch (OperationCanceledException)
        {
            await terminal.Error.WriteLineAsync("fledge: interrupted; nothing was written.");
            return ExitCodes.Interrupted;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or Win32Exception)
        {
            await terminal.Error.WriteLineAsync($"fledge: {e.Message}");
            return ExitCodes.Failed;
        }
    }

    /// <summary>Makes a path argument refuse what looks like an option: a misspelt option must not be taken for a file.</summary>
    public static void RefuseOptions(Argument<string> path) => path.Validators.Add(result =>
    {
        if (result.Tokens is [var token] && token.Value.StartsWith('-'))
        {
            result.AddError($"Unrecognized option '{token.Value}'. For a file of that name write './{token.Value}'.");
        }
    });

    private static Command VersionCommand(Terminal terminal)
    {
        var command = new Command("version", "Print the version");
        command.SetAction((_, _) => GuardAsync(terminal, () => terminal.Out.WriteLineAsync($"fledge {Version()}")));
        return command;
    }

    /// <summary>The version of this program, and of the agent that ships with it.</summary>
    public static string Version() =>
        typeof(FledgeApp).Assembly.GetCustomAttribute<AssemblyInformationalVersionAttribute>()?.InformationalVersion ?? "unknown";

    private static string CommandPath(ParseResult parsed) =>
        parsed.CommandResult.Command is RootCommand ? "fledge" : $"fledge {parsed.CommandResult.Command.Name}";
}
