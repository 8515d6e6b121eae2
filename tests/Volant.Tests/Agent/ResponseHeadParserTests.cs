using System.Text;
using CsCheck;
using Volant.Agent.Http;

namespace Volant.Tests.Agent;

public sealed class ResponseHeadParserTests
{
    [Fact]
    public void An_ordinary_head_is_read()
    {
        var head = Parse("HTTP/1.1 200 OK\r\nContent-Type:text/plain \r\nX-A:\t 1\r\nx-a: 2\r\nContent-Length: 7\r\n\r\n");

        Assert.Equal(200, head.Status);
        Assert.Equal(7, head.Length);
        Assert.Equal(["Content-Type=text/plain", "X-A=1", "x-a=2", "Content-Length=7"], head.Fields.Select(f => $"{f.Key}={f.Value}"));
        Assert.Equal(BodyFraming.Length, head.FramingFor("GET"));
        Assert.Equal(BodyFraming.None, head.FramingFor("HEAD"));
    }

    [Theory]
    [InlineData("HTTP/1.1 204 x\r\nContent-Length: 5\r\n\r\n", BodyFraming.None)]
    [InlineData("HTTP/1.1 304 x\r\n\r\n", BodyFraming.None)]
    [InlineData("HTTP/1.1 200\r\n\r\n", BodyFraming.UntilClose)]
    [InlineData("HTTP/1.0 200 OK\n\n", BodyFraming.UntilClose)]
    [InlineData("HTTP/1.1 200 \r\nTransfer-Encoding: Chunked\r\n\r\n", BodyFraming.Chunked)]
    [InlineData("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\n", BodyFraming.Length)]
    public void The_end_of_the_body_is_known(string text, object framing) => Assert.Equal(framing, Parse(text).FramingFor("GET"));

    [Theory]
    [InlineData("\r\nHTTP/1.1 200 OK\r\n\r\n")]
    [InlineData("HTTP/2 200\r\n\r\n")]
    [InlineData("HTTP/1.2 200 OK\r\n\r\n")]
    [InlineData("http/1.1 200 OK\r\n\r\n")]
    [InlineData("HTTP/1.1  200 OK\r\n\r\n")]
    [InlineData("HTTP/1.1 20 OK\r\n\r\n")]
    [InlineData("HTTP/1.1 2000 OK\r\n\r\n")]
    [InlineData("HTTP/1.1 099 OK\r\n\r\n")]
    [InlineData("HTTP/1.1 600 OK\r\n\r\n")]
    [InlineData("HTTP/1.1 +20 OK\r\n\r\n")]
    [InlineData("HTTP/1.1 200 O\u0001K\r\n\r\n")]
    [InlineData("HTTP/1.1 200 OK\r\nNo colon\r\n\r\n")]
    [InlineData("HTTP/1.1 200 OK\r\n: no name\r\n\r\n")]
    [InlineData("HTTP/1.1 200 OK\r\nX : space\r\n\r\n")]
    [InlineData("HTTP/1.1 200 OK\r\nX: 1\r\n folded\r\n\r\n")]
    [InlineData("HTTP/1.1 200 OK\r\nX: a\rb\r\n\r\n")]
    [InlineData("HTTP/1.1 200 OK\r\nX: a\0b\r\n\r\n")]
    [InlineData("HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n")]
    [InlineData("HTTP/1.1 200 OK\r\nContent-Length: 1, 1\r\n\r\n")]
    [InlineData("HTTP/1.1 200 OK\r\nContent-Length: 0x5\r\n\r\n")]
    [InlineData("HTTP/1.1 200 OK\r\nContent-Length: \r\n\r\n")]
    [InlineData("HTTP/1.1 200 OK\r\nContent-Length: 9999999999999999999\r\n\r\n")]
    [InlineData("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n")]
    [InlineData("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n")]
    [InlineData("HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n")]
    [InlineData("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n")]
    [InlineData("HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")]
    public void What_could_be_read_in_two_ways_is_refused(string text) => Assert.Throws<WorkloadProtocolException>(() => Parse(text));

    [Fact]
    public void Limits_hold_to_the_byte()
    {
        var reason = new string('r', ResponseHeadParser.MaxStatusLine - "HTTP/1.1 200 \r".Length);
        Parse($"HTTP/1.1 200 {reason}\r\n\r\n");
        Assert.Throws<WorkloadProtocolException>(() => Parse($"HTTP/1.1 200 {reason}r\r\n\r\n"));

        Parse($"HTTP/1.1 200 OK\r\n{string.Concat(Enumerable.Repeat("X: 1\r\n", ResponseHeadParser.MaxFields))}\r\n");
        Assert.Throws<WorkloadProtocolException>(() => Parse($"HTTP/1.1 200 OK\r\n{string.Concat(Enumerable.Repeat("X: 1\r\n", ResponseHeadParser.MaxFields + 1))}\r\n"));
        Assert.Throws<WorkloadProtocolException>(() => Parse($"HTTP/1.1 200 OK\r\nX: {new string('x', ResponseHeadParser.MaxHeadBytes)}\r\n\r\n"));
    }

    [Fact]
    public void An_endless_head_is_refused_before_it_ends()
    {
        var scanned = 0;
        var text = Encoding.ASCII.GetBytes($"HTTP/1.1 200 OK\r\n{string.Concat(Enumerable.Repeat("X: 1\r\n", 20_000))}");

        Assert.Throws<WorkloadProtocolException>(() => ResponseHeadParser.FindEnd(text, ref scanned));
    }

    [Fact]
    public void The_end_is_found_however_the_bytes_arrive() =>
        Gen.Select(Gen.Int[0, 5], Gen.Int[1, 40], Gen.Bool).Sample((fields, step, lfOnly) =>
        {
            var text = $"HTTP/1.1 200 OK\r\n{string.Concat(Enumerable.Repeat("X-Y: some value\r\n", fields))}\r\n";
            var bytes = Encoding.ASCII.GetBytes(lfOnly ? text.Replace("\r\n", "\n", StringComparison.Ordinal) : text);
            byte[] all = [.. bytes, .. "body\n\n"u8];
            var scanned = 0;
            for (var have = 0; ; have = Math.Min(have + step, all.Length))
            {
                if (ResponseHeadParser.FindEnd(all.AsSpan(0, have), ref scanned) is { } end)
                {
                    Assert.Equal(bytes.Length, end);
                    return;
                }

                Assert.True(have < bytes.Length);
            }
        });

    [Fact]
    public void Hostile_bytes_only_ever_cause_a_protocol_exception() =>
        Gen.OneOf(Gen.Byte.Array[0, 400], Gen.Int[0, 6].Select(i => "\r\n: a\0\xff"u8[i]).Array[0, 200]
            .Select(tail => (byte[])[.. "HTTP/1.1 200 "u8, .. tail])).Sample(bytes =>
        {
            try
            {
                var scanned = 0;
                if (ResponseHeadParser.FindEnd(bytes, ref scanned) is { } end)
                {
                    var head = ResponseHeadParser.Parse(bytes.AsSpan(0, end));
                    Assert.All(head.Fields, f => Assert.DoesNotContain(f.Value, c => c is '\r' or '\n' or '\0'));
                }
            }
            catch (WorkloadProtocolException)
            {
                // The only way to refuse.
            }
        });

    private static ResponseHead Parse(string text)
    {
        var bytes = Encoding.Latin1.GetBytes(text);
        var scanned = 0;
        var end = ResponseHeadParser.FindEnd(bytes, ref scanned);
        Assert.Equal(bytes.Length, end);
        return ResponseHeadParser.Parse(bytes);
    }
}
