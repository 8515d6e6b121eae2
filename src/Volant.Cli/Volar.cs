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
        await using var error = new StreamWriter(host.Error, Utf8, bufferSize: 512, leaveOpen: true) { NewLine = "\n", AutoFlush = true };
        try
        {
            await using var output = new StreamWriter(host.Output, Utf8, bufferSize: 4096, leaveOpen: true) { NewLine = "\n" };
            var code = await DispatchAsync(args, new CommandScope(host, output, error), cancellationToken);
            await output.FlushAsync(CancellationToken.None);
            return code;
        }
        catch (IOException e)
        {
            // Network and file failures became CliException where they happened: this one is standard output.
            if (e.HResult == BrokenPipe)
            {
                return ExitCodes.OutputClosed;
            }

            await error.WriteLineAsync($"Error: Standard output cannot be written: {e.Message}");
            return ExitCodes.Failed;
        }
    }

    private static async Task<int> DispatchAsync(string[] args, CommandScope scope, CancellationToken cancellationToken)
    {
        // Response files would make an argument such as @reboot read a file.
        var parsed = CommandTree.Build(scope, args).Parse(args, new ParserConfiguration { ResponseFileTokenReplacer = null });
        if (parsed.Action is ParseErrorAction)
        {
            var message = parsed.Errors.Count > 0 ? parsed.Errors[0].Message : "The command line is not complete.";
            await scope.Error.WriteLineAsync($"Error: {TerminalText.Clean(message)}");
            await scope.Error.WriteLineAsync($"See '{CommandTree.PathOf(parsed.CommandResult.Command)} --help'.");
            return ExitCodes.Usage;
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
}
