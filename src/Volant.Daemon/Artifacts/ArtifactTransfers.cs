using System.Collections.Concurrent;
using System.Runtime.CompilerServices;
using System.Threading.Channels;
using Volant.Contracts.Api;

namespace Volant.Daemon.Artifacts;

/// <summary>What comes into the cache at this moment, for whoever wants to follow it. Nobody waits for a follower.</summary>
internal sealed class ArtifactTransfers(TimeProvider clock)
{
    private const int FollowerCapacity = 256;

    private static readonly TimeSpan Interval = TimeSpan.FromMilliseconds(250);

    private readonly TimeProvider _clock = clock;
    private readonly ConcurrentDictionary<long, ArtifactTransfer> _running = [];
    private readonly ConcurrentDictionary<Channel<ArtifactTransfer>, bool> _followers = [];
    private long _last;

    /// <summary>Transfers under way, the oldest first.</summary>
    public IReadOnlyList<ArtifactTransfer> List() => [.. _running.Values.OrderBy(transfer => transfer.Id)];

    /// <summary>Every change of a transfer from now on; a follower that is slow misses some.</summary>
    public async IAsyncEnumerable<ArtifactTransfer> FollowAsync([EnumeratorCancellation] CancellationToken cancellationToken)
    {
        var channel = Channel.CreateBounded<ArtifactTransfer>(new BoundedChannelOptions(FollowerCapacity) { FullMode = BoundedChannelFullMode.DropOldest, SingleReader = true });
        _followers[channel] = true;
        try
        {
            foreach (var transfer in List())
            {
                yield return transfer;
            }

            await foreach (var transfer in channel.Reader.ReadAllAsync(cancellationToken))
            {
                yield return transfer;
            }
        }
        finally
        {
            _followers.TryRemove(channel, out _);
        }
    }

    /// <summary>Begins a transfer.</summary>
    /// <param name="source">Where it comes from, without what may be secret.</param>
    public Progress Begin(string source) => new(this, new ArtifactTransfer
    {
        Id = Interlocked.Increment(ref _last),
        Source = source,
        State = TransferStates.Running,
        StartedAt = _clock.GetUtcNow(),
    });

    private void Publish(ArtifactTransfer transfer)
    {
        if (transfer.State == TransferStates.Running)
        {
            _running[transfer.Id] = transfer;
        }
        else
        {
            _running.TryRemove(transfer.Id, out _);
        }

        foreach (var follower in _followers.Keys)
        {
            follower.Writer.TryWrite(transfer);
        }
    }

    /// <summary>One transfer, of one thread at a time.</summary>
    internal sealed class Progress
    {
        private readonly ArtifactTransfers _owner;
        private ArtifactTransfer _now;
        private long _published;

        internal Progress(ArtifactTransfers owner, ArtifactTransfer first)
        {
            (_owner, _now, _published) = (owner, first, owner._clock.GetTimestamp());
            owner.Publish(first);
        }

        /// <summary>Tells how far it is; not more often than four times a second.</summary>
        public void Report(long received, long? total)
        {
            _now = _now with { ReceivedBytes = received, TotalBytes = total };
            if (_owner._clock.GetElapsedTime(_published) >= Interval)
            {
                _published = _owner._clock.GetTimestamp();
                _owner.Publish(_now);
            }
        }

        /// <summary>Tells that it is complete.</summary>
        public void Complete(StoredArtifact artifact) =>
            _owner.Publish(_now with { State = TransferStates.Done, ReceivedBytes = artifact.SizeBytes, TotalBytes = artifact.SizeBytes, Sha256 = artifact.Sha256 });

        /// <summary>Tells that it came to nothing.</summary>
        public void Fail(Exception failure) => _owner.Publish(_now with { State = TransferStates.Failed, Message = failure.Message });
    }
}
