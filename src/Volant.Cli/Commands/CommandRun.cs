using System.CommandLine;
using System.Text.Json;
using Volant.Cli.Api;
using Volant.Cli.Output;

namespace Volant.Cli.Commands;

/// <summary>One run of one command: where its data goes, what it says, and the daemon it talks to.</summary>
internal sealed class CommandRun(CommandScope scope, ParseResult parsed) : IDisposable
{
    private VolantClient? _client;

    /// <summary>Standard output.</summary>
    public TextWriter Output => scope.Output;

    /// <summary>The surroundings.</summary>
    public CliHost Host => scope.Host;

    /// <summary>Whether results are printed as JSON.</summary>
    public bool Json { get; } = parsed.GetValue(scope.OutputOption) == "json";

    /// <summary>Standard error.</summary>
    public Talk Talk { get; } = new(scope.Error, scope.Host);

    /// <summary>The daemon; the connection is prepared at the first use, because most of the start-up time would be spent there.</summary>
    public VolantClient Client => _client ??= Connect();

    /// <inheritdoc/>
    public void Dispose() => _client?.Dispose();

    /// <summary>Prints a table as it fits the terminal.</summary>
    public void Print(TextTable table) => table.Write(Output, Screen.Of(Host));

    /// <summary>Prints one line of text, cleaned.</summary>
    public void PrintLine(string line) => Output.WriteLine(TerminalText.Clean(line));

    /// <summary>Prints JSON of the API.</summary>
    public void Print(JsonElement json) => JsonPrinter.Write(Output, json);

    /// <summary>Does the same for each name, reports each failure, and goes on, unless the rest would fail the same way or the user has had enough.</summary>
    /// <returns>The exit code of the first failure; <see cref="ExitCodes.Ok"/> without one.</returns>
    public async Task<int> ForEachAsync(IEnumerable<string> names, Func<string, Task> act)
    {
        var code = ExitCodes.Ok;
        foreach (var name in names.Distinct(StringComparer.Ordinal))
        {
            try
            {
                await act(name);
            }
            catch (CliException e) when (!e.IsDenied && e.ExitCode is not (ExitCodes.Unreachable or ExitCodes.Interrupted))
            {
                Talk.EndProgress();
                ErrorReport.Write(scope.Error, e, Json);
                code = code == ExitCodes.Ok ? e.ExitCode : code;
            }
        }

        return code;
    }

    private VolantClient Connect()
    {
        Host.CatchInterrupts();
        var text = parsed.GetValue(scope.ApiOption);
        text = string.IsNullOrWhiteSpace(text) ? Host.Environment("VOLANT_API_BASE") : text;
        var address = ApiAddress.Parse(string.IsNullOrWhiteSpace(text) ? ApiAddress.Default : text);
        var key = Host.Environment("VOLANT_API_KEY");
        if (!string.IsNullOrWhiteSpace(key) && !address.IsPrivate)
        {
            Talk.Say($"Warning: VOLANT_API_KEY travels unencrypted to {address.Text}; use https, or a tunnel to a loopback address.");
        }

        return new VolantClient(new DaemonConnection(address, key, Host.Clock), Host.Clock);
    }
}
