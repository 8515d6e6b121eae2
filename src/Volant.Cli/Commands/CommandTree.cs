using System.CommandLine;
using System.CommandLine.Help;
using System.CommandLine.Invocation;
using System.Globalization;
using Volant.Cli.Output;

namespace Volant.Cli.Commands;

/// <summary>The commands by noun and verb.</summary>
internal static class CommandTree
{
    private const int HelpWidth = 100;

    /// <summary>Words that have verbs below them.</summary>
    public static IReadOnlyList<string> Nouns { get; } = ["vms", "deployments", "volumes", "plugins", "system"];

    /// <summary>Builds the tree for one command line; a noun that the line does not hold gets no verbs, which saves start-up time.</summary>
    public static RootCommand Build(CommandScope scope, IReadOnlyList<string> args)
    {
        var root = new RootCommand("volar runs microVMs as easily as containers. It talks to volantd.")
        {
            scope.ApiOption,
            scope.OutputOption,
            scope.QuietOption,
            scope.TlsCaOption,
            scope.TlsCertOption,
            scope.TlsKeyOption,
            scope.TlsInsecureOption,
            RunCommand.Create(scope),
            Noun(scope, args, "vms", "Create, inspect and run VMs.", VmCommands.Create),
            Noun(scope, args, "deployments", "Keep a number of equal VMs running.", DeploymentCommands.Create),
            Noun(scope, args, "volumes", "Create and inspect disks that outlive VMs.", VolumeCommands.Create),
            Noun(scope, args, "plugins", "Install and inspect plugins: what VMs are made from.", PluginCommands.Create),
            EventsCommand.Create(scope),
            Noun(scope, args, "system", "Facts about volantd and its host.", SystemCommands.Create),
            DoctorCommand.Create(scope),
            SetupCommand.Create(scope, args),
            CompletionCommand.Create(scope),
            VersionCommand.Create(scope),
        };
        scope.AddExamples(root, "volar run registry.example/web -p 8080:80 --wait", "volar plugins install hello.json", "volar vms create web --plugin hello --wait", "volar vms list");
        foreach (var option in root.Options)
        {
            switch (option)
            {
                case HelpOption { Action: HelpAction help }:
                    // Aliases of another system; here they are paths.
                    option.Aliases.Remove("/h");
                    option.Aliases.Remove("/?");
                    help.MaxWidth = scope.Host.OutputIsTerminal ? Screen.WidthOf(scope.Host) : HelpWidth;
                    option.Action = new HelpWithExamples(scope, help);
                    break;
                case VersionOption:
                    option.Action = new VersionAction(scope);
                    break;
                default:
                    break;
            }
        }

        // Without a verb the help is what people want (as docker does it), not an error.
        root.SetAction(ShowHelp);
        return root;
    }

    /// <summary>The words that lead to a command: <c>volar vms create</c>.</summary>
    public static string PathOf(Command command) => command.Parents.OfType<Command>().FirstOrDefault() is { } parent
        ? $"{PathOf(parent)} {command.Name}"
        : "volar";

    private static Command Noun(CommandScope scope, IReadOnlyList<string> args, string name, string description, Func<CommandScope, IEnumerable<Command>> verbs)
    {
        var noun = new Command(name, description);

        // Substring: the shell asks for completions with the whole line as one argument.
        if (args.Any(arg => arg.Contains(name, StringComparison.Ordinal)))
        {
            foreach (var verb in verbs(scope))
            {
                noun.Add(verb);
            }
        }

        noun.SetAction(ShowHelp);
        return noun;
    }

    /// <summary>Verbs below a word of their own.</summary>
    public static Command Group(string name, string description, IEnumerable<Command> verbs)
    {
        var group = new Command(name, description);
        foreach (var verb in verbs)
        {
            group.Add(verb);
        }

        group.SetAction(ShowHelp);
        return group;
    }

    private static int ShowHelp(ParseResult parsed) =>
        parsed.RootCommandResult.Command.Options.OfType<HelpOption>().First().Action is SynchronousCommandLineAction help ? help.Invoke(parsed) : ExitCodes.Ok;

    /// <summary>The library's help, then our examples; at the root the exit codes and the environment as well.</summary>
    private sealed class HelpWithExamples(CommandScope scope, HelpAction help) : SynchronousCommandLineAction
    {
        public override bool ClearsParseErrors => true;

        public override int Invoke(ParseResult parsed)
        {
            var command = parsed.CommandResult.Command;

            // They hold for every command; once is enough.
            foreach (var option in new Option[] { scope.TlsCaOption, scope.TlsCertOption, scope.TlsKeyOption, scope.TlsInsecureOption })
            {
                option.Hidden = command is not RootCommand;
            }

            help.Invoke(parsed);
            Section("Examples:", scope.ExamplesOf(command));
            if (command is RootCommand)
            {
                Section("Environment:",
                    [
                        "VOLANT_API_BASE      where volantd listens",
                        "VOLANT_API_KEY       key that is sent to it",
                        "VOLANT_TLS_CA, VOLANT_TLS_CERT, VOLANT_TLS_KEY, VOLANT_TLS_INSECURE=1",
                        "                     as the options of these names, for https",
                        "NO_COLOR             no colour in tables",
                        "COLUMNS              width of tables on a terminal",
                    ]);
                Section("Exit codes:", [.. ExitCodes.Table.Select(row => string.Create(CultureInfo.InvariantCulture, $"{row.Code,3}  {row.Meaning}"))]);
            }

            return ExitCodes.Ok;
        }

        private void Section(string title, IReadOnlyList<string> lines)
        {
            if (lines.Count == 0)
            {
                return;
            }

            scope.Output.WriteLine(title);
            foreach (var line in lines)
            {
                scope.Output.WriteLine($"  {line}");
            }

            scope.Output.WriteLine();
        }
    }

    /// <summary><c>--version</c> prints what <c>version</c> prints.</summary>
    private sealed class VersionAction(CommandScope scope) : SynchronousCommandLineAction
    {
        public override bool ClearsParseErrors => true;

        public override int Invoke(ParseResult parsed)
        {
            VersionCommand.Write(scope.Output, OutputFormat.Table);
            return ExitCodes.Ok;
        }
    }
}
