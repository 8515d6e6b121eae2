using System.CommandLine;
using System.Text.Json;
using Volant.Cli.Doctor;
using Volant.Cli.Output;
using Volant.Cli.Setup;

namespace Volant.Cli.Commands;

/// <summary><c>volar setup</c>: makes this host one where volantd runs as a service, and takes that back.</summary>
internal static class SetupCommand
{
    private const string Description = "Set this host up: user, directories, settings and systemd unit of volantd. A second run changes nothing.";

    private static readonly string[] DaemonDirectories = ["/usr/lib/volant", "/usr/local/lib/volant"];

    /// <summary>Makes the command; its options only when the command line names it, which saves start-up time.</summary>
    public static Command Create(CommandScope scope, IReadOnlyList<string> args)
    {
        if (!args.Any(arg => arg.Contains("setup", StringComparison.Ordinal)))
        {
            return new Command("setup", Description);
        }

        var options = new SetupOptions();
        return scope.Define(
            "setup",
            Description,
            options.All,
            ["volar setup --dry-run", "volar setup --subnet 10.20.0.0/24", "volar setup --undo"],
            (parsed, run, cancellationToken) =>
            {
                var root = new HostRoot(run.Host.Environment, run.Host.Root);
                var host = new SetupHost(root);
                if (parsed.GetValue(options.Undo))
                {
                    RefuseOthers(parsed, options.Undo, options.DryRun);
                    return UndoAsync(run, host, parsed.GetValue(options.DryRun), cancellationToken);
                }

                var settings = options.Read(parsed, () => FindDaemon(root)).Checked();
                if (parsed.GetValue(options.Print) is not { } file)
                {
                    return SetUpAsync(run, root, host, settings, parsed.GetValue(options.DryRun), cancellationToken);
                }

                Print(run.Output, file, settings);
                return Task.FromResult(ExitCodes.Ok);
            });
    }

    private static void Print(TextWriter output, string file, SetupSettings settings) => output.Write(file switch
    {
        "unit" => ServiceUnit.Text(settings),
        "environment" => EnvironmentFile.Text(settings),
        _ => ServiceUnit.Sysctl,
    });

    private static async Task<int> SetUpAsync(CommandRun run, HostRoot root, SetupHost host, SetupSettings settings, bool dryRun, CancellationToken cancellationToken)
    {
        RequireRoot(host, dryRun, "setup");
        run.Host.CatchInterrupts();
        await CheckDaemonAsync(host, settings, cancellationToken);
        await foreach (var check in new HostChecks(root, run.Host.Clock).RunAsync(cancellationToken))
        {
            // Forwarding is what setup itself sees to.
            if (check is { Result: CheckResult.Failed or CheckResult.Warning } and not { Name: HostChecks.Forwarding })
            {
                run.Talk.Warn($"{check.Name}: {check.Message}{(check.Remedy is { } remedy ? $" To do: {remedy}." : string.Empty)}");
            }
        }

        using var held = dryRun ? null : Hold(host);
        var journal = SetupJournal.Load(host);
        return await RunAsync(run, new SetupSteps(host, journal, settings).All(), dryRun, "The host is set up already.", cancellationToken);
    }

    private static async Task<int> UndoAsync(CommandRun run, SetupHost host, bool dryRun, CancellationToken cancellationToken)
    {
        RequireRoot(host, dryRun, "setup --undo");
        run.Host.CatchInterrupts();
        using var held = dryRun ? null : Hold(host);
        var journal = SetupJournal.Load(host);
        if (journal.Changes.Count == 0)
        {
            run.Talk.Say("volar setup has changed nothing on this host.");
            return ExitCodes.Ok;
        }

        return await RunAsync(run, new UndoSteps(host, journal).All(), dryRun, "Nothing is left to undo.", cancellationToken);
    }

    private static async Task<int> RunAsync(CommandRun run, IReadOnlyList<SetupStep> steps, bool dryRun, string nothing, CancellationToken cancellationToken)
    {
        var results = new List<StepResult>();
        try
        {
            await StepResult.RunAsync(steps, dryRun, results.Add, cancellationToken);
        }
        finally
        {
            // Also when a step failed: what was done before it is done.
            run.Print(JsonPrinter.Make(json => Write(json, results)), () => Table(results));
        }

        if (results.TrueForAll(result => result.View.State != StepState.Pending))
        {
            run.Talk.Say(nothing);
        }

        return ExitCodes.Ok;
    }

    private static TextTable Table(List<StepResult> results)
    {
        var table = new TextTable("WHAT", "RESULT", "DETAIL");
        foreach (var result in results)
        {
            table.Add(result.Subject, new Cell(result.View.Word(result.Done), result.View.State switch
            {
                StepState.Pending => Paint.Green,
                StepState.Kept or StepState.Skipped => Paint.Yellow,
                _ => Paint.None,
            }), result.View.Detail);
        }

        return table;
    }

    private static void Write(Utf8JsonWriter json, List<StepResult> results)
    {
        json.WriteStartArray();
        foreach (var result in results)
        {
            json.WriteStartObject();
            json.WriteString("what", result.Subject);
            json.WriteString("result", result.View.Word(result.Done));
            if (result.View.Detail is { } detail)
            {
                json.WriteString("detail", detail);
            }

            json.WriteEndObject();
        }

        json.WriteEndArray();
    }

    /// <summary>The daemon itself says whether it would start with these settings: its rules are in one place.</summary>
    private static async Task CheckDaemonAsync(SetupHost host, SetupSettings settings, CancellationToken cancellationToken)
    {
        string text;
        try
        {
            text = host.Read(SetupSettings.EnvironmentPath) is { } old ? EnvironmentFile.Merge(System.Text.Encoding.UTF8.GetString(old), settings) : EnvironmentFile.Text(settings);
        }
        catch (CliException) when (!host.MayChange)
        {
            return;
        }

        var (code, output) = await host.TryRunAsync(
            settings.Daemon,
            ["--check"],
            [$"VOLANT_DB_PATH={settings.StateDirectory}/state.db", $"VOLANT_RUNTIME_DIR={settings.RuntimeDirectory}", $"VOLANT_LOG_DIR={settings.LogDirectory}", .. EnvironmentFile.Variables(text)],
            cancellationToken);
        if (code != 0)
        {
            throw CliException.Failed($"volantd would not start with these settings: {output.ReplaceLineEndings(" ")}");
        }
    }

    private static string FindDaemon(HostRoot root) =>
        DaemonDirectories.Prepend(root.IsHost ? AppContext.BaseDirectory : DaemonDirectories[0]).Select(directory => Path.Combine(directory, "volantd")).FirstOrDefault(path => File.Exists(root.At(path)))
        ?? root.FindProgram("volantd")
        ?? throw CliException.Failed("The program 'volantd' is neither beside volar nor in /usr/lib/volant, /usr/local/lib/volant or PATH; install the package or the tarball.");

    private static void RequireRoot(SetupHost host, bool dryRun, string command)
    {
        if (!dryRun && !host.MayChange)
        {
            throw new CliException(ExitCodes.Failed, $"'volar {command}' changes this host and must run as root.") { Code = "not_root", Hint = $"sudo volar {command}; with --dry-run it only says what it would do" };
        }
    }

    private static void RefuseOthers(ParseResult parsed, params Option[] allowed)
    {
        if (parsed.CommandResult.Command.Options.FirstOrDefault(option => !allowed.Contains(option) && parsed.GetResult(option) is { Implicit: false }) is { } other)
        {
            throw CliException.Usage($"{other.Name} has no meaning with --undo, which takes back whatever was set.");
        }
    }

    /// <summary>Keeps a second run away for as long as this one lasts.</summary>
    private static FileStream Hold(SetupHost host)
    {
        const string Path = "/run/volar-setup.lock";
        try
        {
            return new FileStream(host.At(Path), new FileStreamOptions { Mode = FileMode.OpenOrCreate, Access = FileAccess.ReadWrite, Share = FileShare.None, Options = FileOptions.DeleteOnClose });
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw CliException.Failed($"Another 'volar setup' runs, or '{Path}' cannot be made ({e.Message}); wait for it.", e);
        }
    }
}
