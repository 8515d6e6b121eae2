namespace Volant.Daemon.Orchestration;

/// <summary>Ends a run: asks the guest to power off, and ends the hypervisor when it has not in time.</summary>
internal sealed partial class GracefulEnd(TimeProvider clock, ILogger<GracefulEnd> logger)
{
    private static readonly TimeSpan AskTimeout = TimeSpan.FromSeconds(2);

    /// <summary>Ends a run; completes when its process is gone.</summary>
    /// <param name="run">The run.</param>
    /// <param name="name">Name of the VM.</param>
    /// <param name="grace">How long the guest may take, unless <see cref="VmRun.EndWithin"/> allows it less; zero to end it at once.</param>
    public async Task EndAsync(VmRun run, string name, TimeSpan grace)
    {
        var asking = Task.CompletedTask;
        if (grace > TimeSpan.Zero)
        {
            // The guest's time runs from now on: one that does not even take the question gets no more of it (reliability G05).
            asking = AskAsync(run, name, grace / 2 < AskTimeout ? grace / 2 : AskTimeout);
            run.EndWithin(grace, clock);
            if (await Task.WhenAny(run.Process.Exited, run.OutOfTime) == run.OutOfTime)
            {
                LogForced(name);
            }
        }

        await run.Process.KillAsync();
        await asking;
    }

    /// <summary>Asks the agent, and after <paramref name="patience"/> the hypervisor, which has as long.</summary>
    private async Task AskAsync(VmRun run, string name, TimeSpan patience)
    {
        try
        {
            using var timeout = new CancellationTokenSource(patience, clock);
            await run.Guest.ShutdownAsync(timeout.Token);
            return;
        }
        catch (Exception e) when (e is VolantException or OperationCanceledException or IOException)
        {
            LogAgentDeaf(e, name);
        }

        try
        {
            using var timeout = new CancellationTokenSource(patience, clock);
            await run.Process.RequestPowerOffAsync(timeout.Token);
        }
        catch (Exception e) when (e is OperationCanceledException or IOException)
        {
            LogHypervisorDeaf(e, name);
        }
    }

    [LoggerMessage(EventId = 1002, Level = LogLevel.Warning, Message = "VM {Vm} did not power off in the time that it was given and is ended")]
    private partial void LogForced(string vm);

    [LoggerMessage(EventId = 1003, Level = LogLevel.Debug, Message = "The agent of VM {Vm} could not be asked to power off")]
    private partial void LogAgentDeaf(Exception exception, string vm);

    [LoggerMessage(EventId = 1004, Level = LogLevel.Debug, Message = "The hypervisor of VM {Vm} could not be asked to power off the guest")]
    private partial void LogHypervisorDeaf(Exception exception, string vm);
}
