using System.Buffers.Binary;

namespace Volant.Contracts.Api;

/// <summary>Frames between daemon and agent on the two directions of <c>POST /v1/agent/exec/stream</c>: channel, length (big-endian, 32 bits), bytes.</summary>
/// <remarks>
/// Channels are those of <see cref="ExecChannels"/>, and <see cref="Control"/> for JSON. The daemon sends an <see cref="ExecRequest"/>, then input and
/// <see cref="ExecControl"/>; the agent output, and <see cref="ExecEnd"/> at last. Its answer has the status 200 when the command runs, else it is a problem.
/// </remarks>
public static class ExecFrames
{
    /// <summary>Channel of JSON.</summary>
    public const byte Control = 3;

    /// <summary>Content type of both directions.</summary>
    public const string ContentType = "application/vnd.volant.exec";

    /// <summary>Bytes in front of each frame's own.</summary>
    public const int HeaderBytes = 5;

    /// <summary>Most bytes of an <see cref="ExecRequest"/> as JSON.</summary>
    public const int MaxRequestBytes = 1024 * 1024;

    /// <summary>Writes the header of a frame.</summary>
    public static void WriteHeader(Span<byte> into, byte channel, int length)
    {
        into[0] = channel;
        BinaryPrimitives.WriteInt32BigEndian(into[1..], length);
    }

    /// <summary>Puts a header before some bytes.</summary>
    public static byte[] Encode(byte channel, ReadOnlySpan<byte> bytes)
    {
        var frame = new byte[HeaderBytes + bytes.Length];
        WriteHeader(frame, channel, bytes.Length);
        bytes.CopyTo(frame.AsSpan(HeaderBytes));
        return frame;
    }
}

/// <summary>Takes frames apart. What it reads is not trusted.</summary>
/// <param name="stream">Read from, and not owned.</param>
/// <param name="most">Most bytes of a frame.</param>
public sealed class ExecFrameReader(Stream stream, int most)
{
    private readonly byte[] _header = new byte[ExecFrames.HeaderBytes];
    private byte[] _buffer = new byte[1024];

    /// <summary>The next frame, whose bytes are valid until the next call; null at the end of the stream.</summary>
    /// <exception cref="InvalidDataException">A channel or length that cannot be, or the end of the stream within a frame.</exception>
    public async ValueTask<(byte Channel, ReadOnlyMemory<byte> Bytes)?> ReadAsync(CancellationToken cancellationToken)
    {
        var count = await stream.ReadAtLeastAsync(_header, _header.Length, throwOnEndOfStream: false, cancellationToken);
        if (count == 0)
        {
            return null;
        }

        var length = BinaryPrimitives.ReadInt32BigEndian(_header.AsSpan(1));
        if (count < _header.Length || _header[0] > ExecFrames.Control || length < 0 || length > most)
        {
            throw new InvalidDataException($"A frame of channel {_header[0]} with {length} bytes is not valid; at most {most} are.");
        }

        if (_buffer.Length < length)
        {
            _buffer = new byte[Math.Max(length, Math.Min(2 * _buffer.Length, most))];
        }

        return await stream.ReadAtLeastAsync(_buffer.AsMemory(0, length), length, throwOnEndOfStream: false, cancellationToken) == length
            ? (_header[0], _buffer.AsMemory(0, length))
            : throw new InvalidDataException("A frame broke off.");
    }
}
