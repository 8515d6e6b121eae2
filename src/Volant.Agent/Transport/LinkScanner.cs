using Volant.Contracts.Boot;

namespace Volant.Agent.Transport;

/// <summary>One thing that the scanner found: a run of payload, or an opening.</summary>
/// <param name="Payload">Bytes of the current connection; valid until the next call of <see cref="LinkScanner.Received"/>.</param>
/// <param name="Echo"><c>KEY NONCE</c> of an opening; null for payload.</param>
internal readonly record struct LinkItem(ReadOnlyMemory<byte> Payload, byte[]? Echo);

/// <summary>Finds openings (see <see cref="GuestLink"/>) in the bytes that come out of a byte pipe, wherever the pipe cuts them.</summary>
/// <remarks>
/// Nothing is held back for the sake of a possible opening: that would dead-lock request and answer. Bytes wait only behind a
/// complete key. The few bytes of a key that were already passed on belong to a connection that is about to end. Not thread-safe.
/// </remarks>
internal sealed class LinkScanner
{
    /// <summary>Most bytes that one read returns.</summary>
    public const int ReadSize = 64 * 1024;

    private readonly byte[] _buffer = new byte[ReadSize + (2 * GuestLink.HelloLength)];
    private byte[]? _key;

    // [0, _passed) was passed on and is kept to find a pattern that began there; [_passed, _total) was not.
    private int _passed;
    private int _total;
    private int _from;

    /// <summary>Where the next read must put its bytes.</summary>
    public Memory<byte> Free => _buffer.AsMemory(_total, ReadSize);

    /// <summary>Tells that <paramref name="count"/> bytes were read into <see cref="Free"/>.</summary>
    public void Received(int count) => _total += count;

    /// <summary>Forgets unfinished openings because the host went away; the key stays.</summary>
    public void Reset() => _passed = _total = _from = 0;

    /// <summary>Returns the next item; false when more bytes must be read.</summary>
    public bool TryNext(out LinkItem item)
    {
        var pattern = _key ?? GuestLink.Magic;
        var frame = _key is null ? GuestLink.HelloLength : GuestLink.EchoLength;
        var found = _buffer.AsSpan(_from.._total).IndexOf(pattern);
        var start = found < 0 ? _total : LastOpening(_from + found, frame);
        if (start > _passed)
        {
            item = new LinkItem(_buffer.AsMemory(_passed..start), null);
            _passed = start;
            return true;
        }

        if (found < 0 || _total - start < frame)
        {
            var keep = found < 0 ? Math.Min(pattern.Length - 1, _total - _from) : _total - start;
            Keep(_total - keep);
            item = default;
            return false;
        }

        var echo = _buffer.AsSpan(start + frame - GuestLink.EchoLength, GuestLink.EchoLength).ToArray();
        _key ??= echo[..GuestLink.KeyLength];
        _passed = _from = start + frame;
        item = new LinkItem(default, echo);
        return true;
    }

    /// <summary>Start of the opening at <paramref name="start"/>, or of the one that cut it short.</summary>
    /// <remarks>
    /// A host that vanished in the middle of its first opening and came back leaves <c>MAGIC half-a-key MAGIC KEY NONCE</c>. Taking the
    /// bytes after the first magic for the key would make the guest deaf for ever.
    /// </remarks>
    private int LastOpening(int start, int frame)
    {
        while (_key is null)
        {
            var window = _buffer.AsSpan(start + 1, Math.Min(frame, _total - start) - 1);
            var again = window.IndexOf(GuestLink.Magic);
            if (again < 0)
            {
                break;
            }

            start += again + 1;
        }

        return start;
    }

    private void Keep(int start)
    {
        _buffer.AsSpan(start.._total).CopyTo(_buffer);
        _passed = Math.Max(0, _passed - start);
        _total -= start;
        _from = 0;
    }
}
