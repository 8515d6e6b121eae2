namespace Volant.Daemon.Artifacts;

/// <summary>Work that is done once for all who ask for the same while it is under way.</summary>
internal sealed class SharedWork
{
    private readonly Lock _gate = new();
    private readonly Dictionary<string, Task<CachedMedia>> _running = new(StringComparer.Ordinal);

    /// <summary>The outcome of the work of that key, begun unless it is under way. It goes on when the caller does not wait any more.</summary>
    public Task<CachedMedia> RunAsync(string key, Func<Task<CachedMedia>> work, CancellationToken cancellationToken)
    {
        Task<CachedMedia>? running;
        lock (_gate)
        {
            if (!_running.TryGetValue(key, out running))
            {
                // It begins outside of the lock, and takes itself out at its end.
                _running[key] = running = Task.Run(() => DoAsync(key, work), CancellationToken.None);
            }
        }

        return running.WaitAsync(cancellationToken);
    }

    private async Task<CachedMedia> DoAsync(string key, Func<Task<CachedMedia>> work)
    {
        try
        {
            return await work();
        }
        finally
        {
            lock (_gate)
            {
                _running.Remove(key);
            }
        }
    }
}
