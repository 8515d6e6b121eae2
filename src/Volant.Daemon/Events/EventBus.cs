using System.Runtime.CompilerServices;
using System.Threading.Channels;
using Volant.Daemon.Store;
using Volant.Daemon.Telemetry;

namespace Volant.Daemon.Events;

/// <summary>Where a subscription begins.</summary>
/// <param name="Missed">The client's place is not known any more: what happened between it and <paramref name="After"/> cannot be told.</param>
/// <param name="After">Number of the event before the first one that is delivered.</param>
/// <param name="Events">Every later event, in order, each once; ends when the subscriber fell too far behind, and must resume.</param>
internal sealed record EventSubscription(bool Missed, long After, IAsyncEnumerable<SequencedEvent> Events);

/// <summary>Hands the store's events to subscribers: first those that are kept, then new ones as they are committed.</summary>
/// <remarks>Nobody waits for a subscriber: one that is <see cref="SubscriberCapacity"/> events behind is cut off.</remarks>
internal sealed class EventBus : IDisposable
{
    /// <summary>New events that a subscriber may be behind.</summary>
    public const int SubscriberCapacity = 1024;

    private const int PageSize = 500;

    private readonly VolantStore _store;
    private readonly Lock _gate = new();
    private readonly List<Subscriber> _subscribers = [];
    private readonly Channel<SequencedEvent> _committed = Channel.CreateUnbounded<SequencedEvent>(new UnboundedChannelOptions { SingleReader = true });
    private long _delivered;
    private long _newest;

    /// <summary>Follows the store from now on.</summary>
    public EventBus(VolantStore store)
    {
        _store = store;
        store.Follow(Enqueue);
        _delivered = store.LastSequence();
        _newest = Math.Max(Volatile.Read(ref _newest), _delivered);
        _ = DeliverAsync();
    }

    /// <summary>Subscribers at this moment.</summary>
    public int SubscriberCount
    {
        get
        {
            lock (_gate)
            {
                return _subscribers.Count;
            }
        }
    }

    /// <summary>Starts a subscription.</summary>
    /// <param name="after">Last event that the client saw: everything later follows, or <see cref="EventSubscription.Missed"/> is set. Null for new events only, 0 for all that are kept.</param>
    /// <param name="cancellationToken">Ends the subscription.</param>
    public EventSubscription Open(long? after, CancellationToken cancellationToken)
    {
        var missed = after is > 0 and var place && !_store.HoldsEvent(place);
        lock (_gate)
        {
            // What was committed before the subscription may be delivered after it: it comes from the store, or not at all.
            var from = missed ? _delivered : after ?? Volatile.Read(ref _newest);
            var subscriber = new Subscriber(Math.Max(from, _delivered));
            _subscribers.Add(subscriber);
            return new EventSubscription(missed, from, ReadAsync(subscriber, from, cancellationToken));
        }
    }

    /// <summary>The events of <see cref="Open"/> alone.</summary>
    public IAsyncEnumerable<SequencedEvent> SubscribeAsync(long? after, CancellationToken cancellationToken) => Open(after, cancellationToken).Events;

    /// <inheritdoc/>
    public void Dispose()
    {
        _store.Unfollow(Enqueue);
        _committed.Writer.TryComplete();
    }

    private void Enqueue(SequencedEvent next)
    {
        Volatile.Write(ref _newest, next.Sequence);
        Instruments.Events.Add(1, new KeyValuePair<string, object?>("type", next.Event.Type));
        _committed.Writer.TryWrite(next);
    }

    private async Task DeliverAsync()
    {
        await foreach (var next in _committed.Reader.ReadAllAsync())
        {
            lock (_gate)
            {
                if (next.Sequence <= _delivered)
                {
                    continue;
                }

                _delivered = next.Sequence;
                for (var i = _subscribers.Count - 1; i >= 0; i--)
                {
                    var (queue, after) = (_subscribers[i].Queue.Writer, _subscribers[i].After);
                    if (next.Sequence > after && !queue.TryWrite(next))
                    {
                        queue.TryComplete();
                        _subscribers.RemoveAt(i);
                    }
                }
            }
        }
    }

    private async IAsyncEnumerable<SequencedEvent> ReadAsync(Subscriber subscriber, long after, [EnumeratorCancellation] CancellationToken cancellationToken)
    {
        try
        {
            while (after < subscriber.After)
            {
                if (_store.ListEvents(after, subscriber.After, PageSize) is not { } page)
                {
                    // New events pushed out what this slow reader had still to get: it resumes, and is told.
                    yield break;
                }

                foreach (var kept in page)
                {
                    yield return kept;
                }

                after = page is [.., var last] ? last.Sequence : subscriber.After;
            }

            await foreach (var next in subscriber.Queue.Reader.ReadAllAsync(cancellationToken))
            {
                yield return next;
            }
        }
        finally
        {
            lock (_gate)
            {
                _subscribers.Remove(subscriber);
            }
        }
    }

    /// <summary>One subscription: what comes after <paramref name="after"/> is queued.</summary>
    private sealed class Subscriber(long after)
    {
        public long After => after;

        public Channel<SequencedEvent> Queue { get; } = Channel.CreateBounded<SequencedEvent>(new BoundedChannelOptions(SubscriberCapacity) { SingleReader = true });
    }
}
