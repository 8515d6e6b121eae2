using System.CommandLine;
using System.CommandLine.Invocation;
using System.Text;
using Volant.Cli.Commands;
using Volant.Cli.Output;

namespace Volant.Cli;

/// <summary>The whole program as a function of its arguments and its surroundings.</summary>
internal static class Volar
{
    /// <summary>errno of a write to a pipe that nobody reads; what <see cref="Exception.HResult"/> holds then.</summary>
    private const int BrokenPipe = 32;

    private static readonly UTF8Encoding Utf8 = new(encoderShouldEmitUTF8Identifier: false);

    /// <summary>Runs one command line.</summary>
    /// <param name="args">Arguments without the program's name.</param>
    /// <param name="host">Streams, environment and clock.</param>
    /// <param name="cancellationToken">Cancelled by Ctrl-C.</param>
    /// <returns>One of <see cref="ExitCodes"/>.</returns>
    public static async Task<int> RunAsync(string[] args, CliHost host, CancellationToken cancellationToken)
    {
        using var error = new StreamWriter(host.Error, Utf8, bufferSize: 512, leaveOpen: true) { NewLine = "\n", AutoFlush = true };
        try
        {
            // Disposed, thus flushed, synchronously: an asynchronous write goes over the thread pool, whose start takes 5 ms.
            using var output = new StreamWriter(host.Output, Utf8, bufferSize: 4096, leaveOpen: true) { NewLine = "\n" };
            return await DispatchAsync(args, new CommandScope(host, output, error), cancellationToken);
        }
        catch (IOException e)
        {
            // Network and file failures became CliException where they happened: this one is standard output.
            if (e.HResult == BrokenPipe)
            {
                return ExitCodes.OutputClosed;
            }

            ErrorReport.Write(error, CliException.Failed($"Standard output cannot be written: {e.Message}"), OutputFormat.Table);
            return ExitCodes.Failed;
        }
    }

    private static async Task<int> DispatchAsync(string[] args, CommandScope scope, CancellationToken cancellationToken)
    {
        if (Completions.IsRequest(args))
        {
            return await Completions.RunAsync(args, scope, cancellationToken);
        }

        // Response files would make an argument such as @reboot read a file.
        var parsed = CommandTree.Build(scope, args).Parse(args, new ParserConfiguration { ResponseFileTokenReplacer = null });
        if (parsed.Action is ParseErrorAction)
        {
            return RefuseUsage(parsed, scope);
        }

        return await parsed.InvokeAsync(
            new InvocationConfiguration
            {
                Output = scope.Output,
                Error = scope.Error,
                EnableDefaultExceptionHandler = false,
                ProcessTerminationTimeout = null,
            },
            cancellationToken);
    }

    private static int RefuseUsage(ParseResult parsed, CommandScope scope)
    {
        var help = $"{CommandTree.PathOf(parsed.CommandResult.Command)} --help";
        var message = parsed.UnmatchedTokens is [var word, ..] ? Describe(parsed, word, scope)
            : parsed.Errors.Count > 0 ? parsed.Errors[0].Message
            : "The command line is not complete.";
        var format = scope.RequestedFormat(parsed);
        ErrorReport.Write(scope.Error, CliException.Usage(format == OutputFormat.Table ? message : $"{message} See '{help}'."), format);
        if (format == OutputFormat.Table)
        {
            scope.Error.WriteLine($"See '{help}'.");
        }

        return ExitCodes.Usage;
    }

    private static string Describe(ParseResult parsed, string word, CommandScope scope)
    {
        var command = parsed.CommandResult.Command;
        var what = word.StartsWith('-') ? $"'{CommandTree.PathOf(command)}' has no option '{word}'"
            : command.Subcommands.Count > 0 ? $"'{CommandTree.PathOf(command)}' has no command '{word}'"
            : $"'{CommandTree.PathOf(command)}' takes no further argument '{word}'";
        var meant = Suggestions.For(parsed, word, () => CommandTree.Build(scope, CommandTree.Nouns));
        return meant.Count == 0 ? $"{what}." : $"{what}; did you mean {string.Join(" or ", meant.Select(each => $"'{each}'"))}?";
    }
}
