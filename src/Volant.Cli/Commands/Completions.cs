using System.CommandLine;
using System.Globalization;
using Volant.Cli.Api;

namespace Volant.Cli.Commands;

/// <summary>Answers the shell: <c>volar "[suggest:POSITION]" "LINE"</c> prints what may stand at that place, a word a line.</summary>
/// <remarks>Names of VMs, deployments and plugins come from the daemon, when it answers at once.</remarks>
internal static class Completions
{
    private const string Prefix = "[suggest:";
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(1);

    /// <summary>Whether a command line is the shell's.</summary>
    public static bool IsRequest(string[] args) => args is [var directive, _] && directive.StartsWith(Prefix, StringComparison.Ordinal) && directive.EndsWith(']');

    /// <summary>Prints the words.</summary>
    public static async Task<int> RunAsync(string[] args, CommandScope scope, CancellationToken cancellationToken)
    {
        var text = args[1];
        var given = int.TryParse(args[0].AsSpan(Prefix.Length, args[0].Length - Prefix.Length - 1), NumberStyles.None, CultureInfo.InvariantCulture, out var position);
        text = text[..(given ? Math.Min(position, text.Length) : text.Length)];
        var words = Words(text);
        if (words.Count < 2)
        {
            return ExitCodes.Ok;
        }

        var current = words[^1];
        var before = words.Skip(1).SkipLast(1).ToArray();
        var parsed = CommandTree.Build(scope, before).Parse(before, new ParserConfiguration { ResponseFileTokenReplacer = null });
        var command = parsed.CommandResult.Command;
        var option = before.Length > 0 ? Symbols.OptionsOf(parsed).FirstOrDefault(each => !IsSwitch(each) && (each.Name == before[^1] || each.Aliases.Contains(before[^1]))) : null;
        var found = option is not null ? await ValuesAsync(option, scope, parsed, cancellationToken)
            : current.StartsWith('-') ? Symbols.OptionsOf(parsed).Where(each => !each.Hidden).Select(each => each.Name)
            : command.Subcommands.Count > 0 ? command.Subcommands.Select(each => each.Name)
            : await ArgumentsAsync(command, scope, parsed, cancellationToken);
        Print(scope.Output, found.Where(word => word.StartsWith(current, StringComparison.Ordinal)).Distinct(StringComparer.Ordinal).Order(StringComparer.Ordinal));
        return ExitCodes.Ok;
    }

    private static void Print(TextWriter output, IEnumerable<string> words)
    {
        foreach (var word in words)
        {
            output.WriteLine(word);
        }
    }

    private static List<string> Words(string text)
    {
        List<string> words = [.. text.Split(' ', StringSplitOptions.RemoveEmptyEntries)];
        if (text.EndsWith(' '))
        {
            words.Add(string.Empty);
        }

        return words;
    }

    private static bool IsSwitch(Option option) => option.Arity.MaximumNumberOfValues == 0 || option.ValueType == typeof(bool);

    private static async Task<IEnumerable<string>> ValuesAsync(Option option, CommandScope scope, ParseResult parsed, CancellationToken cancellationToken) => option switch
    {
        { Name: "--plugin" } => await NamesAsync("plugins", scope, parsed, cancellationToken),
        { HelpName: { } choices } when choices.Contains('|', StringComparison.Ordinal) => choices.Split('|').Where(choice => choice.All(char.IsAsciiLetterLower)),
        _ => [],
    };

    private static async Task<IEnumerable<string>> ArgumentsAsync(Command command, CommandScope scope, ParseResult parsed, CancellationToken cancellationToken)
    {
        var next = command.Arguments.FirstOrDefault(argument => (parsed.GetResult(argument)?.Tokens.Count ?? 0) < argument.Arity.MaximumNumberOfValues);
        return next switch
        {
            { Name: "NAME" } when command.Parents.OfType<Command>().FirstOrDefault() is { } noun && command.Name != "create" =>
                await NamesAsync(noun.Name == "config" ? "vms" : noun.Name, scope, parsed, cancellationToken),
            { Name: "SHELL" } => CompletionCommand.Shells,
            _ => [],
        };
    }

    private static async Task<IEnumerable<string>> NamesAsync(string noun, CommandScope scope, ParseResult parsed, CancellationToken cancellationToken)
    {
        using var run = new CommandRun(scope, parsed);
        using var late = new CancellationTokenSource(Patience, scope.Host.Clock);
        using var limit = CancellationTokenSource.CreateLinkedTokenSource(late.Token, cancellationToken);
        try
        {
            return noun switch
            {
                "vms" => (await run.Client.ListVmsAsync(new VmFilter([], Plugin: null), limit.Token)).Select(vm => vm.Value.Name),
                "deployments" => (await run.Client.ListDeploymentsAsync(limit.Token)).Value.Select(deployment => deployment.Name),
                "plugins" => await run.Client.ListPluginsAsync(limit.Token),
                _ => [],
            };
        }
        catch (Exception e) when (e is CliException or OperationCanceledException)
        {
            // Nobody reads messages between two keys: without the daemon there are no names.
            return [];
        }
    }
}
