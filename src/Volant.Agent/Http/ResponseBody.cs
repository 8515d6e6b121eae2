using System.Globalization;

namespace Volant.Agent.Http;

/// <summary>The body of a response as a run of bytes, whatever its framing (RFC 9112 §6 and §7.1). Trailer fields are read and dropped.</summary>
internal sealed class ResponseBody(ByteSource source, BodyFraming framing, long length)
{
    private const int MaxChunkLine = 4 * 1024;
    private const int MaxTrailerLines = ResponseHeadParser.MaxFields;
    private const int MaxSizeDigits = 15;

    // Of the body, or of the current chunk.
    private long _left = framing == BodyFraming.Length ? length : 0;
    private bool _isAfterChunk;
    private bool _isDone = framing == BodyFraming.None;

    /// <summary>Reads at least one byte; 0 at the end of the body.</summary>
    /// <exception cref="WorkloadProtocolException">The workload closed the connection too early, or a chunk is malformed.</exception>
    public async ValueTask<int> ReadAsync(Memory<byte> destination, CancellationToken cancellationToken)
    {
        if (!_isDone && framing == BodyFraming.Chunked && _left == 0)
        {
            await NextChunkAsync(cancellationToken);
        }

        if (_isDone || (framing == BodyFraming.Length && _left == 0))
        {
            return 0;
        }

        if (framing == BodyFraming.UntilClose)
        {
            var some = await source.ReadAsync(destination, cancellationToken);
            _isDone = some == 0;
            return some;
        }

        var count = await source.ReadAsync(destination[..(int)Math.Min(destination.Length, _left)], cancellationToken);
        _left -= count;
        return count > 0 ? count : throw new WorkloadProtocolException($"The workload closed the connection {_left} bytes before the end of its answer.");
    }

    private async ValueTask NextChunkAsync(CancellationToken cancellationToken)
    {
        if (_isAfterChunk && (await ReadLineAsync(cancellationToken)).Length > 0)
        {
            throw new WorkloadProtocolException("The workload sent a chunk that is longer than it says.");
        }

        var line = await ReadLineAsync(cancellationToken);
        var size = line.AsSpan();
        var extension = size.IndexOf(';');
        size = (extension < 0 ? size : size[..extension]).TrimEnd(" \t");
        if (size.Length is 0 or > MaxSizeDigits || !long.TryParse(size, NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture, out _left))
        {
            throw new WorkloadProtocolException("The workload sent a chunk without a valid size.");
        }

        _isAfterChunk = true;
        if (_left > 0)
        {
            return;
        }

        for (var i = 0; (await ReadLineAsync(cancellationToken)).Length > 0; i++)
        {
            if (i == MaxTrailerLines)
            {
                throw new WorkloadProtocolException($"The workload sent more than {MaxTrailerLines} trailer fields.");
            }
        }

        _isDone = true;
    }

    private async ValueTask<string> ReadLineAsync(CancellationToken cancellationToken)
    {
        while (true)
        {
            var end = source.Buffered.IndexOf((byte)'\n');
            if ((end < 0 ? source.Buffered.Length : end) > MaxChunkLine)
            {
                throw new WorkloadProtocolException($"The workload sent a chunk header of more than {MaxChunkLine} bytes.");
            }

            if (end >= 0)
            {
                var line = source.Buffered[..end];
                var text = System.Text.Encoding.Latin1.GetString(line is [.., (byte)'\r'] ? line[..^1] : line);
                source.Take(end + 1);
                return text;
            }

            if (!await source.FillAsync(cancellationToken))
            {
                throw new WorkloadProtocolException("The workload closed the connection in the middle of a chunked answer.");
            }
        }
    }
}
