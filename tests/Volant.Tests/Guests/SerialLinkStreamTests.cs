using System.Threading.Channels;
using CsCheck;
using Volant.Contracts.Boot;
using Volant.Daemon.Guests;

namespace Volant.Tests.Guests;

public sealed class SerialLinkStreamTests
{
    private static readonly byte[] Key = [.. Enumerable.Range(1, GuestLink.KeyLength).Select(i => (byte)i)];

    private static CancellationToken Cancelled => TestContext.Current.CancellationToken;

    [Fact]
    public async Task Open_says_hello_and_drops_everything_before_the_echo()
    {
        await using var port = new ScriptedPort();
        var open = SerialLinkStream.OpenAsync(port, Key, Cancelled);
        var hello = await port.Hello;
        Assert.Equal([.. GuestLink.Magic, .. Key], hello[..32]);
        var echo = hello[16..];

        // Rests of an earlier connection, among them an older echo, and the true one in pieces.
        port.Push(new byte[100_000]);
        port.Push([.. Key, .. new byte[16], 1, 2, 3, .. echo[..20]]);
        Assert.False(open.IsCompleted);
        port.Push([.. echo[20..], 42, 43]);
        await using var link = await open;

        Assert.Equal([42, 43], await ReadAsync(link, 2));
        await link.WriteAsync(new byte[] { 9 }, Cancelled);
        Assert.Equal([.. hello, 9], port.Written);
    }

    [Fact]
    public async Task Open_uses_a_new_nonce_each_time()
    {
        await using var first = new ScriptedPort();
        await using var second = new ScriptedPort();
        first.End();
        second.End();

        await Assert.ThrowsAsync<IOException>(() => SerialLinkStream.OpenAsync(first, Key, Cancelled));
        await Assert.ThrowsAsync<IOException>(() => SerialLinkStream.OpenAsync(second, Key, Cancelled));

        Assert.NotEqual(await first.Hello, await second.Hello);
        Assert.True(first.Disposed);
    }

    [Fact]
    public async Task Open_that_is_cancelled_closes_the_port()
    {
        await using var port = new ScriptedPort();
        using var cancel = new CancellationTokenSource();
        var open = SerialLinkStream.OpenAsync(port, Key, cancel.Token);

        await cancel.CancelAsync();

        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => open);
        Assert.True(port.Disposed);
    }

    [Fact]
    public async Task Read_hands_out_what_is_there_even_if_it_might_begin_a_goodbye()
    {
        await using var port = new ScriptedPort();
        await using var link = await OpenAsync(port);

        port.Push([5, .. Key[..7]]);

        Assert.Equal([5, .. Key[..7]], await ReadAsync(link, 8));
    }

    [Fact]
    public async Task Read_of_nothing_waits_for_data()
    {
        await using var port = new ScriptedPort();
        await using var link = await OpenAsync(port);

        var wait = link.ReadAsync(Memory<byte>.Empty, Cancelled);
        Assert.False(wait.IsCompleted);
        port.Push([1]);

        Assert.Equal(0, await wait);
        Assert.Equal([1], await ReadAsync(link, 1));
    }

    [Fact]
    public async Task The_end_of_the_port_is_the_end_of_the_connection()
    {
        await using var port = new ScriptedPort();
        await using var link = await OpenAsync(port);
        port.Push([.. Key]);
        port.End();

        Assert.Equal(Key, await ReadAsync(link, 100));
    }

    /// <summary>Any payload, cut anywhere, arrives whole; after it, at most a few bytes of the goodbye, and then the end.</summary>
    [Fact]
    public Task Payload_arrives_unchanged_up_to_the_goodbye() =>
        Gen.Select(
            Gen.OneOf(Gen.Byte.Array[0, 300], Gen.OneOf(Key, Key[..12], Key[..8], [1], [1, 2], []).Array[0, 8].Select(parts => parts.SelectMany(part => part).ToArray())),
            Gen.Int[1, 60].Array[1, 20],
            Gen.Int[1, 100],
            Gen.Bool).SampleAsync(
                ArrivesAsync,
                iter: 3000,
                threads: 1);

    private static async Task<bool> ArrivesAsync(byte[] payload, int[] cuts, int readSize, bool withEcho)
    {
        await using var port = new ScriptedPort();
        var open = SerialLinkStream.OpenAsync(port, Key, Cancelled);
        var echo = (await port.Hello)[16..];
        var goodbye = GuestLink.Goodbye(echo);
        byte[] sent = [.. withEcho ? echo : [], .. payload, .. goodbye, .. "of the next connection"u8];
        if (!withEcho)
        {
            port.Push(echo);
        }

        for (var (at, i) = (0, 0); at < sent.Length; i++)
        {
            var next = Math.Min(sent.Length, at + cuts[i % cuts.Length]);
            port.Push(sent[at..next]);
            at = next;
        }

        await using var link = await open;
        var received = new List<byte>();
        var buffer = new byte[readSize];
        while (await link.ReadAsync(buffer, Cancelled) is > 0 and var count)
        {
            received.AddRange(buffer.AsSpan(0, count));
        }

        var rest = received.Count - payload.Length;
        return rest is >= 0 and < 8 &&
            received.Take(payload.Length).SequenceEqual(payload) &&
            received.Skip(payload.Length).SequenceEqual(goodbye.Take(rest)) &&
            await link.ReadAsync(buffer, Cancelled) == 0;
    }

    private static async Task<Stream> OpenAsync(ScriptedPort port)
    {
        var open = SerialLinkStream.OpenAsync(port, Key, Cancelled);
        port.Push((await port.Hello)[16..]);
        return await open;
    }

    private static async Task<byte[]> ReadAsync(Stream stream, int count)
    {
        var buffer = new byte[count];
        return buffer[..await stream.ReadAtLeastAsync(buffer, count, throwOnEndOfStream: false, Cancelled)];
    }

    /// <summary>A port whose incoming pieces are scripted.</summary>
    private sealed class ScriptedPort : Stream
    {
        private readonly Channel<byte[]> _incoming = Channel.CreateUnbounded<byte[]>();
        private readonly TaskCompletionSource<byte[]> _hello = new();
        private byte[] _rest = [];

        public Task<byte[]> Hello => _hello.Task;

        public List<byte> Written { get; } = [];

        public bool Disposed { get; private set; }

        public override bool CanRead => true;

        public override bool CanWrite => true;

        public override bool CanSeek => false;

        public override long Length => throw new NotSupportedException();

        public override long Position
        {
            get => throw new NotSupportedException();
            set => throw new NotSupportedException();
        }

        public void Push(byte[] piece) => _incoming.Writer.TryWrite(piece);

        public void End() => _incoming.Writer.TryComplete();

        public override async ValueTask<int> ReadAsync(Memory<byte> buffer, CancellationToken cancellationToken = default)
        {
            if (_rest.Length == 0)
            {
                if (!await _incoming.Reader.WaitToReadAsync(cancellationToken))
                {
                    return 0;
                }

                _rest = await _incoming.Reader.ReadAsync(cancellationToken);
            }

            var count = Math.Min(buffer.Length, _rest.Length);
            _rest.AsSpan(0, count).CopyTo(buffer.Span);
            _rest = _rest[count..];
            return count;
        }

        public override ValueTask WriteAsync(ReadOnlyMemory<byte> buffer, CancellationToken cancellationToken = default)
        {
            Written.AddRange(buffer.Span);
            _hello.TrySetResult(buffer.ToArray());
            return ValueTask.CompletedTask;
        }

        public override Task<int> ReadAsync(byte[] buffer, int offset, int count, CancellationToken cancellationToken) =>
            ReadAsync(buffer.AsMemory(offset, count), cancellationToken).AsTask();

        public override Task WriteAsync(byte[] buffer, int offset, int count, CancellationToken cancellationToken) =>
            WriteAsync(buffer.AsMemory(offset, count), cancellationToken).AsTask();

        public override void Flush()
        {
        }

        public override int Read(byte[] buffer, int offset, int count) => throw new NotSupportedException();

        public override void Write(byte[] buffer, int offset, int count) => throw new NotSupportedException();

        public override long Seek(long offset, SeekOrigin origin) => throw new NotSupportedException();

        public override void SetLength(long value) => throw new NotSupportedException();

        protected override void Dispose(bool disposing)
        {
            Disposed = true;
            base.Dispose(disposing);
        }
    }
}
