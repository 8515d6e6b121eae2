using System.CommandLine;
using System.CommandLine.Parsing;
using Volant.Cli.Guests;
using Volant.Contracts.Api;

namespace Volant.Cli.Commands;

/// <summary><c>volar vms exec</c>: a command in a guest, with the options that users of containers know.</summary>
internal sealed class VmsExecCommand
{
    private readonly Argument<string> _name = Symbols.VmName();
    private readonly Argument<string[]> _command = new("COMMAND") { Description = "Program and its arguments; everything after NAME belongs to it", Arity = ArgumentArity.OneOrMore, CaptureRemainingTokens = true };
    private readonly Option<bool> _interactive = new("--interactive", "-i") { Description = "Standard input is the command's input" };
    private readonly Option<bool> _tty = new("--tty", "-t") { Description = "Give the command a terminal" };
    private readonly Option<string[]> _env = Symbols.Repeated("--env", "NAME=VALUE", "Environment variable; NAME alone takes this shell's value", "-e");
    private readonly Option<string?> _workdir = Symbols.Text("--workdir", "DIR", "Absolute working directory [default: the workload's]", "-w");
    private readonly Option<string?> _user = Symbols.Text("--user", "USER[:GROUP]", "User to run as [default: root]", "-u");
    private readonly Option<TimeSpan?> _timeout = Symbols.Duration("--timeout", "Time limit, such as 30s or 5m [default: none]", ExecRules.MaxTimeoutMs);

    private VmsExecCommand()
    {
    }

    /// <summary>Makes the command.</summary>
    public static Command Create(CommandScope scope) => new VmsExecCommand().Define(scope);

    private Command Define(CommandScope scope) => scope.Define(
        "exec",
        "Run a command in a VM; its exit code is passed on. With --output json (before NAME) it is waited for, and its result printed.",
        [_name, _command, _interactive, _tty, _env, _workdir, _user, _timeout],
        ["volar vms exec web ls -la /", "volar vms exec -it web /bin/sh", "volar vms exec --output json web uname -a"],
        RunAsync);

    private async Task<int> RunAsync(ParseResult parsed, CommandRun run, CancellationToken cancellationToken)
    {
        var name = parsed.GetRequiredValue(_name);
        if (parsed.GetRequiredValue(_command) is [['-', ..] word, ..] && parsed.Tokens.All(token => token.Type != TokenType.DoubleDash))
        {
            throw CliException.Usage($"'{word}' stands where the command begins; options of exec go before the VM's name: volar vms exec {word} ... {name} COMMAND. A command that starts with a dash goes behind '--'.");
        }

        var (interactive, tty) = (parsed.GetValue(_interactive), parsed.GetValue(_tty));
        if (tty && run.IsStructured)
        {
            throw CliException.Usage("--tty has no meaning with --output json or yaml; leave one of them out.");
        }

        if (tty && interactive && !run.Host.InputIsTerminal)
        {
            throw CliException.Usage("Standard input is no terminal: leave out --tty (-t) to pipe into the command.");
        }

        var size = tty && run.Host.TerminalSize() is var (columns, rows) ? ExecSession.Clamp(columns, rows) : null;
        var request = new ExecRequest
        {
            Command = parsed.GetRequiredValue(_command),
            Env = Variables(run.Host, parsed.GetValue(_env) ?? []),
            Workdir = parsed.GetValue(_workdir),
            User = parsed.GetValue(_user),
            TimeoutMs = parsed.GetValue(_timeout) is { } limit ? (int)limit.TotalMilliseconds : null,
            Tty = tty ? true : null,
            Cols = size?.Cols,
            Rows = size?.Rows,
        };
        if (ExecRules.Validate(request, isInteractive: true) is { Count: > 0 } faults)
        {
            throw new CliException(ExitCodes.Usage, "The command cannot be sent.") { Code = "usage", Fields = faults };
        }

        if (run.IsStructured)
        {
            return await WaitAsync(run, name, request, interactive, cancellationToken);
        }

        await using var socket = await run.Client.OpenExecAsync(name, cancellationToken);
        return await new ExecSession(socket, run.Host, run.Talk.Warn, name).RunAsync(request, interactive, cancellationToken);
    }

    private static async Task<int> WaitAsync(CommandRun run, string name, ExecRequest request, bool interactive, CancellationToken cancellationToken)
    {
        if (interactive)
        {
            using var reader = new StreamReader(run.Host.OpenInput());
            request = request with { Stdin = await reader.ReadToEndAsync(cancellationToken) };
        }

        var result = await run.Client.ExecAsync(name, request, cancellationToken);
        run.Print(result.Json);
        return result.Value.ExitCode;
    }

    private static Dictionary<string, string>? Variables(CliHost host, string[] given)
    {
        var variables = new Dictionary<string, string>(StringComparer.Ordinal);
        foreach (var text in given)
        {
            var at = text.IndexOf('=', StringComparison.Ordinal);
            if (at > 0)
            {
                variables[text[..at]] = text[(at + 1)..];
            }
            else if (at < 0 && host.Environment(text) is { } value)
            {
                variables[text] = value;
            }
        }

        return variables.Count == 0 ? null : variables;
    }
}
