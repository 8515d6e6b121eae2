using Volant.Daemon.Artifacts;
using Volant.Daemon.Store;

namespace Volant.Daemon.Orchestration;

/// <summary>Frees the artifact cache of what nobody names and nobody has used for a while; what a VM's disk lies on is never removed.</summary>
internal sealed partial class ArtifactCollector(ArtifactCache cache, BootImages images, VolantStore store, DaemonOptions options, TimeProvider clock, ILogger<ArtifactCollector> logger) : BackgroundService
{
    private static readonly TimeSpan Period = TimeSpan.FromHours(1);

    /// <summary>Collects once.</summary>
    public async Task CollectAsync()
    {
        var unusedSince = clock.GetUtcNow() - options.KeepArtifacts;
        var named = store.ListNamedArtifacts();
        var (count, bytes) = cache.Collect(named.Contains, unusedSince);
        await images.CollectAsync(unusedSince);
        if (count > 0)
        {
            LogCollected(count, bytes >> 20, options.KeepArtifacts.TotalHours);
        }
    }

    /// <inheritdoc/>
    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        using var timer = new PeriodicTimer(Period, clock);
        try
        {
            do
            {
                try
                {
                    await CollectAsync();
                }
                catch (Exception e) when (e is IOException or UnauthorizedAccessException)
                {
                    LogFailed(e);
                }
            }
            while (await timer.WaitForNextTickAsync(stoppingToken));
        }
        catch (OperationCanceledException) when (stoppingToken.IsCancellationRequested)
        {
            // The daemon stops.
        }
    }

    [LoggerMessage(EventId = 1711, Level = LogLevel.Information, Message = "Removed {Count} artifacts, {Mebibytes} MiB, that nothing names and nobody used for {Hours} h")]
    private partial void LogCollected(int count, long mebibytes, double hours);

    [LoggerMessage(EventId = 1712, Level = LogLevel.Warning, Message = "The artifact cache could not be searched for what nobody uses; trying again later")]
    private partial void LogFailed(Exception exception);
}
