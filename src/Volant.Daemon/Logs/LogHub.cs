using System.Runtime.CompilerServices;
using Volant.Contracts.Api;

namespace Volant.Daemon.Logs;

/// <summary>The logs of all VMs: one <see cref="VmLog"/> for each that somebody writes or reads, and the lines of all as events.</summary>
internal sealed class LogHub
{
    /// <summary>Lines that a subscriber to all VMs may be behind.</summary>
    public const int SubscriberLines = 8192;

    /// <summary>Characters that a subscriber to all VMs may be behind.</summary>
    public const long SubscriberChars = 1024 * 1024;

    private readonly Lock _gate = new();
    private readonly Dictionary<Guid, (VmLog Log, int Users)> _logs = [];
    private List<BoundedFeed<VmEvent>> _subscribers = [];

    /// <summary>The log of a VM; the same one for all who hold it at the same time.</summary>
    /// <param name="uid">The VM.</param>
    /// <param name="directory">Its log directory.</param>
    public LogLease Open(Guid uid, string directory)
    {
        lock (_gate)
        {
            var (log, users) = _logs.GetValueOrDefault(uid);
            log ??= new VmLog(directory);
            _logs[uid] = (log, users + 1);
            return new LogLease(this, uid, log);
        }
    }

    /// <summary>Every line of every VM from now on, as <see cref="VmEventTypes.Log"/>.</summary>
    /// <remarks>Subscribes at once, not with the first read. Ends when the subscriber is too far behind.</remarks>
    public IAsyncEnumerable<VmEvent> SubscribeAllAsync(CancellationToken cancellationToken)
    {
        var feed = new BoundedFeed<VmEvent>(SubscriberLines, SubscriberChars, static line => line.Line!.Length);
        lock (_gate)
        {
            _subscribers = [.. _subscribers, feed];
        }

        return ReadAsync(feed, cancellationToken);
    }

    /// <summary>Hands lines of a VM to the subscribers.</summary>
    public void Publish(string name, IReadOnlyList<LogLine> lines)
    {
        lock (_gate)
        {
            if (_subscribers.Count == 0)
            {
                return;
            }

            foreach (var line in lines)
            {
                var occurrence = new VmEvent { Type = VmEventTypes.Log, Name = name, Status = VmStatus.Running, Timestamp = line.Timestamp, Stream = line.Stream, Line = line.Line };
                foreach (var feed in _subscribers)
                {
                    if (!feed.TryAdd(occurrence))
                    {
                        Remove(feed);
                    }
                }
            }
        }
    }

    /// <summary>Ends what <see cref="Open"/> began.</summary>
    internal void Close(Guid uid)
    {
        lock (_gate)
        {
            var (log, users) = _logs[uid];
            if (users == 1)
            {
                _logs.Remove(uid);
            }
            else
            {
                _logs[uid] = (log, users - 1);
            }
        }
    }

    private async IAsyncEnumerable<VmEvent> ReadAsync(BoundedFeed<VmEvent> feed, [EnumeratorCancellation] CancellationToken cancellationToken)
    {
        try
        {
            while (await feed.WaitAsync(cancellationToken))
            {
                while (feed.TryTake(out var occurrence))
                {
                    yield return occurrence;
                }
            }
        }
        finally
        {
            Remove(feed);
        }
    }

    private void Remove(BoundedFeed<VmEvent> feed)
    {
        lock (_gate)
        {
            _subscribers = [.. _subscribers.Where(other => other != feed)];
        }
    }
}

/// <summary>Use of a VM's log, until disposed.</summary>
internal sealed class LogLease(LogHub hub, Guid uid, VmLog log) : IDisposable
{
    private int _isClosed;

    /// <summary>The log.</summary>
    public VmLog Log => log;

    /// <inheritdoc/>
    public void Dispose()
    {
        if (Interlocked.Exchange(ref _isClosed, 1) == 0)
        {
            hub.Close(uid);
        }
    }
}
