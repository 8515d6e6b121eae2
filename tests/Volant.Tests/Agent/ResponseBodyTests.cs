using System.Globalization;
using System.Text;
using CsCheck;
using Volant.Agent.Http;

namespace Volant.Tests.Agent;

public sealed class ResponseBodyTests
{
    [Fact]
    public Task Chunks_of_any_size_in_pieces_of_any_size_give_the_body() =>
        Gen.Select(Gen.Byte.Array[1, 300].Array[0, 10], Gen.Int[1, 50], Gen.Int[1, 50]).SampleAsync(async (chunks, pieceSize, readSize) =>
        {
            var wire = new List<byte>();
            foreach (var chunk in chunks)
            {
                wire.AddRange(Encoding.ASCII.GetBytes(string.Create(CultureInfo.InvariantCulture, $"{chunk.Length:X};ext=1\r\n")));
                wire.AddRange(chunk);
                wire.AddRange("\r\n"u8);
            }

            wire.AddRange("0\r\nTrailer: x\r\n\r\n"u8);

            var got = await ReadAllAsync([.. wire], BodyFraming.Chunked, 0, pieceSize, readSize);

            Assert.Equal(chunks.SelectMany(c => c).ToArray(), got);
        });

    [Fact]
    public async Task A_length_is_read_to_the_byte_and_no_further()
    {
        Assert.Equal("hello"u8.ToArray(), await ReadAllAsync("hello, world"u8.ToArray(), BodyFraming.Length, 5, 3, 4));
        Assert.Equal("hello"u8.ToArray(), await ReadAllAsync("hello"u8.ToArray(), BodyFraming.UntilClose, 0, 2, 100));
        Assert.Empty(await ReadAllAsync("hello"u8.ToArray(), BodyFraming.None, 0, 2, 100));
        Assert.Empty(await ReadAllAsync("hello"u8.ToArray(), BodyFraming.Length, 0, 2, 100));
    }

    [Theory]
    [InlineData("5\r\nhel")]
    [InlineData("5\r\nhello")]
    [InlineData("5\r\nhello\r\n")]
    [InlineData("5\r\nhelloX\r\n0\r\n\r\n")]
    [InlineData("\r\n")]
    [InlineData("-5\r\nhello\r\n0\r\n\r\n")]
    [InlineData("0x5\r\nhello\r\n0\r\n\r\n")]
    [InlineData(" 5\r\nhello\r\n0\r\n\r\n")]
    [InlineData("ffffffffffffffff\r\nhello")]
    [InlineData("g\r\n")]
    [InlineData("0\r\nTrailer: x\r\n")]
    public async Task A_broken_chunk_is_refused(string wire) =>
        await Assert.ThrowsAsync<WorkloadProtocolException>(() => ReadAllAsync(Encoding.ASCII.GetBytes(wire), BodyFraming.Chunked, 0, 4, 100));

    [Fact]
    public async Task Endless_chunk_headers_and_trailers_are_refused()
    {
        var header = Encoding.ASCII.GetBytes("5;" + new string('x', 5000));
        await Assert.ThrowsAsync<WorkloadProtocolException>(() => ReadAllAsync(header, BodyFraming.Chunked, 0, 1000, 100));

        var trailers = Encoding.ASCII.GetBytes("0\r\n" + string.Concat(Enumerable.Repeat("A: b\r\n", 200)) + "\r\n");
        await Assert.ThrowsAsync<WorkloadProtocolException>(() => ReadAllAsync(trailers, BodyFraming.Chunked, 0, 1000, 100));
    }

    [Fact]
    public async Task A_short_body_of_known_length_is_refused() =>
        await Assert.ThrowsAsync<WorkloadProtocolException>(() => ReadAllAsync("hel"u8.ToArray(), BodyFraming.Length, 5, 2, 100));

    private static async Task<byte[]> ReadAllAsync(byte[] wire, BodyFraming framing, long length, int pieceSize, int readSize)
    {
        var body = new ResponseBody(new ByteSource(new PiecewiseStream(wire, pieceSize)), framing, length);
        var got = new List<byte>();
        var buffer = new byte[readSize];
        while (true)
        {
            var count = await body.ReadAsync(buffer, TestContext.Current.CancellationToken);
            if (count == 0)
            {
                return [.. got];
            }

            got.AddRange(buffer.AsSpan(0, count));
        }
    }

    private sealed class PiecewiseStream(byte[] bytes, int pieceSize) : Volant.Linux.IO.AsyncOnlyStream
    {
        private int _position;

        public override ValueTask<int> ReadAsync(Memory<byte> buffer, CancellationToken cancellationToken = default)
        {
            var count = Math.Min(Math.Min(pieceSize, buffer.Length), bytes.Length - _position);
            bytes.AsSpan(_position, count).CopyTo(buffer.Span);
            _position += count;
            return ValueTask.FromResult(count);
        }

        public override ValueTask WriteAsync(ReadOnlyMemory<byte> buffer, CancellationToken cancellationToken = default) => throw new NotSupportedException();
    }
}
