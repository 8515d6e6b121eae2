using System.Buffers;
using Volant.Daemon.Telemetry;

namespace Volant.Daemon.Publishing;

/// <summary>Passes bytes between two connections until both directions have ended.</summary>
/// <remarks>
/// One buffer for each direction, and only while there is something to pass: a slow side slows the other one down. The end of one direction
/// is passed on by itself; whatever breaks on one side is broken on the other, so that what was cut short never looks complete.
/// </remarks>
internal sealed class TcpRelay : IDisposable
{
    private const int BufferBytes = 64 * 1024;

    private readonly Connection _client;
    private readonly Connection _guest;
    private readonly TimeProvider _clock;
    private readonly CancellationTokenSource _cut;
    private readonly CancellationToken _isCut;
    private long _movedAt;
    private int _ended;

    /// <summary>Takes over two connections.</summary>
    /// <param name="client">Who connected.</param>
    /// <param name="guest">Whom to.</param>
    /// <param name="clock">Measures silence.</param>
    /// <param name="end">Breaks it off.</param>
    public TcpRelay(Connection client, Connection guest, TimeProvider clock, CancellationToken end)
    {
        (_client, _guest, _clock, _movedAt) = (client, guest, clock, clock.GetTimestamp());
        _cut = CancellationTokenSource.CreateLinkedTokenSource(end);
        _isCut = _cut.Token;
    }

    /// <summary>Runs until both directions have ended, or either broke; then both connections are closed.</summary>
    public async Task RunAsync()
    {
        await Task.WhenAll(CopyAsync(_client, _guest, "in"), CopyAsync(_guest, _client, "out"));

        // Nobody uses them any more.
        if (_isCut.IsCancellationRequested)
        {
            _client.Abort();
            _guest.Abort();
        }

        _client.Dispose();
        _guest.Dispose();
    }

    /// <summary>Breaks off a connection on which nothing has moved for too long.</summary>
    /// <param name="idle">Limit while both directions are open.</param>
    /// <param name="halfClosed">Limit once one has ended.</param>
    public void CutIdle(TimeSpan idle, TimeSpan halfClosed)
    {
        if (_clock.GetElapsedTime(Volatile.Read(ref _movedAt)) > (Volatile.Read(ref _ended) == 0 ? idle : halfClosed))
        {
            Cut();
        }
    }

    /// <inheritdoc/>
    public void Dispose() => _cut.Dispose();

    private async Task CopyAsync(Connection from, Connection to, string direction)
    {
        try
        {
            while (await PassAsync(from, to, direction, _isCut))
            {
                Volatile.Write(ref _movedAt, _clock.GetTimestamp());
            }

            Interlocked.Increment(ref _ended);
            await to.CompleteAsync(_isCut);
        }
        catch (Exception e) when (Connection.IsFault(e))
        {
            // One side is gone; the other must see that it was not an end.
            Cut();
        }
    }

    private void Cut()
    {
        try
        {
            _cut.Cancel();
        }
        catch (ObjectDisposedException)
        {
            // It has just ended by itself.
        }
    }

    /// <summary>Passes what there is; false at the end. Nothing is held while there is nothing.</summary>
    private static async ValueTask<bool> PassAsync(Connection from, Connection to, string direction, CancellationToken cancellationToken)
    {
        await from.ReadAsync(Memory<byte>.Empty, cancellationToken);
        var buffer = ArrayPool<byte>.Shared.Rent(BufferBytes);
        try
        {
            int count;
            do
            {
                count = await from.ReadAsync(buffer, cancellationToken);
                if (count == 0)
                {
                    return false;
                }

                await to.WriteAsync(buffer.AsMemory(0, count), cancellationToken);
                Instruments.PublishedBytes.Add(count, new KeyValuePair<string, object?>("direction", direction));
            }
            while (count == buffer.Length);
            return true;
        }
        finally
        {
            ArrayPool<byte>.Shared.Return(buffer);
        }
    }
}
