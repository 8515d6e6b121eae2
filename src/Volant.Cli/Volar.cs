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
            return RefuseUsage(parsed, scope.Error);
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

    private static int RefuseUsage(ParseResult parsed, TextWriter error)
    {
        var message = parsed.Errors.Count > 0 ? parsed.Errors[0].Message : "The command line is not complete.";
        error.WriteLine($"Error: {TerminalText.Clean(message)}");
        error.WriteLine($"See '{CommandTree.PathOf(parsed.CommandResult.Command)} --help'.");
        return ExitCodes.Usage;
    }
}
