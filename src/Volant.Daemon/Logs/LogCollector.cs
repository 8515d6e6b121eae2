using Volant.Daemon.Guests;

namespace Volant.Daemon.Logs;

/// <summary>Brings what workloads write from the guests to the host, and keeps the consoles' files small.</summary>
internal sealed class LogCollector(LogHub hub, ConsoleLimit consoles, TimeProvider clock, ILogger<LogCollector> logger)
{
    /// <summary>Follows one run of a VM until it ends.</summary>
    /// <param name="name">The VM.</param>
    /// <param name="uid">The VM.</param>
    /// <param name="directory">Its log directory.</param>
    /// <param name="consoleLog">The hypervisor's log of its serial console.</param>
    /// <param name="guest">The agent, which need not answer yet.</param>
    /// <param name="ended">Cancelled when the run is over.</param>
    public RunLog Follow(string name, Guid uid, string directory, string consoleLog, GuestClient guest, CancellationToken ended)
    {
        var run = new RunLog(name, hub, hub.Open(uid, directory), guest, clock, logger);
        _ = FollowAsync(run, consoleLog, ended);
        return run;
    }

    private async Task FollowAsync(RunLog run, string consoleLog, CancellationToken ended)
    {
        consoles.Watch(consoleLog);
        try
        {
            await run.FollowAsync(ended);
            await Task.Delay(Timeout.InfiniteTimeSpan, clock, ended);
        }
        catch (OperationCanceledException)
        {
            // The run is over.
        }
        finally
        {
            consoles.Release(consoleLog);
        }
    }
}
