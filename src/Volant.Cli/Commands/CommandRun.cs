using System.CommandLine;
using System.Text.Json;
using Volant.Cli.Api;
using Volant.Cli.Media;
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

    /// <summary>How results are printed.</summary>
    public OutputFormat Format { get; init; } = scope.FormatOf(parsed);

    /// <summary>Whether results are printed as documents of the API.</summary>
    public bool IsStructured => Format != OutputFormat.Table;

    /// <summary>Whether only names are printed, and nothing is said but warnings and errors.</summary>
    public bool Quiet { get; } = parsed.GetValue(scope.QuietOption);

    /// <summary>Standard error.</summary>
    public Talk Talk { get; } = new(scope.Error, scope.Host, parsed.GetValue(scope.QuietOption));

    /// <summary>The daemon; the connection is prepared at the first use, because most of the start-up time would be spent there.</summary>
    public VolantClient Client => _client ??= Connect();

    /// <inheritdoc/>
    public void Dispose() => _client?.Dispose();

    /// <summary>Prints a table as it fits the terminal.</summary>
    public void Print(TextTable table) => table.Write(Output, Screen.Of(Host));

    /// <summary>Draws a table over the one that was drawn before, as far as the terminal has lines.</summary>
    /// <param name="table">The table.</param>
    /// <param name="drawn">Lines of the drawing before; 0 for none.</param>
    /// <returns>Lines of this one.</returns>
    public int Redraw(TextTable table, int drawn)
    {
        using var text = new StringWriter { NewLine = "\n" };
        table.Write(text, Screen.Of(Host));
        var lines = text.ToString().TrimEnd('\n').Split('\n');
        var most = Math.Max(2, (Host.TerminalSize()?.Rows ?? int.MaxValue) - 1);
        if (lines.Length > most)
        {
            lines = [.. lines[..(most - 1)], $"… and {lines.Length - most + 1} more"];
        }

        // Up to the first line of the last drawing; every line is cleared behind its text, and the rest of the screen at the end.
        Output.Write(drawn > 0 ? $"\x1b[{drawn}A\r" : string.Empty);
        Output.Write(string.Concat(lines.Select(line => $"{line}\x1b[K\n")));
        Output.Write("\x1b[J");
        Output.Flush();
        return lines.Length;
    }

    /// <summary>Prints one line of text, cleaned.</summary>
    public void PrintLine(string line) => Output.WriteLine(TerminalText.Clean(line));

    /// <summary>Prints lines of text, cleaned.</summary>
    public void PrintLines(IEnumerable<string> lines)
    {
        foreach (var line in lines)
        {
            PrintLine(line);
        }
    }

    /// <summary>Prints a document of the API.</summary>
    public void Print(JsonElement json) => JsonPrinter.Write(Output, json, Format);

    /// <summary>Prints one of several documents that come one after another, at once.</summary>
    public void PrintItem(JsonElement json)
    {
        JsonPrinter.WriteItem(Output, json, Format);
        Output.Flush();
    }

    /// <summary>Tells what was done to something that is gone or has no document of its own: a sentence, its name alone, or a small document.</summary>
    /// <param name="name">Its name.</param>
    /// <param name="sentence">What was done.</param>
    /// <param name="member">What it is now, as a member of the document.</param>
    /// <param name="value">Whether it is so.</param>
    public void Tell(string name, string sentence, string member, bool value)
    {
        Talk.Say(sentence);
        if (IsStructured)
        {
            PrintItem(JsonPrinter.MakeFlag(name, member, value));
        }
        else if (Quiet)
        {
            PrintLine(name);
        }
    }

    /// <summary>Prints a document, or what <paramref name="table"/> makes of it.</summary>
    public void Print(JsonElement json, Func<TextTable> table)
    {
        if (IsStructured)
        {
            Print(json);
        }
        else
        {
            Print(table());
        }
    }

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
                ErrorReport.Write(scope.Error, e, Format);
                code = code == ExitCodes.Ok ? e.ExitCode : code;
            }
        }

        return code;
    }

    /// <summary>The bytes of a file, or of standard input when it is <c>-</c>.</summary>
    /// <exception cref="CliException">It cannot be read, or has more than <paramref name="most"/> bytes.</exception>
    public async Task<byte[]> ReadAsync(string file, int most, CancellationToken cancellationToken)
    {
        if (file != "-")
        {
            return TextFile.ReadBytes(Path.GetFullPath(file, Host.WorkingDirectory), most);
        }

        await using var input = Host.OpenInput();
        return await BoundedBody.TryReadAsync(input, most, cancellationToken) ?? throw CliException.Failed($"Standard input has more than {most >> 20} MiB.");
    }

    private VolantClient Connect()
    {
        Host.CatchInterrupts();
        var address = ApiAddress.Parse(scope.Setting(parsed, scope.ApiOption, "VOLANT_API_BASE") ?? ApiAddress.Default);
        var key = Host.Environment("VOLANT_API_KEY");
        if (!string.IsNullOrWhiteSpace(key) && !address.IsPrivate)
        {
            Talk.Warn($"Warning: VOLANT_API_KEY travels unencrypted to {address.Text}; use https, or a tunnel to a loopback address.");
        }

        var tls = scope.TlsOf(parsed);
        if (tls.Insecure && address.Base.Scheme == Uri.UriSchemeHttps)
        {
            Talk.Warn($"Warning: the certificate of {address.Text} is not checked; anyone on the way can read and change everything, the key included.");
        }

        return new VolantClient(new DaemonConnection(address, key, Host.Clock, tls), Host.Clock);
    }
}
