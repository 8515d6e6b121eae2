using System.CommandLine;
using Volant.Cli.Api;
using Volant.Cli.Output;

namespace Volant.Cli.Commands;

/// <summary>What a command does.</summary>
/// <param name="parsed">Values of its arguments and options.</param>
/// <param name="run">Client, output and talk.</param>
/// <param name="cancellationToken">Cancelled by Ctrl-C.</param>
/// <returns>One of <see cref="ExitCodes"/>.</returns>
internal delegate Task<int> CommandBody(ParseResult parsed, CommandRun run, CancellationToken cancellationToken);

/// <summary>What every command shares: the surroundings, the global options, and how failures are reported.</summary>
/// <param name="host">Streams, environment and clock.</param>
/// <param name="output">Standard output.</param>
/// <param name="error">Standard error.</param>
internal sealed class CommandScope(CliHost host, TextWriter output, TextWriter error)
{
    private readonly Dictionary<Command, IReadOnlyList<string>> _examples = [];

    /// <summary>The surroundings.</summary>
    public CliHost Host { get; } = host;

    /// <summary>Standard output.</summary>
    public TextWriter Output { get; } = output;

    /// <summary>Standard error.</summary>
    public TextWriter Error { get; } = error;

    /// <summary><c>--api</c>.</summary>
    public Option<string?> ApiOption { get; } = new("--api")
    {
        Description = "Where volantd listens: http://, https:// or unix:///PATH [default: $VOLANT_API_BASE, else http://127.0.0.1:7777]",
        HelpName = "URL",
        Recursive = true,
    };

    /// <summary><c>--output</c>.</summary>
    public Option<string?> OutputOption { get; } = new Option<string?>("--output", "-o")
    {
        Description = "How to print the result [default: table]",
        HelpName = "table|json|yaml",
        Recursive = true,
    }.AcceptOnlyFromAmong("table", "json", "yaml");

    /// <summary><c>--quiet</c>.</summary>
    public Option<bool> QuietOption { get; } = new("--quiet", "-q") { Description = "Print names only, and say nothing but warnings and errors", Recursive = true };

    /// <summary><c>--tls-ca</c>.</summary>
    public Option<string?> TlsCaOption { get; } = TlsFile("--tls-ca", "Certificates (PEM) to trust in place of the system's [default: $VOLANT_TLS_CA]");

    /// <summary><c>--tls-cert</c>.</summary>
    public Option<string?> TlsCertOption { get; } = TlsFile("--tls-cert", "Own certificate (PEM) to show to volantd [default: $VOLANT_TLS_CERT]");

    /// <summary><c>--tls-key</c>.</summary>
    public Option<string?> TlsKeyOption { get; } = TlsFile("--tls-key", "Key (PEM) of --tls-cert, when it is not in the same file [default: $VOLANT_TLS_KEY]");

    /// <summary><c>--tls-insecure</c>.</summary>
    public Option<bool> TlsInsecureOption { get; } = new("--tls-insecure") { Description = "Do not check the certificate of volantd [default: $VOLANT_TLS_INSECURE]", Recursive = true, Hidden = true };

    /// <summary>Examples of a command; empty when it has none.</summary>
    public IReadOnlyList<string> ExamplesOf(Command command) => _examples.GetValueOrDefault(command) ?? [];

    /// <summary>Records the examples that the help of <paramref name="command"/> ends with.</summary>
    public void AddExamples(Command command, params string[] examples) => _examples[command] = examples;

    /// <summary>Makes a command that does something.</summary>
    /// <param name="name">Its verb.</param>
    /// <param name="description">One sentence.</param>
    /// <param name="symbols">Arguments and options, in the order of the help.</param>
    /// <param name="examples">One or two command lines.</param>
    /// <param name="body">What it does; a <see cref="CliException"/> is reported here.</param>
    public Command Define(string name, string description, Symbol[] symbols, string[] examples, CommandBody body)
    {
        var command = new Command(name, description);
        foreach (var symbol in symbols)
        {
            if (symbol is Argument argument)
            {
                command.Add(argument);
            }
            else
            {
                command.Add((Option)symbol);
            }
        }

        AddExamples(command, examples);
        command.SetAction((parsed, cancellationToken) => RunAsync(parsed, body, cancellationToken));
        return command;
    }

    /// <summary>How results are printed; a command's own <c>--output</c> stands before the one of all.</summary>
    public OutputFormat FormatOf(ParseResult parsed) => FormatOf(OwnOutput(parsed) ?? parsed.GetValue(OutputOption));

    private static OutputFormat FormatOf(string? word) => word switch
    {
        "json" => OutputFormat.Json,
        "yaml" => OutputFormat.Yaml,
        _ => OutputFormat.Table,
    };

    /// <summary>The same for a command line that cannot be parsed: as far as it can be told.</summary>
    public OutputFormat RequestedFormat(ParseResult parsed) => parsed.GetResult(OutputOption)?.Tokens is [{ Value: var word }] ? FormatOf(word) : OutputFormat.Table;

    /// <summary>A setting from its option, else from its variable; null when neither says anything.</summary>
    public string? Setting(ParseResult parsed, Option<string?> option, string variable) =>
        parsed.GetValue(option) is { } given && !string.IsNullOrWhiteSpace(given) ? given
        : Host.Environment(variable) is { } set && !string.IsNullOrWhiteSpace(set) ? set : null;

    /// <summary>What the user says about TLS.</summary>
    public TlsSettings TlsOf(ParseResult parsed) => new(
        Path(Setting(parsed, TlsCaOption, "VOLANT_TLS_CA")),
        Path(Setting(parsed, TlsCertOption, "VOLANT_TLS_CERT")),
        Path(Setting(parsed, TlsKeyOption, "VOLANT_TLS_KEY")),
        parsed.GetValue(TlsInsecureOption) || Host.Environment("VOLANT_TLS_INSECURE") == "1");

    private static string? OwnOutput(ParseResult parsed) =>
        parsed.CommandResult.Command.Options.OfType<Option<string?>>().FirstOrDefault(option => option.Name == "--output") is { } own ? parsed.GetValue(own) : null;

    private static Option<string?> TlsFile(string name, string description) => new(name) { Description = description, HelpName = "FILE", Recursive = true, Hidden = true };

    private string? Path(string? file) => file is null ? null : System.IO.Path.GetFullPath(file, Host.WorkingDirectory);

    private async Task<int> RunAsync(ParseResult parsed, CommandBody body, CancellationToken cancellationToken)
    {
        using var run = new CommandRun(this, parsed);
        try
        {
            return await body(parsed, run, cancellationToken);
        }
        catch (CliException e)
        {
            run.Talk.EndProgress();
            ErrorReport.Write(Error, e, run.Format);
            return e.ExitCode;
        }
        catch (OperationCanceledException) when (cancellationToken.IsCancellationRequested)
        {
            run.Talk.Warn("Interrupted.");
            return ExitCodes.Interrupted;
        }
    }
}
