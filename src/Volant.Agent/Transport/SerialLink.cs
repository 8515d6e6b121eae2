using System.Diagnostics.CodeAnalysis;
using Volant.Contracts.Boot;

namespace Volant.Agent.Transport;

/// <summary>Makes a sequence of connections out of one byte pipe without boundaries: the guest's end of <see cref="GuestLink"/>.</summary>
/// <param name="pipe">The virtio-serial port. A read of zero bytes means that no host is connected, not that the pipe ended.</param>
/// <param name="accept">Takes a new connection; must not block on the connection's bytes.</param>
/// <param name="clock">Clock of the wait between two reads while no host is connected.</param>
[SuppressMessage("Reliability", "CA1001", Justification = "The HTTP server disposes of connections, and a semaphore without a wait handle has nothing to free.")]
internal sealed class SerialLink(Stream pipe, Action<Stream> accept, TimeProvider clock)
{
    private static readonly TimeSpan FirstPause = TimeSpan.FromMilliseconds(5);
    private static readonly TimeSpan LongestPause = TimeSpan.FromMilliseconds(50);

    private readonly SemaphoreSlim _writing = new(1, 1);
    private readonly LinkScanner _scanner = new();
    private LinkConnection? _current;

    /// <summary>Serves until cancelled.</summary>
    /// <exception cref="IOException">The port is gone or broken.</exception>
    public async Task RunAsync(CancellationToken cancellationToken)
    {
        var pause = FirstPause;
        try
        {
            while (true)
            {
                var count = await pipe.ReadAsync(_scanner.Free, cancellationToken);
                if (count == 0)
                {
                    EndCurrent();
                    _scanner.Reset();
                    await Task.Delay(pause, clock, cancellationToken);
                    pause = TimeSpan.FromTicks(Math.Min(pause.Ticks * 2, LongestPause.Ticks));
                    continue;
                }

                pause = FirstPause;
                _scanner.Received(count);
                await DispatchAsync(cancellationToken);
            }
        }
        finally
        {
            EndCurrent();
        }
    }

    /// <summary>Writes payload of a connection; the lock keeps openings and payload of two connections apart.</summary>
    internal async ValueTask WriteAsync(LinkConnection connection, ReadOnlyMemory<byte> bytes, CancellationToken cancellationToken)
    {
        await _writing.WaitAsync(cancellationToken);
        try
        {
            if (connection.HasEnded)
            {
                throw new IOException("The host opened the link anew.");
            }

            await pipe.WriteAsync(bytes, cancellationToken);
        }
        finally
        {
            _writing.Release();
        }
    }

    /// <summary>Tells the host that the guest closed <paramref name="connection"/>, unless that connection is history.</summary>
    internal async Task SayGoodbyeAsync(LinkConnection connection)
    {
        try
        {
            await WriteAsync(connection, GuestLink.Goodbye(connection.Echo), connection.Ended);
        }
        catch (Exception e) when (e is IOException or OperationCanceledException or ObjectDisposedException)
        {
            // The host went away first: there is nobody to tell.
        }
        finally
        {
            connection.Cancel();
        }
    }

    private async ValueTask DispatchAsync(CancellationToken cancellationToken)
    {
        while (_scanner.TryNext(out var item))
        {
            if (item.Echo is { } echo)
            {
                await OpenAsync(echo, cancellationToken);
            }
            else if (_current is { } connection)
            {
                await connection.FeedAsync(item.Payload);
            }
        }
    }

    private async ValueTask OpenAsync(byte[] echo, CancellationToken cancellationToken)
    {
        // Ending the old connection first releases a write that waits for a host which is no more.
        EndCurrent();
        await _writing.WaitAsync(cancellationToken);
        try
        {
            await pipe.WriteAsync(echo, cancellationToken);
        }
        finally
        {
            _writing.Release();
        }

        _current = new LinkConnection(this, echo);
        accept(_current);
    }

    private void EndCurrent()
    {
        _current?.End();
        _current = null;
    }
}
