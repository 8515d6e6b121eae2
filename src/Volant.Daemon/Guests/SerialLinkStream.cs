using System.Security.Cryptography;
using Volant.Contracts.Boot;
using Volant.Linux.IO;

namespace Volant.Daemon.Guests;

/// <summary>The host's end of one connection over a virtio-serial port.</summary>
/// <remarks>
/// The protocol is that of <see cref="GuestLink"/>: the bytes of a connection travel as they are, and <c>KEY ~NONCE</c> from the guest
/// is its end. Bytes are never held back in the hope of more, which could stall both sides, except for a tail that already equals the
/// first half of the key: no payload ends like that, and what little of a goodbye is let through is shorter than an HTTP/2 frame.
/// One reader and one writer at a time.
/// </remarks>
internal sealed class SerialLinkStream : AsyncOnlyStream
{
    // Most guests say little: the buffer grows when one has more to say.
    private const int FirstBufferBytes = 2 * 1024;
    private const int BufferBytes = 64 * 1024;
    private const int LeastHeld = GuestLink.KeyLength / 2;
    private const int History = GuestLink.EchoLength - 1;

    private readonly Stream _port;
    private readonly byte[] _goodbye;

    // Up to History bytes that were handed out, then what was not yet: [_next, _limit) may be, [_limit, _end) is held.
    private byte[] _buffer = new byte[FirstBufferBytes];
    private int _next;
    private int _limit;
    private int _end;
    private bool _ended;
    private bool _grows;

    private SerialLinkStream(Stream port, byte[] goodbye)
    {
        _port = port;
        _goodbye = goodbye;
    }

    /// <summary>Opens a connection: says hello and drops all that is left of earlier connections.</summary>
    /// <remarks>Completes as soon as the guest listens, so it may wait for a guest that is still starting: the caller sets the limit.</remarks>
    /// <param name="port">The port; owned from the first moment, because the hypervisor serves nobody else while it is open.</param>
    /// <param name="key">The secret, <see cref="GuestLink.KeyLength"/> bytes.</param>
    /// <param name="cancellationToken">Gives up and closes the port.</param>
    /// <exception cref="IOException">The port was closed.</exception>
    public static async Task<Stream> OpenAsync(Stream port, ReadOnlyMemory<byte> key, CancellationToken cancellationToken)
    {
        try
        {
            ArgumentOutOfRangeException.ThrowIfNotEqual(key.Length, GuestLink.KeyLength, nameof(key));
            var hello = new byte[GuestLink.HelloLength];
            GuestLink.WriteHello(hello, key.Span, RandomNumberGenerator.GetBytes(GuestLink.KeyLength));
            await port.WriteAsync(hello, cancellationToken);

            var echo = hello.AsMemory(GuestLink.KeyLength);
            var link = new SerialLinkStream(port, GuestLink.Goodbye(echo.Span));
            await link.SkipToAsync(echo, cancellationToken);
            return link;
        }
        catch
        {
            await port.DisposeAsync();
            throw;
        }
    }

    /// <inheritdoc/>
    public override async ValueTask<int> ReadAsync(Memory<byte> buffer, CancellationToken cancellationToken = default)
    {
        while (_next == _limit && !_ended)
        {
            await FillAsync(cancellationToken);
        }

        var count = Math.Min(buffer.Length, _limit - _next);
        _buffer.AsSpan(_next, count).CopyTo(buffer.Span);
        _next += count;
        return count;
    }

    /// <inheritdoc/>
    public override ValueTask WriteAsync(ReadOnlyMemory<byte> buffer, CancellationToken cancellationToken = default) =>
        _port.WriteAsync(buffer, cancellationToken);

    /// <inheritdoc/>
    public override async ValueTask DisposeAsync()
    {
        await _port.DisposeAsync();
        await base.DisposeAsync();
    }

    /// <inheritdoc/>
    protected override void Dispose(bool disposing)
    {
        if (disposing)
        {
            _port.Dispose();
        }

        base.Dispose(disposing);
    }

    private async Task SkipToAsync(ReadOnlyMemory<byte> echo, CancellationToken cancellationToken)
    {
        while (true)
        {
            var count = await _port.ReadAsync(_buffer.AsMemory(_end), cancellationToken);
            if (count == 0)
            {
                throw new IOException("The hypervisor closed the virtio-serial port before the guest answered.");
            }

            _end += count;
            var at = _buffer.AsSpan(0, _end).IndexOf(echo.Span);
            if (at >= 0)
            {
                // A server speaks first in HTTP/2: its bytes may be here already.
                _next = at + echo.Length;
                Admit();
                return;
            }

            var keep = Math.Min(History, _end);
            _buffer.AsSpan(_end - keep, keep).CopyTo(_buffer);
            _end = keep;
        }
    }

    private async Task FillAsync(CancellationToken cancellationToken)
    {
        var from = Math.Max(0, _next - History);
        _buffer.AsSpan(from, _end - from).CopyTo(_buffer);
        _next -= from;
        _limit -= from;
        _end -= from;
        if (_grows)
        {
            _grows = false;
            Array.Resize(ref _buffer, Math.Min(4 * _buffer.Length, BufferBytes));
        }

        var count = await _port.ReadAsync(_buffer.AsMemory(_end), cancellationToken);
        if (count == 0)
        {
            _limit = _end;
            _ended = true;
            return;
        }

        _end += count;
        _grows = _end == _buffer.Length && _buffer.Length < BufferBytes;
        Admit();
    }

    /// <summary>Decides how far the buffer may be handed out.</summary>
    private void Admit()
    {
        var from = Math.Max(0, _next - History);
        var seen = _buffer.AsSpan(from, _end - from);
        var at = seen.IndexOf(_goodbye);
        if (at >= 0)
        {
            _limit = Math.Max(_next, from + at);
            _ended = true;
            return;
        }

        var held = Math.Min(History, seen.Length);
        while (held >= LeastHeld && !seen[^held..].SequenceEqual(_goodbye.AsSpan(0, held)))
        {
            held--;
        }

        _limit = Math.Max(_next, held >= LeastHeld ? _end - held : _end);
    }
}
