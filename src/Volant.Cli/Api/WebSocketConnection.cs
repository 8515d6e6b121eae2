using System.Buffers.Binary;
using System.Text;
using Volant.Linux.Kernel;

namespace Volant.Cli.Api;

/// <summary>A message of a WebSocket; its bytes are valid until the next one is received.</summary>
internal readonly record struct SocketMessage(bool IsText, ReadOnlyMemory<byte> Bytes);

/// <summary>The client's end of a WebSocket (RFC 6455, version 13) without extensions.</summary>
/// <remarks>
/// Own frames, because the framework's client loads OpenSSL for the handshake and for every mask: plain http and Unix sockets must work, and
/// start fast, without it. One task receives, any number send.
/// </remarks>
internal sealed class WebSocketConnection(HttpResponseMessage response, Stream stream, TimeProvider clock, Func<Exception?, CliException> broken) : IAsyncDisposable
{
    /// <summary>Largest message that is received, in bytes.</summary>
    public const int MaxMessage = 1024 * 1024;

    private const int Text = 1;
    private const int Binary = 2;
    private const int Close = 8;
    private const int Ping = 9;
    private const int Pong = 10;
    private const int MaxHeader = 14;

    // volantd asks every 20 s whether the client is there.
    private static readonly TimeSpan MaxSilence = TimeSpan.FromSeconds(60);
    private static readonly TimeSpan SendLimit = TimeSpan.FromSeconds(60);
    private static readonly TimeSpan CloseLimit = TimeSpan.FromSeconds(2);

    private readonly SilenceLimit _input = new(stream, MaxSilence, clock);
    private readonly SemaphoreSlim _sending = new(1);
    private byte[] _message = new byte[4096];
    private byte[] _frame = new byte[4096];
    private bool _closeSent;

    /// <summary>Why the other side closed, in its words; null while it has not, or when it does not say.</summary>
    public string? CloseReason { get; private set; }

    /// <summary>A nonce for <c>Sec-WebSocket-Key</c>.</summary>
    public static string NewKey()
    {
        Span<byte> nonce = stackalloc byte[16];
        KernelRandom.Fill(nonce);
        return Convert.ToBase64String(nonce);
    }

    /// <summary>What <c>Sec-WebSocket-Accept</c> must be (section 4.2.2).</summary>
    public static string AcceptOf(string key) => Convert.ToBase64String(Sha1.Hash(Encoding.ASCII.GetBytes(key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11")));

    /// <summary>Sends a binary message.</summary>
    public Task SendAsync(ReadOnlyMemory<byte> bytes, CancellationToken cancellationToken) => SendAsync(Binary, bytes, cancellationToken);

    /// <summary>Sends a text message.</summary>
    /// <param name="utf8">Its text as UTF-8.</param>
    /// <param name="cancellationToken">Gives up, and breaks the connection.</param>
    public Task SendTextAsync(ReadOnlyMemory<byte> utf8, CancellationToken cancellationToken) => SendAsync(Text, utf8, cancellationToken);

    /// <summary>The next message; null when the other side closed the connection properly.</summary>
    /// <exception cref="CliException">The connection broke, or the other side does not keep to the protocol.</exception>
    public async Task<SocketMessage?> ReceiveAsync(CancellationToken cancellationToken)
    {
        try
        {
            return await ReceiveMessageAsync(cancellationToken);
        }
        catch (IOException e)
        {
            throw broken(e);
        }
    }

    /// <summary>Says that nothing more is sent, and waits for two seconds at most until the other side has ended too.</summary>
    /// <remarks>A connection that is let go of with unread bytes is reset, and with it goes what was sent last.</remarks>
    /// <param name="receiving">What still receives; ends with the other side.</param>
    public async Task CloseAsync(Task receiving)
    {
        using var limit = new CancellationTokenSource(CloseLimit, clock);
        try
        {
            await SendCloseAsync(limit.Token);
            await receiving.WaitAsync(limit.Token);
        }
        catch (Exception e) when (e is CliException or OperationCanceledException)
        {
            // It is gone already, or does not answer.
        }
    }

    /// <summary>Says that nothing more is sent, if it can be said at once, and lets go of the connection.</summary>
    public async ValueTask DisposeAsync()
    {
        using var limit = new CancellationTokenSource(CloseLimit, clock);
        try
        {
            await SendCloseAsync(limit.Token);
        }
        catch (Exception e) when (e is CliException or OperationCanceledException)
        {
            // It is gone already.
        }

        _input.Dispose();
        await stream.DisposeAsync();
        response.Dispose();
        _sending.Dispose();
    }

    private async Task<SocketMessage?> ReceiveMessageAsync(CancellationToken cancellationToken)
    {
        var header = new byte[MaxHeader];
        var kind = 0;
        var length = 0;
        while (true)
        {
            await FillAsync(header.AsMemory(0, 2), cancellationToken);
            var (final, opcode, size) = (header[0] >= 0x80, header[0] & 0x0f, (long)(header[1] & 0x7f));
            Require((header[0] & 0x70) == 0 && header[1] < 0x80, "a reserved bit or a mask is set");
            if (size >= 126)
            {
                var bytes = size == 126 ? 2 : 8;
                await FillAsync(header.AsMemory(0, bytes), cancellationToken);
                size = bytes == 2 ? BinaryPrimitives.ReadUInt16BigEndian(header) : BinaryPrimitives.ReadInt64BigEndian(header);
            }

            if (opcode >= Close)
            {
                Require(final && size <= 125, "a control frame is too long");
                var payload = new byte[size];
                await FillAsync(payload, cancellationToken);
                if (await AnswerAsync(opcode, payload, cancellationToken))
                {
                    return null;
                }

                continue;
            }

            Require(kind == 0 ? opcode is Text or Binary : opcode == 0, "a frame does not continue what was begun");
            Require(size >= 0 && size <= MaxMessage - length, "a message has more than 1 MiB");
            kind = kind == 0 ? opcode : kind;
            if (_message.Length < length + size)
            {
                Array.Resize(ref _message, Math.Min(MaxMessage, Math.Max((int)(length + size), _message.Length * 2)));
            }

            await FillAsync(_message.AsMemory(length, (int)size), cancellationToken);
            length += (int)size;
            if (final)
            {
                return new SocketMessage(kind == Text, _message.AsMemory(0, length));
            }
        }
    }

    /// <summary>Answers a control frame; true when it was the last one.</summary>
    private async Task<bool> AnswerAsync(int opcode, byte[] payload, CancellationToken cancellationToken)
    {
        if (opcode == Close)
        {
            CloseReason = payload.Length > 2 ? Encoding.UTF8.GetString(payload.AsSpan(2)) : null;
            try
            {
                await SendCloseAsync(cancellationToken);
            }
            catch (CliException)
            {
                // It has said its last word, and did not wait for ours.
            }

            return true;
        }

        Require(opcode is Ping or Pong, "a frame has an unknown kind");
        if (opcode == Ping)
        {
            await SendAsync(Pong, payload, cancellationToken);
        }

        return false;
    }

    private async Task SendCloseAsync(CancellationToken cancellationToken)
    {
        if (!_closeSent)
        {
            _closeSent = true;
            await SendAsync(Close, new byte[] { 0x03, 0xe8 }, cancellationToken); // 1000: normal closure
        }
    }

    private async Task SendAsync(int opcode, ReadOnlyMemory<byte> bytes, CancellationToken cancellationToken)
    {
        await _sending.WaitAsync(cancellationToken);
        try
        {
            using var late = new CancellationTokenSource(SendLimit, clock);
            using var limit = CancellationTokenSource.CreateLinkedTokenSource(late.Token, cancellationToken);
            await stream.WriteAsync(Frame(opcode, bytes.Span), limit.Token);
            await stream.FlushAsync(limit.Token);
        }
        catch (OperationCanceledException e) when (!cancellationToken.IsCancellationRequested)
        {
            throw broken(e);
        }
        catch (Exception e) when (e is IOException or HttpRequestException or ObjectDisposedException)
        {
            throw broken(e);
        }
        finally
        {
            _sending.Release();
        }
    }

    private ReadOnlyMemory<byte> Frame(int opcode, ReadOnlySpan<byte> bytes)
    {
        if (_frame.Length < bytes.Length + MaxHeader)
        {
            _frame = new byte[bytes.Length + MaxHeader];
        }

        _frame[0] = (byte)(0x80 | opcode);
        var at = 2;
        if (bytes.Length < 126)
        {
            _frame[1] = (byte)(0x80 | bytes.Length);
        }
        else if (bytes.Length <= ushort.MaxValue)
        {
            _frame[1] = 0x80 | 126;
            BinaryPrimitives.WriteUInt16BigEndian(_frame.AsSpan(2), (ushort)bytes.Length);
            at = 4;
        }
        else
        {
            _frame[1] = 0x80 | 127;
            BinaryPrimitives.WriteInt64BigEndian(_frame.AsSpan(2), bytes.Length);
            at = 10;
        }

        var mask = _frame.AsSpan(at, 4);
        KernelRandom.Fill(mask);
        at += 4;
        for (var i = 0; i < bytes.Length; i++)
        {
            _frame[at + i] = (byte)(bytes[i] ^ mask[i & 3]);
        }

        return _frame.AsMemory(0, at + bytes.Length);
    }

    private async Task FillAsync(Memory<byte> buffer, CancellationToken cancellationToken)
    {
        while (!buffer.IsEmpty)
        {
            var read = await _input.ReadAsync(buffer, cancellationToken);
            if (read == 0)
            {
                throw new IOException("the connection ended without a word");
            }

            buffer = buffer[read..];
        }
    }

    private static void Require(bool condition, string fault)
    {
        if (!condition)
        {
            throw new IOException($"the other side does not speak WebSocket as it should: {fault}");
        }
    }
}
