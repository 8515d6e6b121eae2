using System.Net;
using System.Net.Http.Headers;
using System.Text;
using System.Text.Json;
using Microsoft.Extensions.Time.Testing;
using Volant.Agent.Workloads;
using Volant.Contracts;
using Volant.Contracts.Api;

namespace Volant.Tests.Agent;

public sealed class OutputLogTests
{
    private readonly FakeTimeProvider _clock = new();

    private static CancellationToken Token => TestContext.Current.CancellationToken;

    [Fact]
    public void The_ring_keeps_the_newest_lines_within_both_bounds()
    {
        var log = new OutputLog(_clock);
        for (var i = 1; i <= OutputLog.MaxLines + 5; i++)
        {
            log.Add(false, Line($"{i}"));
        }

        var lines = new OutputLine[3];
        Assert.Equal(3, log.Read(0, lines, out var lost));
        Assert.Equal(5, lost);
        Assert.Equal([6L, 7L, 8L], lines.Select(line => line.Sequence));
        Assert.Equal("6\n", Encoding.ASCII.GetString(lines[0].Text));
        Assert.Equal(2, log.Read(OutputLog.MaxLines + 3, lines, out lost));
        Assert.Equal(0, lost);

        for (var i = 0; i < 1000; i++)
        {
            log.Add(true, Line(new string('x', 8191)));
        }

        Assert.Equal(OutputLog.MaxBytes / 8192, log.Read(0, new OutputLine[OutputLog.MaxLines], out lost));
        Assert.Equal(OutputLog.MaxLines + 5 + 1000 - (OutputLog.MaxBytes / 8192), lost);
    }

    [Fact]
    public async Task A_reader_waits_for_the_next_line_and_learns_of_the_end()
    {
        var log = new OutputLog(_clock);
        var waiting = log.WaitAsync(0, Token);
        Assert.False(waiting.IsCompleted);
        log.Add(false, Line("a"));
        Assert.True(await waiting);
        waiting = log.WaitAsync(1, Token);
        log.Complete();
        Assert.False(await waiting);
        Assert.True(await log.WaitAsync(0, Token));
    }

    [Fact]
    public void An_id_of_another_boot_or_of_the_future_starts_at_the_beginning()
    {
        var log = new OutputLog(_clock);
        log.Add(false, Line("a"));
        log.Add(false, Line("b"));

        Assert.Equal(2, log.SequenceOf(log.IdOf(2)));
        Assert.Equal(0, log.SequenceOf(log.IdOf(3)));
        Assert.Equal(0, log.SequenceOf(new OutputLog(_clock).IdOf(2)));
        Assert.All((string?[])[null, string.Empty, ".", "1", $"{log.Epoch}.-1", $"{log.Epoch}.99999999999999999999", $"{log.Epoch}."], id => Assert.Equal(0, log.SequenceOf(id)));
    }

    [Fact]
    public async Task The_stream_gives_kept_and_new_lines_resumes_and_says_what_was_lost()
    {
        await using var agent = await AgentHarness.StartAsync(new Uri("http://127.0.0.1:1"), null, Token);
        var (client, _) = agent.Connect();
        agent.Log.Add(false, Line("one"));
        agent.Log.Add(true, Line("zwei \u00e4\u20ac \"q\" \u001b[31m"));

        using var response = await client.GetAsync("/v1/logs/stream", HttpCompletionOption.ResponseHeadersRead, Token);
        Assert.Equal("text/event-stream", response.Content.Headers.ContentType?.MediaType);
        using var reader = new StreamReader(await response.Content.ReadAsStreamAsync(Token));
        Assert.Equal((agent.Log.IdOf(1), "stdout", "one"), await NextAsync(reader));
        var (id, stream, line) = await NextAsync(reader);
        Assert.Equal(("stderr", "zwei \u00e4\u20ac \"q\" \u001b[31m"), (stream, line));
        agent.Log.Add(false, Line("three"));
        Assert.Equal((agent.Log.IdOf(3), "stdout", "three"), await NextAsync(reader));

        using var request = new HttpRequestMessage(HttpMethod.Get, "/v1/logs/stream") { Version = HttpVersion.Version20, VersionPolicy = HttpVersionPolicy.RequestVersionExact };
        request.Headers.TryAddWithoutValidation("Last-Event-ID", id);
        for (var i = 0; i < OutputLog.MaxLines; i++)
        {
            agent.Log.Add(false, Line($"{i}"));
        }

        using var resumed = await client.SendAsync(request, HttpCompletionOption.ResponseHeadersRead, Token);
        using var again = new StreamReader(await resumed.Content.ReadAsStreamAsync(Token));
        Assert.Equal("event: lost", await again.ReadLineAsync(Token));
        Assert.Equal("""data: {"lost":1}""", await again.ReadLineAsync(Token));
        Assert.Equal((agent.Log.IdOf(4), "stdout", "0"), await NextAsync(again));

        agent.Log.Complete();
        var rest = await again.ReadToEndAsync(Token);
        Assert.Contains(agent.Log.IdOf(OutputLog.MaxLines + 3), rest, StringComparison.Ordinal);
    }

    [Fact]
    public async Task The_list_is_an_array_or_lines_and_takes_tail_and_since()
    {
        await using var agent = await AgentHarness.StartAsync(new Uri("http://127.0.0.1:1"), null, Token);
        var (client, _) = agent.Connect();
        Assert.Equal("[]\n", await client.GetStringAsync("/v1/logs", Token));
        for (var i = 1; i <= 1200; i++)
        {
            agent.Log.Add(i % 2 == 0, Line($"{i}"));
        }

        Assert.Equal(1000, (await ListAsync(client, "/v1/logs")).Count);
        var tail = await ListAsync(client, "/v1/logs?tail=2");
        Assert.Equal(["1199", "1200"], tail.Select(line => line.Line));
        Assert.Equal(["stdout", "stderr"], tail.Select(line => line.Stream));
        Assert.Equal(["1200"], (await ListAsync(client, $"/v1/logs?since={tail[0].Id}")).Select(line => line.Line));
        Assert.Empty(await ListAsync(client, "/v1/logs?since=2999-01-01T00:00:00Z"));
        Assert.Equal(1000, (await ListAsync(client, "/v1/logs?since=2020-01-01T00:00:00Z")).Count);
        foreach (var bad in new[] { "tail=-1", "tail=x", "tail=99999999", "since=tomorrow" })
        {
            Assert.Equal(HttpStatusCode.BadRequest, (await client.GetAsync($"/v1/logs?{bad}", Token)).StatusCode);
        }

        Assert.Equal(HttpStatusCode.MethodNotAllowed, (await client.PostAsync("/v1/logs", null, Token)).StatusCode);
        client.DefaultRequestHeaders.Accept.Add(new MediaTypeWithQualityHeaderValue("application/x-ndjson"));
        var text = await client.GetStringAsync("/v1/logs?tail=3", Token);
        Assert.Equal(["1198", "1199", "1200"], text.TrimEnd('\n').Split('\n').Select(json => JsonSerializer.Deserialize(json, ContractsJson.Default.LogLine)!.Line));
    }

    private static byte[] Line(string text) => Encoding.UTF8.GetBytes(text + "\n");

    private static async Task<IReadOnlyList<LogLine>> ListAsync(HttpClient client, string path)
    {
        using var document = JsonDocument.Parse(await client.GetStringAsync(path, Token));
        return [.. document.RootElement.EnumerateArray().Select(element => element.Deserialize(ContractsJson.Default.LogLine)!)];
    }

    private static async Task<(string? Id, string Stream, string Line)> NextAsync(StreamReader reader)
    {
        string? id = null;
        while (await reader.ReadLineAsync(Token) is { } text)
        {
            if (text.StartsWith("id: ", StringComparison.Ordinal))
            {
                id = text[4..];
            }
            else if (text.StartsWith("data: ", StringComparison.Ordinal))
            {
                var line = JsonSerializer.Deserialize(text.AsSpan(6), ContractsJson.Default.LogLine)!;
                return (id, line.Stream, line.Line);
            }
        }

        throw new EndOfStreamException();
    }
}
