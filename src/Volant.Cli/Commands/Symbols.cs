using System.CommandLine;
using System.CommandLine.Parsing;
using System.Globalization;
using System.Numerics;
using Volant.Cli.Output;
using Volant.Contracts;
using Volant.Contracts.Api;

namespace Volant.Cli.Commands;

/// <summary>Arguments and options that several commands have, checked the same way everywhere.</summary>
/// <remarks>Names become parts of request paths: only what the grammar allows gets through, so <c>..</c> cannot reach another resource.</remarks>
internal static class Symbols
{
    /// <summary>Longest wait for readiness, in seconds.</summary>
    public const int MaxWaitSeconds = 86_400;

    /// <summary>Wait for readiness unless told otherwise, in seconds.</summary>
    public const int DefaultWaitSeconds = 120;

    /// <summary>Longest grace period, in seconds.</summary>
    public const int MaxGraceSeconds = 3_600;

    /// <summary>One VM.</summary>
    public static Argument<string> VmName(string description = "Name of the VM")
    {
        var name = new Argument<string>("NAME") { Description = description };
        name.Validators.Add(result => RequireNames(result, "VM", Names.IsDnsLabel, "1 to 63 lower-case letters, digits and inner hyphens"));
        return name;
    }

    /// <summary>One or more VMs.</summary>
    public static Argument<string[]> VmNames()
    {
        var names = new Argument<string[]>("NAME") { Description = "Names of the VMs", Arity = ArgumentArity.OneOrMore };
        names.Validators.Add(result => RequireNames(result, "VM", Names.IsDnsLabel, "1 to 63 lower-case letters, digits and inner hyphens"));
        return names;
    }

    /// <summary>One plugin.</summary>
    public static Argument<string> PluginName()
    {
        var name = new Argument<string>("NAME") { Description = "Name of the plugin" };
        name.Validators.Add(RequirePluginName);
        return name;
    }

    /// <summary>One or more plugins.</summary>
    public static Argument<string[]> PluginNames()
    {
        var names = new Argument<string[]>("NAME") { Description = "Names of the plugins", Arity = ArgumentArity.OneOrMore };
        names.Validators.Add(RequirePluginName);
        return names;
    }

    /// <summary><c>--plugin</c>.</summary>
    public static Option<string?> Plugin(string description)
    {
        var plugin = new Option<string?>("--plugin", "-p") { Description = description, HelpName = "PLUGIN" };
        plugin.Validators.Add(RequirePluginName);
        return plugin;
    }

    /// <summary><c>--wait</c>.</summary>
    public static Option<bool> Wait(string description) => new("--wait", "-w") { Description = description };

    /// <summary><c>--restart</c>.</summary>
    public static Option<string?> Restart()
    {
        var restart = new Option<string?>("--restart") { Description = "When the VM is started again after an end that nobody asked for, the host's own included", HelpName = "POLICY" };
        restart.AcceptOnlyFromAmong([.. RestartPolicies.All]);
        return restart;
    }

    /// <summary><c>--timeout</c>.</summary>
    public static Option<TimeSpan?> WaitTimeout() => Duration("--timeout", "How long --wait waits, such as 90s or 5m; in whole seconds [default: 120s]", MaxWaitSeconds * 1000L);

    /// <summary>An integer option with bounds.</summary>
    public static Option<T?> Number<T>(string name, string helpName, string description, T least, T most)
        where T : struct, IBinaryInteger<T>
    {
        var option = new Option<T?>(name) { Description = description, HelpName = helpName };
        option.Validators.Add(result =>
        {
            if (result.Tokens is [var token] &&
                !(T.TryParse(token.Value, NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture, out var value) && value >= least && value <= most))
            {
                result.AddError(string.Create(CultureInfo.InvariantCulture, $"{name} must be a number from {least} to {most}, not '{token.Value}'."));
            }
        });
        return option;
    }

    /// <summary>An option with one text value.</summary>
    public static Option<string?> Text(string name, string helpName, string description, params string[] aliases) => new(name, aliases) { Description = description, HelpName = helpName };

    /// <summary>An option that may be given several times.</summary>
    public static Option<string[]> Repeated(string name, string helpName, string description, params string[] aliases) => new(name, aliases)
    {
        Description = description + " (repeatable)",
        HelpName = helpName,
        Arity = ArgumentArity.OneOrMore,
        AllowMultipleArgumentsPerToken = false,
    };

    /// <summary>An option with a length of time: a number with ms, s, m or h, or of seconds.</summary>
    /// <param name="name">Its name.</param>
    /// <param name="description">One sentence.</param>
    /// <param name="mostMs">Longest, in milliseconds.</param>
    public static Option<TimeSpan?> Duration(string name, string description, long mostMs)
    {
        var option = new Option<TimeSpan?>(name) { Description = description, HelpName = "TIME" };
        option.CustomParser = result =>
        {
            if (Amounts.ParseDuration(result.Tokens[0].Value) is { } time && time > TimeSpan.Zero && time.TotalMilliseconds <= mostMs)
            {
                return time;
            }

            result.AddError($"{name} must be a time such as 500ms, 30s or 5m, at most {Amounts.Age(TimeSpan.FromMilliseconds(mostMs))}; not '{TerminalText.Clean(result.Tokens[0].Value)}'.");
            return null;
        };
        return option;
    }

    /// <summary>One deployment.</summary>
    public static Argument<string> DeploymentName()
    {
        var name = new Argument<string>("NAME") { Description = "Name of the deployment" };
        name.Validators.Add(result => RequireNames(
            result, "deployment", text => Names.IsDnsLabel(text) && text!.Length <= Contracts.Api.DeploymentRules.MaxNameLength, "1 to 56 lower-case letters, digits and inner hyphens"));
        return name;
    }

    /// <summary><c>--watch</c>.</summary>
    public static Option<bool> Watch() => new("--watch") { Description = "Go on showing changes until Ctrl-C" };

    /// <summary>Options that may stand here: those of the command, and those of the program that hold for all.</summary>
    public static IEnumerable<Option> OptionsOf(ParseResult parsed)
    {
        var command = parsed.CommandResult.Command;
        return command is RootCommand ? command.Options : command.Options.Concat(parsed.RootCommandResult.Command.Options.Where(option => option.Recursive));
    }

    /// <summary>How long to wait; null when <c>--wait</c> is not given.</summary>
    /// <exception cref="CliException"><c>--timeout</c> without <c>--wait</c>.</exception>
    public static TimeSpan? WaitOf(ParseResult parsed, Option<bool> wait, Option<TimeSpan?> timeout)
    {
        var time = parsed.GetValue(timeout);
        if (!parsed.GetValue(wait))
        {
            return time is null ? null : throw CliException.Usage("--timeout has no meaning without --wait; add --wait.");
        }

        return TimeSpan.FromSeconds(time is { TotalSeconds: var seconds } ? Math.Ceiling(seconds) : DefaultWaitSeconds);
    }

    private static void RequirePluginName(SymbolResult result) =>
        RequireNames(result, "plugin", Names.IsPluginName, "1 to 63 lower-case letters, digits and inner '-', '_' and '.'");

    private static void RequireNames(SymbolResult result, string what, Func<string?, bool> isName, string grammar)
    {
        foreach (var token in result.Tokens)
        {
            if (!isName(token.Value))
            {
                result.AddError($"'{TerminalText.Clean(token.Value)}' is no {what} name: it must be {grammar}.");
            }
        }
    }
}
