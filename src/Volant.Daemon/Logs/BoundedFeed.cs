using System.Threading.Channels;

namespace Volant.Daemon.Logs;

/// <summary>What one reader has not taken yet. Nobody waits for it: when it holds too much, it is cut off and ends.</summary>
/// <param name="maxItems">Most items that wait.</param>
/// <param name="maxSize">Most that they may weigh together.</param>
/// <param name="sizeOf">Weight of an item.</param>
internal sealed class BoundedFeed<T>(int maxItems, long maxSize, Func<T, int> sizeOf)
{
    private readonly Channel<T> _channel = Channel.CreateUnbounded<T>(new UnboundedChannelOptions { SingleReader = true });
    private int _items;
    private long _size;

    /// <summary>Whether the reader fell behind. What was queued before can still be read.</summary>
    public bool IsCut { get; private set; }

    /// <summary>Queues an item; false when that cuts the reader off, or when the feed has ended. One writer at a time.</summary>
    public bool TryAdd(T item)
    {
        var size = sizeOf(item);
        if (Volatile.Read(ref _items) >= maxItems || Interlocked.Read(ref _size) + size > maxSize)
        {
            IsCut = true;
            _channel.Writer.TryComplete();
            return false;
        }

        Interlocked.Increment(ref _items);
        Interlocked.Add(ref _size, size);
        return _channel.Writer.TryWrite(item);
    }

    /// <summary>There will be no more items.</summary>
    public void Complete() => _channel.Writer.TryComplete();

    /// <summary>Waits for an item; false at the end.</summary>
    public ValueTask<bool> WaitAsync(CancellationToken cancellationToken) => _channel.Reader.WaitToReadAsync(cancellationToken);

    /// <summary>Takes the next item, if there is one.</summary>
    public bool TryTake(out T item)
    {
        if (!_channel.Reader.TryRead(out item!))
        {
            return false;
        }

        Interlocked.Decrement(ref _items);
        Interlocked.Add(ref _size, -sizeOf(item));
        return true;
    }
}
