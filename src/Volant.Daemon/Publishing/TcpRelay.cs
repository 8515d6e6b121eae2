using System.Buffers;
using System.Net.Sockets;
using Volant.Daemon.Telemetry;

namespace Volant.Daemon.Publishing;

/// <summary>Passes bytes between two connections until both directions have ended.</summary>
/// <remarks>
/// One buffer for each direction, and only while there is something to pass: a slow side slows the other one down. The end of one direction
/// is passed on by itself; whatever breaks on one side is broken on the other, so that what was cut short never looks complete.
/// </remarks>
internal sealed class TcpRelay(Connection client, Connection guest, TimeProvider clock)
{
    private const int BufferBytes = 64 * 1024;

    private long _movedAt = clock.GetTimestamp();
    private int _ended;

    /// <summary>Runs until both directions have ended, or either broke.</summary>
    public async Task RunAsync(CancellationToken cancellationToken)
    {
        using var cut = cancellationToken.UnsafeRegister(static relay => ((TcpRelay)relay!).Abort(), this);
        await Task.WhenAll(CopyAsync(client, guest, "in", cancellationToken), CopyAsync(guest, client, "out", cancellationToken));
        client.Dispose();
        guest.Dispose();
    }

    /// <summary>Breaks off a connection on which nothing has moved for too long.</summary>
    /// <param name="idle">Limit while both directions are open.</param>
    /// <param name="halfClosed">Limit once one has ended.</param>
    public void CutIdle(TimeSpan idle, TimeSpan halfClosed)
    {
        if (clock.GetElapsedTime(Volatile.Read(ref _movedAt)) > (Volatile.Read(ref _ended) == 0 ? idle : halfClosed))
        {
            Abort();
        }
    }

    private async Task CopyAsync(Connection from, Connection to, string direction, CancellationToken cancellationToken)
    {
        try
        {
            while (await PassAsync(from, to, direction, cancellationToken))
            {
                Volatile.Write(ref _movedAt, clock.GetTimestamp());
            }

            Interlocked.Increment(ref _ended);
            await to.CompleteAsync(cancellationToken);
        }
        catch (Exception e) when (e is SocketException or IOException or OperationCanceledException or ObjectDisposedException or VolantException or HttpRequestException)
        {
            // One side is gone; the other must see that it was not an end.
            Abort();
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

    private void Abort()
    {
        client.Abort();
        guest.Abort();
    }
}
