using System.Buffers;
using System.Diagnostics.CodeAnalysis;
using System.IO.Pipelines;
using Volant.Linux.IO;

namespace Volant.Agent.Transport;

/// <summary>One connection over a <see cref="SerialLink"/>. Reading gives zero bytes once the host has opened the link anew or left.</summary>
internal sealed class LinkConnection(SerialLink link, byte[] echo) : AsyncOnlyStream
{
    // HTTP/2 has flow control above this, and the server always reads: the limit only bounds a host that breaks the rules.
    private const int MaxBuffered = 1 << 20;

    private readonly Pipe _received = new(new PipeOptions(
        pauseWriterThreshold: MaxBuffered, resumeWriterThreshold: MaxBuffered / 2, useSynchronizationContext: false));

    [SuppressMessage("Reliability", "CA2213", Justification = "It has no timer, so nothing to free, and others may still ask it.")]
    private readonly CancellationTokenSource _ended = new();
    private int _closed;

    /// <summary><c>KEY NONCE</c> of its opening.</summary>
    public byte[] Echo => echo;

    /// <summary>Cancelled when the connection is history.</summary>
    public CancellationToken Ended => _ended.Token;

    /// <summary>Whether the connection is history.</summary>
    public bool HasEnded => _ended.IsCancellationRequested;

    private bool IsClosed => Volatile.Read(ref _closed) != 0;

    /// <summary>Hands over bytes from the host; waits while too many are unread. Called by the link's loop only.</summary>
    public async ValueTask FeedAsync(ReadOnlyMemory<byte> bytes)
    {
        if (IsClosed || HasEnded)
        {
            return;
        }

        try
        {
            await _received.Writer.WriteAsync(bytes, Ended);
        }
        catch (OperationCanceledException)
        {
            // Closed on this side meanwhile: what still comes for it has no reader.
        }
    }

    /// <summary>Ends the connection without a word to the host. Called by the link's loop only.</summary>
    public void End()
    {
        Cancel();
        _received.Writer.Complete();
    }

    /// <summary>Makes every read and write of the connection give up.</summary>
    public void Cancel() => _ended.Cancel();

    /// <inheritdoc/>
    public override async ValueTask<int> ReadAsync(Memory<byte> buffer, CancellationToken cancellationToken = default)
    {
        if (IsClosed)
        {
            return 0;
        }

        var result = await _received.Reader.ReadAsync(cancellationToken);
        var taken = result.Buffer.Slice(0, Math.Min(buffer.Length, result.Buffer.Length));
        taken.CopyTo(buffer.Span);

        // Before the advance, which gives the segments back and with them the length.
        var count = (int)taken.Length;
        _received.Reader.AdvanceTo(taken.End);
        return count;
    }

    /// <inheritdoc/>
    public override async ValueTask WriteAsync(ReadOnlyMemory<byte> buffer, CancellationToken cancellationToken = default)
    {
        try
        {
            // Only the end of the connection may interrupt a write: half a frame would corrupt everything after it.
            await link.WriteAsync(this, buffer, Ended);
        }
        catch (OperationCanceledException e)
        {
            throw new IOException("The host opened the link anew.", e);
        }
    }

    /// <inheritdoc/>
    protected override void Dispose(bool disposing)
    {
        if (disposing && Interlocked.Exchange(ref _closed, 1) == 0)
        {
            _received.Reader.CancelPendingRead();
            _ = link.SayGoodbyeAsync(this);
        }

        base.Dispose(disposing);
    }
}
