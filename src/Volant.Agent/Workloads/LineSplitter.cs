namespace Volant.Agent.Workloads;

/// <summary>Cuts a run of bytes into lines. A line beyond <see cref="MaxLine"/> is cut, its rest dropped and the cut marked.</summary>
internal sealed class LineSplitter(Action<byte[]> line)
{
    /// <summary>Longest line in bytes, without its end and the mark.</summary>
    public const int MaxLine = 8 * 1024;

    private readonly byte[] _buffer = new byte[MaxLine];
    private int _length;
    private bool _isCut;

    /// <summary>What stands behind a line that was cut.</summary>
    public static ReadOnlySpan<byte> CutMark => " [cut]"u8;

    /// <summary>Takes bytes and hands on every line that they complete, each with one line feed at its end.</summary>
    public void Feed(ReadOnlySpan<byte> bytes)
    {
        while (!bytes.IsEmpty)
        {
            var end = bytes.IndexOf((byte)'\n');
            var part = end < 0 ? bytes : bytes[..end];
            var taken = part[..Math.Min(part.Length, MaxLine - _length)];
            taken.CopyTo(_buffer.AsSpan(_length));
            _length += taken.Length;
            _isCut |= taken.Length < part.Length;
            if (end < 0)
            {
                return;
            }

            Emit();
            bytes = bytes[(end + 1)..];
        }
    }

    /// <summary>Hands on a last line without an end.</summary>
    public void Finish()
    {
        if (_length > 0)
        {
            Emit();
        }
    }

    private void Emit()
    {
        var text = _buffer.AsSpan(0, _length);
        line([.. text.TrimEnd((byte)'\r'), .. _isCut ? CutMark : default, (byte)'\n']);
        _length = 0;
        _isCut = false;
    }
}
