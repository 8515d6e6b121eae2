using System.Runtime.CompilerServices;
using System.Threading.Channels;
using Volant.Contracts.Api;

namespace Volant.Daemon.Events;

/// <summary>An event with its place in the order of all events of this daemon.</summary>
/// <param name="Sequence">Rises by one with every event, from 1.</param>
/// <param name="Event">What happened.</param>
internal sealed record SequencedEvent(long Sequence, VmEvent Event);

/// <summary>Fans events out to subscribers, and keeps the newest for those that come back.</summary>
/// <remarks>A publisher never waits: a subscriber that is <see cref="SubscriberCapacity"/> events behind is cut off and must resume.</remarks>
internal sealed class EventBus
{
    /// <summary>Events kept for resuming.</summary>
    public const int RingCapacity = 1024;

    /// <summary>Events that a subscriber may be behind.</summary>
    public const int SubscriberCapacity = 1024;

    private readonly Lock _gate = new();
    private readonly Queue<SequencedEvent> _ring = new(RingCapacity);
    private readonly List<Channel<SequencedEvent>> _subscribers = [];
    private long _sequence;

    /// <summary>Gives the event the next number and hands it to every subscriber.</summary>
    public void Publish(VmEvent occurrence)
    {
        lock (_gate)
        {
            var next = new SequencedEvent(++_sequence, occurrence);
            if (_ring.Count == RingCapacity)
            {
                _ring.Dequeue();
            }

            _ring.Enqueue(next);
            for (var i = _subscribers.Count - 1; i >= 0; i--)
            {
                if (!_subscribers[i].Writer.TryWrite(next))
                {
                    _subscribers[i].Writer.TryComplete();
                    _subscribers.RemoveAt(i);
                }
            }
        }
    }

    /// <summary>Starts a subscription: events after <paramref name="after"/> that are still kept, then every new one.</summary>
    /// <param name="after">Last sequence number seen; null for new events only.</param>
    /// <param name="cancellationToken">Ends the subscription.</param>
    /// <returns>Ends when the subscriber fell too far behind.</returns>
    public IAsyncEnumerable<SequencedEvent> SubscribeAsync(long? after, CancellationToken cancellationToken)
    {
        var channel = Channel.CreateBounded<SequencedEvent>(new BoundedChannelOptions(SubscriberCapacity + RingCapacity) { SingleReader = true });
        lock (_gate)
        {
            foreach (var kept in _ring.Where(kept => kept.Sequence > after))
            {
                channel.Writer.TryWrite(kept);
            }

            _subscribers.Add(channel);
        }

        return ReadAsync(channel, cancellationToken);
    }

    private async IAsyncEnumerable<SequencedEvent> ReadAsync(Channel<SequencedEvent> channel, [EnumeratorCancellation] CancellationToken cancellationToken)
    {
        try
        {
            await foreach (var occurrence in channel.Reader.ReadAllAsync(cancellationToken))
            {
                yield return occurrence;
            }
        }
        finally
        {
            lock (_gate)
            {
                _subscribers.Remove(channel);
            }
        }
    }
}
