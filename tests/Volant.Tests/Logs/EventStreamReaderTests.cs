using System.Text;
using CsCheck;
using Volant.Daemon.Logs;

namespace Volant.Tests.Logs;

public sealed class EventStreamReaderTests
{
    private static CancellationToken Token => TestContext.Current.CancellationToken;

    [Fact]
    public async Task Events_are_read_however_the_bytes_arrive() =>
        await Gen.Select(Gen.Select(Gen.Char['a', 'z'].Array[0, 20], Gen.Int[0, 3], Gen.Bool).Array[0, 10], Gen.Int[1, 40], Gen.Bool).SampleAsync(async (events, step, crlf) =>
        {
            var end = crlf ? "\r\n" : "\n";
            var text = new StringBuilder(": comment" + end + end);
            var expected = new List<StreamEvent>();
            foreach (var (letters, lines, hasId) in events)
            {
                var id = hasId ? new string(letters) : null;
                var data = Enumerable.Range(0, lines).Select(i => $"{i} é:{new string(letters)}").ToArray();
                text.Append(hasId ? $"id: {id}{end}" : string.Empty).Append($"event:{new string(letters)}{end}");
                text.Append(string.Concat(data.Select(line => $"data: {line}{end}"))).Append(end);
                if (lines > 0)
                {
                    expected.Add(new StreamEvent(new string(letters), id, string.Join('\n', data)));
                }
            }

            Assert.Equal(expected, await ReadAsync(new Pieces(Encoding.UTF8.GetBytes(text.ToString()), step)));
        });

    [Fact]
    public async Task An_event_without_an_end_is_refused_at_the_limit()
    {
        await Assert.ThrowsAsync<IOException>(() => ReadAsync(new MemoryStream(new byte[2 * EventStreamReader.MaxEvent])));
        var many = Encoding.ASCII.GetBytes(string.Concat(Enumerable.Repeat($"data: {new string('x', 1000)}\n", 200)));
        await Assert.ThrowsAsync<IOException>(() => ReadAsync(new MemoryStream(many)));
    }

    private static async Task<List<StreamEvent>> ReadAsync(Stream stream)
    {
        var reader = new EventStreamReader(stream);
        var events = new List<StreamEvent>();
        while (await reader.ReadAsync(events, Token))
        {
        }

        return events;
    }

    private sealed class Pieces(byte[] bytes, int step) : MemoryStream(bytes)
    {
        public override ValueTask<int> ReadAsync(Memory<byte> buffer, CancellationToken cancellationToken = default) =>
            base.ReadAsync(buffer[..Math.Min(step, buffer.Length)], cancellationToken);
    }
}
