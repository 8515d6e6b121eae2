namespace Volant.Cli.Api;

/// <summary>Reads a stream whose other side is never silent for long; when it is, the connection is taken for broken.</summary>
internal sealed class SilenceLimit : IDisposable
{
    private readonly Stream _stream;
    private readonly TimeSpan _most;
    private readonly CancellationTokenSource _silent;

    /// <param name="stream">The stream; stays the caller's.</param>
    /// <param name="most">Longest silence.</param>
    /// <param name="clock">Measures it.</param>
    public SilenceLimit(Stream stream, TimeSpan most, TimeProvider clock)
    {
        _stream = stream;
        _most = most;
        _silent = new CancellationTokenSource(Timeout.InfiniteTimeSpan, clock);
    }

    /// <summary>Reads some bytes; 0 at the end.</summary>
    /// <exception cref="IOException">Nothing came for too long, or the connection broke.</exception>
    public async ValueTask<int> ReadAsync(Memory<byte> buffer, CancellationToken cancellationToken)
    {
        _silent.CancelAfter(_most);
        using var limit = CancellationTokenSource.CreateLinkedTokenSource(_silent.Token, cancellationToken);
        try
        {
            return await _stream.ReadAsync(buffer, limit.Token);
        }
        catch (OperationCanceledException) when (!cancellationToken.IsCancellationRequested)
        {
            throw new IOException($"nothing came for {_most.TotalSeconds:F0} s");
        }
        catch (Exception e) when (e is HttpRequestException or ObjectDisposedException)
        {
            throw new IOException(e.Message, e);
        }
        finally
        {
            _silent.CancelAfter(Timeout.InfiniteTimeSpan);
        }
    }

    /// <inheritdoc/>
    public void Dispose() => _silent.Dispose();
}
