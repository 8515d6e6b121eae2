namespace Volant.Agent.Http;

/// <summary>Reads a stream through a buffer that grows up to the longest response head.</summary>
internal sealed class ByteSource(Stream stream)
{
    private const int FirstSize = 4 * 1024;
    private const int MaxSize = ResponseHeadParser.MaxHeadBytes + FirstSize;

    private byte[] _buffer = new byte[FirstSize];
    private int _start;
    private int _end;

    /// <summary>Bytes that were received and not taken yet.</summary>
    public ReadOnlySpan<byte> Buffered => _buffer.AsSpan(_start.._end);

    /// <summary>Takes <paramref name="count"/> of the buffered bytes.</summary>
    public void Take(int count) => _start += count;

    /// <summary>Receives more bytes; false at the end of the stream.</summary>
    public async ValueTask<bool> FillAsync(CancellationToken cancellationToken)
    {
        if (_start == _end)
        {
            _start = _end = 0;
        }
        else if (_end == _buffer.Length && _start > 0)
        {
            Buffered.CopyTo(_buffer);
            (_start, _end) = (0, _end - _start);
        }
        else if (_end == _buffer.Length)
        {
            Array.Resize(ref _buffer, Math.Min(_buffer.Length * 2, MaxSize));
        }

        var count = await stream.ReadAsync(_buffer.AsMemory(_end), cancellationToken);
        _end += count;
        return count > 0;
    }

    /// <summary>Reads bytes into <paramref name="destination"/>: buffered ones first; 0 at the end of the stream.</summary>
    public async ValueTask<int> ReadAsync(Memory<byte> destination, CancellationToken cancellationToken)
    {
        if (_start == _end)
        {
            return await stream.ReadAsync(destination, cancellationToken);
        }

        var count = Math.Min(destination.Length, _end - _start);
        _buffer.AsMemory(_start, count).CopyTo(destination);
        _start += count;
        return count;
    }
}
