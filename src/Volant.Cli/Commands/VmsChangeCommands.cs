using System.CommandLine;
using Volant.Cli.Api;
using Volant.Contracts.Api;

namespace Volant.Cli.Commands;

/// <summary><c>volar vms start</c>, <c>stop</c> and <c>restart</c>: the same shape with another verb.</summary>
internal static class VmsChangeCommands
{
    /// <summary>Makes <c>start</c>.</summary>
    public static Command CreateStart(CommandScope scope) => Create(
        scope,
        "start",
        "Start VMs; one that runs already is left alone.",
        graceful: false,
        ["volar vms start web", "volar vms start web-1 web-2 --wait --timeout 60"]);

    /// <summary>Makes <c>stop</c>.</summary>
    public static Command CreateStop(CommandScope scope) => Create(
        scope,
        "stop",
        "Stop VMs: the guest is asked first and forced after the grace period.",
        graceful: true,
        ["volar vms stop web", "volar vms stop web --grace 60"]);

    /// <summary>Makes <c>restart</c>.</summary>
    public static Command CreateRestart(CommandScope scope) => Create(
        scope,
        "restart",
        "Stop and start VMs; configuration that was changed meanwhile takes effect.",
        graceful: true,
        ["volar vms restart web --wait", "volar vms restart web-1 web-2 --grace 0"]);

    private static Command Create(CommandScope scope, string verb, string description, bool graceful, string[] examples)
    {
        var names = Symbols.VmNames();
        var wait = Symbols.Wait(verb == "stop" ? "Wait until each VM has stopped" : "Wait until each VM is ready");
        var timeout = Symbols.WaitTimeout();
        var grace = graceful ? Symbols.Number("--grace", "S", "How long the guest may take to shut down, in seconds [default: volantd's, 10]", 0, Symbols.MaxGraceSeconds) : null;
        Symbol[] symbols = grace is null ? [names, wait, timeout] : [names, grace, wait, timeout];
        return scope.Define(verb, description, symbols, examples, async (parsed, run, cancellationToken) =>
        {
            var limit = Symbols.WaitOf(parsed, wait, timeout);
            var period = grace is null || parsed.GetValue(grace) is not { } seconds ? (TimeSpan?)null : TimeSpan.FromSeconds(seconds);
            var change = new VmChange(verb, period, verb == "stop" ? null : limit);
            var vms = new List<Answer<Vm>>();
            try
            {
                return await run.ForEachAsync(parsed.GetRequiredValue(names), async name => vms.Add(await ChangeAsync(run, name, change, limit, cancellationToken)));
            }
            finally
            {
                // What was done is told even when a later VM failed or the user lost patience.
                if (vms.Count > 0 || run.IsStructured)
                {
                    run.Print(vms);
                }
            }
        });
    }

    private static Task<Answer<Vm>> ChangeAsync(CommandRun run, string name, VmChange change, TimeSpan? limit, CancellationToken cancellationToken)
    {
        if (limit is not { } most)
        {
            return run.Client.ChangeVmAsync(name, change, cancellationToken);
        }

        var wait = new VmWait(run, name, most);
        return change.Verb == "stop"
            ? wait.ForStopAsync(() => run.Client.ChangeVmAsync(name, change, cancellationToken), cancellationToken)
            : wait.ForReadyAsync(() => run.Client.ChangeVmAsync(name, change, cancellationToken), cancellationToken);
    }
}
