namespace Volant.Cli.Api;

/// <summary>Reads a stream whose other side is never silent for long; when it is, the connection is taken for broken.</summary>
/// <param name="stream">The stream; stays the caller's.</param>
/// <param name="most">Longest silence.</param>
/// <param name="clock">Measures it.</param>
internal sealed class SilenceLimit(Stream stream, TimeSpan most, TimeProvider clock) : IDisposable
{
    private readonly CancellationTokenSource _silent = new(Timeout.InfiniteTimeSpan, clock);

    /// <summary>Reads some bytes; 0 at the end.</summary>
    /// <exception cref="IOException">Nothing came for too long, or the connection broke.</exception>
    public async ValueTask<int> ReadAsync(Memory<byte> buffer, CancellationToken cancellationToken)
    {
        _silent.CancelAfter(most);
        using var limit = CancellationTokenSource.CreateLinkedTokenSource(_silent.Token, cancellationToken);
        try
        {
            return await stream.ReadAsync(buffer, limit.Token);
        }
        catch (OperationCanceledException e) when (!cancellationToken.IsCancellationRequested)
        {
            throw new IOException($"nothing came for {most.TotalSeconds:F0} s", e);
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
