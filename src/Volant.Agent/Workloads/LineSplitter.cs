namespace Volant.Agent.Workloads;

/// <summary>Cuts a run of bytes into lines. A line beyond <see cref="MaxLine"/> is handed on in pieces, each as a line of its own.</summary>
internal sealed class LineSplitter(Action<byte[]> line)
{
    /// <summary>Longest line in bytes, without its end.</summary>
    public const int MaxLine = 8 * 1024;

    private const int LongestCharacter = 4;

    private readonly byte[] _buffer = new byte[MaxLine];
    private int _length;
    private bool _isRest;

    /// <summary>Takes bytes and hands on every line that they complete, each with one line feed at its end.</summary>
    public void Feed(ReadOnlySpan<byte> bytes)
    {
        while (!bytes.IsEmpty)
        {
            if (bytes[0] == '\n')
            {
                Emit(_length, isWhole: true);
                bytes = bytes[1..];
                continue;
            }

            if (_length == MaxLine)
            {
                Emit(EndOfCharacters(), isWhole: false);
            }

            var room = bytes[..Math.Min(bytes.Length, MaxLine - _length)];
            var end = room.IndexOf((byte)'\n');
            var taken = end < 0 ? room : room[..end];
            taken.CopyTo(_buffer.AsSpan(_length));
            _length += taken.Length;
            bytes = bytes[taken.Length..];
        }
    }

    /// <summary>Hands on a last line without an end.</summary>
    public void Finish()
    {
        if (_length > 0)
        {
            Emit(_length, isWhole: true);
        }
    }

    /// <summary>Length of the full buffer without the beginning of a UTF-8 sequence at its end.</summary>
    private int EndOfCharacters()
    {
        for (var back = 1; back < LongestCharacter; back++)
        {
            var last = _buffer[_length - back];
            if (last is >= 0x80 and < 0xc0)
            {
                continue;
            }

            var needed = last switch { >= 0xf0 => 4, >= 0xe0 => 3, >= 0xc0 => 2, _ => 1 };
            return needed > back ? _length - back : _length;
        }

        return _length;
    }

    private void Emit(int count, bool isWhole)
    {
        var text = _buffer.AsSpan(0, count);
        if (isWhole)
        {
            text = text.TrimEnd((byte)'\r');
        }

        // The carriage return of a line that fills the buffer to the brim is no line.
        if (!(isWhole && _isRest && text.IsEmpty))
        {
            line([.. text, (byte)'\n']);
        }

        _isRest = !isWhole;
        _buffer.AsSpan(count, _length - count).CopyTo(_buffer);
        _length -= count;
    }
}
