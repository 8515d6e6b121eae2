using System.Globalization;
using Volant.Cli.Api;
using Volant.Contracts.Api;

namespace Volant.Cli.Commands;

/// <summary>Waits until a VM is where the user wants it.</summary>
/// <remarks>
/// The daemon is asked to wait as well; what is left is polled for, so that the wait also holds with a daemon that answers early.
/// </remarks>
internal sealed class VmWait(CommandRun run, string name, TimeSpan limit)
{
    private static readonly TimeSpan Pause = TimeSpan.FromMilliseconds(500);

    private readonly long _since = run.Host.Clock.GetTimestamp();
    private volatile string _phase = "asking volantd";

    /// <summary>Runs <paramref name="request"/> and waits until the VM is ready.</summary>
    /// <param name="request">Asks the daemon to create or start the VM.</param>
    /// <param name="cancellationToken">Cancelled by Ctrl-C: ends the wait, not the VM.</param>
    /// <exception cref="CliException">It ended, or is not ready in time.</exception>
    public Task<Answer<Vm>> ForReadyAsync(Func<Task<Answer<Vm>>> request, CancellationToken cancellationToken) =>
        WaitAsync("be ready", "is not ready", request, vm => vm.Ready && vm.Status == VmStatus.Running, cancellationToken);

    /// <summary>Runs <paramref name="request"/> and waits until the VM has stopped.</summary>
    public Task<Answer<Vm>> ForStopAsync(Func<Task<Answer<Vm>>> request, CancellationToken cancellationToken) =>
        WaitAsync("stop", "has not stopped", request, vm => vm.Status is VmStatus.Stopped or VmStatus.Crashed, cancellationToken);

    private string GoesOn => $"volantd goes on with VM '{name}': see 'volar vms get {name}' and 'volar vms logs {name}'";

    private async Task<Answer<Vm>> WaitAsync(string aim, string shortfall, Func<Task<Answer<Vm>>> request, Predicate<Vm> isThere, CancellationToken cancellationToken)
    {
        try
        {
            using var elapsed = run.Talk.Elapsed(() => $"Waiting for VM '{name}' to {aim}: {_phase},");
            var vm = await WithPhasesAsync(request, cancellationToken);
            while (!isThere(vm.Value))
            {
                if (vm.Value.Status is VmStatus.Crashed or VmStatus.Stopped)
                {
                    throw new CliException(ExitCodes.Failed, $"VM '{name}' is {vm.Value.Status.ToText()}: {vm.Value.LastError ?? vm.Value.Exit?.Reason ?? "it does not say why"}")
                    {
                        Code = "vm_ended",
                        Hint = $"'volar vms logs {name}' shows what the workload printed",
                    };
                }

                if (run.Host.Clock.GetElapsedTime(_since) >= limit)
                {
                    throw new CliException(ExitCodes.TimedOut, string.Create(CultureInfo.InvariantCulture,
                        $"VM '{name}' {shortfall} after {limit.TotalSeconds:F0} s; it is {vm.Value.Status.ToText()}{(vm.Value.LastError is { } error ? $" ({error})" : string.Empty)}."))
                    {
                        Code = ErrorCodes.Timeout,
                        Hint = GoesOn,
                    };
                }

                await Task.Delay(Pause, run.Host.Clock, cancellationToken);
                vm = await run.Client.GetVmAsync(name, cancellationToken);
                _phase = PhaseOf(vm.Value);
            }

            if (run.Host.ErrorIsTerminal)
            {
                run.Talk.Say(string.Create(CultureInfo.InvariantCulture, $"VM '{name}' took {run.Host.Clock.GetElapsedTime(_since).TotalSeconds:F1} s to {aim}{(vm.Value.BootMs is { } boot ? $", {boot} ms of them to boot" : string.Empty)}."));
            }

            return vm;
        }
        catch (CliException e) when (e.ExitCode == ExitCodes.TimedOut && e.Hint is null)
        {
            throw new CliException(ExitCodes.TimedOut, e.Message, e) { Code = e.Code, Fields = e.Fields, ProblemJson = e.ProblemJson, Hint = GoesOn };
        }
        catch (OperationCanceledException) when (cancellationToken.IsCancellationRequested)
        {
            throw new CliException(ExitCodes.Interrupted, $"Interrupted. volantd goes on with VM '{name}'.")
            {
                Code = "interrupted",
                Hint = $"'volar vms get {name}' shows how far it is, 'volar vms delete {name}' removes it",
            };
        }
    }

    /// <summary>What a VM on its way is doing, for people who wait.</summary>
    private static string PhaseOf(Vm vm) => vm.Status switch
    {
        VmStatus.Pending => "preparing its boot media",
        VmStatus.Starting => "starting the hypervisor",
        VmStatus.Running when vm.BootMs is null && !vm.Ready => "booting",
        VmStatus.Running when !vm.Ready => "waiting for the workload",
        VmStatus.Stopping => "shutting down",
        _ => vm.Status.ToText(),
    };

    /// <summary>Runs the request, which the daemon may answer only at the end, and meanwhile looks how far the VM is.</summary>
    private async Task<Answer<Vm>> WithPhasesAsync(Func<Task<Answer<Vm>>> request, CancellationToken cancellationToken)
    {
        var answer = request();
        while (run.Host.ErrorIsTerminal && !run.Quiet && await Task.WhenAny(answer, Task.Delay(Pause, run.Host.Clock, cancellationToken)) != answer)
        {
            try
            {
                _phase = PhaseOf((await run.Client.GetVmAsync(name, cancellationToken)).Value);
            }
            catch (CliException)
            {
                // Not recorded yet, or the daemon is busy; the request itself says what is wrong.
            }
        }

        return await answer;
    }
}
