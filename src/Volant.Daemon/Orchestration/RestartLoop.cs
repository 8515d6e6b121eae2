using System.Collections.Concurrent;
using System.Threading.Channels;
using Volant.Contracts.Api;
using Volant.Daemon.Store;

namespace Volant.Daemon.Orchestration;

/// <summary>Starts VMs again when the time that their restart policy set has come.</summary>
/// <remarks>The time is in the store, so a restart of the daemon loses none; a user's stop or start clears it.</remarks>
internal sealed partial class RestartLoop(VolantStore store, VmOrchestrator orchestrator, TimeProvider clock, ILogger<RestartLoop> logger) : BackgroundService
{
    /// <summary>Longest sleep: how late a restart can be after the clock was set.</summary>
    private static readonly TimeSpan LongestSleep = TimeSpan.FromSeconds(30);

    private readonly ConcurrentDictionary<long, bool> _starting = [];
    private readonly Channel<bool> _wake = Channel.CreateBounded<bool>(new BoundedChannelOptions(1) { FullMode = BoundedChannelFullMode.DropWrite });

    /// <inheritdoc/>
    public override Task StartAsync(CancellationToken cancellationToken)
    {
        store.Follow(Observe);
        return base.StartAsync(cancellationToken);
    }

    /// <inheritdoc/>
    public override async Task StopAsync(CancellationToken cancellationToken)
    {
        store.Unfollow(Observe);
        await base.StopAsync(cancellationToken);
    }

    /// <inheritdoc/>
    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        try
        {
            while (true)
            {
                await WaitAsync(StartDue(), stoppingToken);
            }
        }
        catch (OperationCanceledException) when (stoppingToken.IsCancellationRequested)
        {
            // The daemon stops.
        }
    }

    /// <summary>Starts what is due and returns the time until the next one.</summary>
    private TimeSpan StartDue()
    {
        try
        {
            var now = clock.GetUtcNow();
            foreach (var vm in store.ListRestarts())
            {
                // A time further away than any back-off means that the clock was set back meanwhile.
                var left = vm.Vm.RestartAt!.Value - now;
                if (left > TimeSpan.Zero && left <= 2 * RestartPolicy.MaxBackoff)
                {
                    return left < LongestSleep ? left : LongestSleep;
                }

                if (_starting.TryAdd(vm.Id, true))
                {
                    _ = StartAgainAsync(vm);
                }
            }
        }
        catch (Exception e)
        {
            LogFailed(e);
        }

        return LongestSleep;
    }

    private async Task StartAgainAsync(VmRecord vm)
    {
        try
        {
            await orchestrator.StartAgainAsync(vm);
        }
        catch (Exception e)
        {
            LogRestartFailed(vm.Name, e.Message);
        }
        finally
        {
            _starting.TryRemove(vm.Id, out _);
            _wake.Writer.TryWrite(true);
        }
    }

    private async Task WaitAsync(TimeSpan delay, CancellationToken cancellationToken)
    {
        using var sleep = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        var wake = _wake.Reader.WaitToReadAsync(sleep.Token).AsTask();
        await Task.WhenAny(wake, Task.Delay(delay, clock, sleep.Token));
        _wake.Reader.TryRead(out _);
        await sleep.CancelAsync();
        cancellationToken.ThrowIfCancellationRequested();
    }

    private void Observe(SequencedEvent happened)
    {
        if (happened.Event.Type is VmEventTypes.Crashed or VmEventTypes.Stopped)
        {
            _wake.Writer.TryWrite(true);
        }
    }

    [LoggerMessage(EventId = 1301, Level = LogLevel.Warning, Message = "VM {Vm} could not be started again: {Reason}")]
    private partial void LogRestartFailed(string vm, string reason);

    [LoggerMessage(EventId = 1302, Level = LogLevel.Error, Message = "The VMs to start again could not be read")]
    private partial void LogFailed(Exception exception);
}
