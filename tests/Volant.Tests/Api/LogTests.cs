using System.Collections.Concurrent;
using System.Net.WebSockets;
using System.Text.Json;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.DependencyInjection;
using Volant.Agent.Http;
using Volant.Agent.Workloads;
using Volant.Contracts;
using Volant.Daemon.Logs;
using Volant.Daemon.Orchestration;

namespace Volant.Tests.Api;

public sealed class LogTests : IAsyncLifetime
{
    private readonly ConcurrentQueue<string> _resumedFrom = new();
    private OutputLog _log = new(TimeProvider.System);
    private ApiFixture _api = null!;

    private static CancellationToken Token => TestContext.Current.CancellationToken;

    public async ValueTask InitializeAsync()
    {
        _api = await ApiFixture.StartAsync();
        _api.Agent.OnLogs = context =>
        {
            _resumedFrom.Enqueue(context.Request.Headers["Last-Event-ID"].ToString());
            return new LogRoutes(_log, TimeProvider.System).StreamAsync(context);
        };
        await _api.InstallAsync();
    }

    public ValueTask DisposeAsync() => _api.DisposeAsync();

    [Fact]
    public async Task Lines_are_kept_once_across_restarts_of_daemon_and_VM()
    {
        await _api.CreateAsync("web");
        await WriteAsync("one", "two");
        await LinesAsync(2);
        await _api.RestartAsync();
        await WriteAsync("three");
        Assert.Equal(["one", "two", "three"], await LinesAsync(3));
        Assert.Equal([string.Empty, _log.IdOf(2)], _resumedFrom.Take(2));

        using var stopped = await _api.SendAsync(HttpMethod.Post, "/api/v1/vms/web/stop?grace_seconds=0");
        Assert.Equal(200, (int)stopped.StatusCode);
        Assert.Equal(["one", "two", "three"], await LinesAsync(3));
        _log = new OutputLog(TimeProvider.System);
        using var started = await _api.SendAsync(HttpMethod.Post, "/api/v1/vms/web/start");
        Assert.Equal(200, (int)started.StatusCode);
        await WriteAsync("four");
        Assert.Equal(["one", "two", "three", "four"], await LinesAsync(4));
    }

    [Fact]
    public async Task A_reader_filters_and_follows_across_a_stop_and_a_start()
    {
        await _api.CreateAsync("web");
        await WriteAsync("out 1");
        _log.Add(true, "err 1\n"u8.ToArray());
        await LinesAsync(2);
        Assert.Equal("out 1\n", await TextAsync("?stream=stdout"));
        Assert.Equal("err 1\n", await TextAsync("?stream=stderr"));
        Assert.Equal("err 1\n", await TextAsync("?tail=1"));
        Assert.Equal("out 1\nerr 1\n", await TextAsync("?since=1h"));
        Assert.Equal(string.Empty, await TextAsync("?since=2999-01-01T00:00:00Z"));

        using var response = await _api.SendAsync(HttpMethod.Get, "/api/v1/vms/web/logs?follow=1&tail=1");
        using var reader = new StreamReader(await response.Content.ReadAsStreamAsync(Token));
        Assert.Equal("err 1", await reader.ReadLineAsync(Token));
        await WriteAsync("out 2 \u001b]0;evil\u0007");
        Assert.Equal("out 2 ]0;evil", await reader.ReadLineAsync(Token));
        using var stopped = await _api.SendAsync(HttpMethod.Post, "/api/v1/vms/web/stop?grace_seconds=0");
        _log = new OutputLog(TimeProvider.System);
        using var started = await _api.SendAsync(HttpMethod.Post, "/api/v1/vms/web/start");
        await WriteAsync("out 3");
        Assert.Equal("out 3", await reader.ReadLineAsync(Token));
        using var deleted = await _api.SendAsync(HttpMethod.Delete, "/api/v1/vms/web");
        Assert.Null(await reader.ReadLineAsync(Token));
    }

    [Fact]
    public async Task An_event_stream_is_resumed_by_the_id_of_the_last_line()
    {
        await _api.CreateAsync("web");
        await WriteAsync("one", "two", "three");
        await LinesAsync(3);
        using var response = await _api.SendAsync(HttpMethod.Get, "/api/v1/vms/web/logs", null, ("Accept", "text/event-stream"), ("Last-Event-ID", _log.IdOf(2)));
        var text = await response.Content.ReadAsStringAsync(Token);
        Assert.Equal("text/event-stream", response.Content.Headers.ContentType?.MediaType);
        Assert.StartsWith($"id: {_log.IdOf(3)}\ndata: {{\"stream\":\"stdout\",\"line\":\"three\",\"timestamp\":\"20", text, StringComparison.Ordinal);
        Assert.Single(text.Split("data: ").Skip(1));
    }

    [Fact]
    public async Task A_WebSocket_gets_what_is_there_and_what_comes()
    {
        await _api.CreateAsync("web");
        await WriteAsync("one");
        await LinesAsync(1);
        using var socket = await _api.OpenAsync("/ws/v1/vms/web/logs");
        await WriteAsync("two");
        foreach (var expected in new[] { "one", "two" })
        {
            var (type, text) = await socket.NextAsync() ?? throw new EndOfStreamException();
            var line = JsonSerializer.Deserialize(text, ContractsJson.Default.LogLine)!;
            Assert.Equal((WebSocketMessageType.Text, "web", "stdout", expected), (type, line.Name, line.Stream, line.Line));
            Assert.Null(line.Id);
        }

        await socket.CloseAsync(WebSocketCloseStatus.NormalClosure, null, Token);
        Assert.Equal(WebSocketCloseStatus.NormalClosure, socket.CloseStatus);
    }

    [Fact]
    public async Task A_client_that_talks_too_much_on_the_log_is_cut_off()
    {
        await _api.CreateAsync("web");
        using var socket = await _api.OpenAsync("/ws/v1/vms/web/logs");
        await socket.SendAsync(new string('x', 5000));
        Assert.Null(await socket.NextAsync());
        Assert.Equal(WebSocketCloseStatus.MessageTooBig, socket.CloseStatus);
    }

    [Fact]
    public async Task Log_lines_are_events_for_those_who_ask_and_carry_no_id()
    {
        await _api.CreateAsync("web");
        using var with = await _api.SendAsync(HttpMethod.Get, "/api/v1/events/vms?logs=1");
        using var without = await _api.SendAsync(HttpMethod.Get, "/api/v1/events/vms");
        using var reader = new StreamReader(await with.Content.ReadAsStreamAsync(Token));
        using var other = new StreamReader(await without.Content.ReadAsStreamAsync(Token));
        await reader.ReadLineAsync(Token);
        await other.ReadLineAsync(Token);
        await WriteAsync("hello");
        await reader.ReadLineAsync(Token);
        Assert.Equal("event: VM_LOG", await reader.ReadLineAsync(Token));
        var data = (await reader.ReadLineAsync(Token))!["data: ".Length..];
        var occurrence = JsonSerializer.Deserialize(data, ContractsJson.Default.VmEvent)!;
        Assert.Equal(("web", "stdout", "hello"), (occurrence.Name, occurrence.Stream, occurrence.Line));

        using var deleted = await _api.SendAsync(HttpMethod.Delete, "/api/v1/vms/web");
        await other.ReadLineAsync(Token);
        Assert.StartsWith("id: ", await other.ReadLineAsync(Token), StringComparison.Ordinal);
        await reader.ReadLineAsync(Token);
        Assert.StartsWith("id: ", await reader.ReadLineAsync(Token), StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_workload_that_never_wrote_is_replaced_by_the_console_which_is_also_there_by_name()
    {
        var vm = await _api.CreateAsync("web");
        var console = _api.Services.GetRequiredService<HostResources>().PathsOf(vm.Uid).ConsoleLog;
        await File.WriteAllTextAsync(console, "kernel says\n", Token);
        Assert.Equal("kernel says\n", await TextAsync(string.Empty));
        using (var follow = await _api.SendAsync(HttpMethod.Get, "/api/v1/vms/web/logs?stream=console&follow=true"))
        {
            using var reader = new StreamReader(await follow.Content.ReadAsStreamAsync(Token));
            Assert.Equal("kernel says", await reader.ReadLineAsync(Token));
            await File.AppendAllTextAsync(console, "mo", Token);
            await File.AppendAllTextAsync(console, "re\u001b[2J\n", Token);
            Assert.Equal("more[2J", await reader.ReadLineAsync(Token));
            await File.WriteAllTextAsync(console, "anew\n", Token);
            Assert.Equal("anew", await reader.ReadLineAsync(Token));
        }

        await WriteAsync("workload says");
        await UntilAsync(async () => await TextAsync(string.Empty) == "workload says\n");
        Assert.Equal("anew\n", await TextAsync("?stream=console"));
    }

    [Theory]
    [InlineData("tail=-1", "tail")]
    [InlineData("tail=10001", "tail")]
    [InlineData("tail=x", "tail")]
    [InlineData("stream=notice", "stream")]
    [InlineData("since=yesterday", "since")]
    [InlineData("since=5", "since")]
    [InlineData("since=99999999999999d", "since")]
    [InlineData("follow=maybe", "follow")]
    public async Task A_bad_query_names_its_field(string query, string field)
    {
        await _api.CreateAsync("web");
        using var response = await _api.SendAsync(HttpMethod.Get, $"/api/v1/vms/web/logs?{query}");
        var problem = await ApiFixture.ReadAsync(response, 400, ContractsJson.Default.Problem);
        Assert.Equal([field], problem.Errors!.Keys);
    }

    [Fact]
    public async Task Neither_a_VM_that_is_not_there_nor_plain_HTTP_gets_a_WebSocket()
    {
        Assert.Equal(404, await _api.RefusalAsync("/ws/v1/vms/none/logs"));
        Assert.Equal(404, await _api.RefusalAsync("/ws/v1/vms/none/console"));
        Assert.Equal(404, await _api.RefusalAsync("/ws/v1/vms/none/devtools"));
        using var response = await _api.SendAsync(HttpMethod.Get, "/ws/v1/vms/none/logs");
        Assert.Equal(400, (int)response.StatusCode);
        using var logs = await _api.SendAsync(HttpMethod.Get, "/api/v1/vms/none/logs");
        Assert.Equal(404, (int)logs.StatusCode);
    }

    [Fact]
    public async Task A_hostile_stream_costs_the_VM_its_log_and_nothing_else()
    {
        var answers = new Queue<string>(
        [
            "data: not json\n\n", new string('x', 2 * EventStreamReader.MaxEvent), "data: {\"stream\":\"stdout\"}\n\n", "event: lost\ndata: {}\n\n",
            $"id: {new string('i', 100)}\ndata: {{\"stream\":\"console\",\"line\":\"a\\nb{new string('y', 20_000)}\",\"timestamp\":\"2026-01-01T00:00:00Z\",\"name\":\"other\",\"id\":\"../x\"}}\n\n",
        ]);
        _api.Agent.OnLogs = async context =>
        {
            context.Response.ContentType = "text/event-stream";
            if (answers.TryDequeue(out var answer))
            {
                await context.Response.WriteAsync(answer);
            }
            else
            {
                await context.Response.StartAsync();
                await Guests.FakeAgent.HangAsync(context);
            }
        };
        await _api.CreateAsync("web");
        await UntilAsync(async () => (await TextAsync(string.Empty)).Contains("ab", StringComparison.Ordinal));
        using var response = await _api.SendAsync(HttpMethod.Get, "/api/v1/vms/web/logs", null, ("Accept", "text/event-stream"));
        var text = await response.Content.ReadAsStringAsync(Token);
        Assert.DoesNotContain("other", text, StringComparison.Ordinal);
        Assert.DoesNotContain("id:", text, StringComparison.Ordinal);
        Assert.Contains("\"stream\":\"stdout\",\"line\":\"a\\nb", text, StringComparison.Ordinal);
        Assert.InRange(text.Length, RunLog.MaxLineChars, RunLog.MaxLineChars + 200);
    }

    private async Task WriteAsync(params string[] lines)
    {
        foreach (var line in lines)
        {
            _log.Add(false, System.Text.Encoding.UTF8.GetBytes(line + "\n"));
        }

        await Task.Yield();
    }

    private async Task<string> TextAsync(string query)
    {
        using var response = await _api.SendAsync(HttpMethod.Get, $"/api/v1/vms/web/logs{query}");
        Assert.Equal(200, (int)response.StatusCode);
        return await response.Content.ReadAsStringAsync(Token);
    }

    private async Task<string[]> LinesAsync(int count)
    {
        string[] lines = [];
        await UntilAsync(async () =>
        {
            lines = (await TextAsync(string.Empty)).Split('\n', StringSplitOptions.RemoveEmptyEntries);
            return lines.Length >= count;
        });
        return lines;
    }

    private static async Task UntilAsync(Func<Task<bool>> isTrue)
    {
        while (!await isTrue())
        {
            await Task.Delay(TimeSpan.FromMilliseconds(20), TimeProvider.System, Token);
        }
    }
}
