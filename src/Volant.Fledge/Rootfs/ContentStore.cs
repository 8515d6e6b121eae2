using Microsoft.Win32.SafeHandles;

namespace Volant.Fledge.Rootfs;

/// <summary>A file that contents are appended to, each from the start of a block on.</summary>
/// <remarks>For ext4 the file is the image itself: a content is written once, at the place where the guest will find it.</remarks>
internal sealed class ContentStore
{
    /// <summary>Bytes of a block; that of the file system, too.</summary>
    public const int BlockBytes = 4096;

    private readonly SafeFileHandle _file;
    private readonly byte[] _buffer = new byte[1024 * 1024];
    private long _offset;
    private int _filled;

    /// <summary>Starts appending.</summary>
    /// <param name="file">Open for reading and writing.</param>
    /// <param name="firstBlock">Block to begin with, at least 1; what lies before is the caller's.</param>
    public ContentStore(SafeFileHandle file, long firstBlock)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(firstBlock, 1);
        _file = file;
        _offset = firstBlock * BlockBytes;
    }

    /// <summary>The file.</summary>
    public SafeFileHandle File => _file;

    /// <summary>The block that the next content begins with.</summary>
    public long NextBlock => (_offset + _filled + BlockBytes - 1) / BlockBytes;

    /// <summary>Appends a content of known length.</summary>
    /// <param name="read">Fills a part of a buffer; 0 means that the content ended too early, which is the reader's fault to name.</param>
    /// <param name="sizeBytes">Its length.</param>
    /// <param name="cancellationToken">Ends it between two buffers.</param>
    public Extent Append(ContentReader read, long sizeBytes, CancellationToken cancellationToken)
    {
        var first = NextBlock;
        for (var left = sizeBytes; left > 0;)
        {
            cancellationToken.ThrowIfCancellationRequested();
            var part = _buffer.AsSpan(_filled, (int)Math.Min(left, _buffer.Length - _filled));
            var count = read(part);
            if (count <= 0)
            {
                throw new FledgeException($"A file ended {left} bytes too early.");
            }

            _filled += count;
            left -= count;
            if (_filled == _buffer.Length)
            {
                Flush();
            }
        }

        Align();
        return new Extent(sizeBytes == 0 ? 0 : first, sizeBytes);
    }

    /// <summary>Appends bytes.</summary>
    public Extent Append(ReadOnlySpan<byte> bytes)
    {
        var first = NextBlock;
        for (var rest = bytes; !rest.IsEmpty;)
        {
            var part = rest[..Math.Min(rest.Length, _buffer.Length - _filled)];
            part.CopyTo(_buffer.AsSpan(_filled));
            _filled += part.Length;
            rest = rest[part.Length..];
            if (_filled == _buffer.Length)
            {
                Flush();
            }
        }

        Align();
        return new Extent(bytes.IsEmpty ? 0 : first, bytes.Length);
    }

    /// <summary>Leaves out blocks, which read as zeros, and returns the first of them.</summary>
    public long Skip(long blocks)
    {
        var first = NextBlock;
        Flush();
        _offset += blocks * BlockBytes;
        return first;
    }

    /// <summary>Writes out what is buffered; nothing but zeros becomes a hole.</summary>
    public void Flush()
    {
        var bytes = _buffer.AsSpan(0, _filled);
        if (bytes.ContainsAnyExcept((byte)0))
        {
            RandomAccess.Write(_file, bytes, _offset);
        }
        else if (RandomAccess.GetLength(_file) < _offset + _filled)
        {
            RandomAccess.SetLength(_file, _offset + _filled);
        }

        _offset += _filled;
        _filled = 0;
    }

    private void Align()
    {
        var rest = _filled % BlockBytes;
        if (rest > 0)
        {
            _buffer.AsSpan(_filled, BlockBytes - rest).Clear();
            _filled += BlockBytes - rest;
            if (_filled == _buffer.Length)
            {
                Flush();
            }
        }
    }
}

/// <summary>Reads the next part of a content.</summary>
internal delegate int ContentReader(Span<byte> buffer);
