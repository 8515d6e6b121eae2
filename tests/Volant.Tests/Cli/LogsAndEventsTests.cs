using Microsoft.AspNetCore.Http;
using Volant.Cli;

namespace Volant.Tests.Cli;

public sealed class LogsAndEventsTests
{
    private const string Line = """data: {"stream":"stdout","line":"TEXT","timestamp":"2026-03-01T12:00:00.5Z"}""";

    [Theory]
    [InlineData("GET /api/v1/vms/web/logs?follow=false", "web")]
    [InlineData("GET /api/v1/vms/web/logs?follow=false&tail=5&since=10m&stream=stderr", "web", "--tail", "5", "--since", "10m", "--stream", "stderr")]
    public async Task Logs_are_printed_without_what_drives_a_terminal(string request, params string[] args)
    {
        await using var daemon = await FakeDaemon.StartAsync((context, _) => EventsAsync(context, Log(@"one\r"), Log(@"\u001b[31mtwo\u001b[0m\tß"), Log(@"\u001b]0;owned\u0007three\u0000")));

        var clean = await TestCli.For(daemon).RunAsync(["vms", "logs", .. args]);
        var raw = await TestCli.For(daemon).RunAsync(["vms", "logs", .. args, "--raw"]);
        var stamped = await TestCli.For(daemon).RunAsync(["vms", "logs", .. args, "--timestamps"]);
        var json = await TestCli.For(daemon).RunAsync(["vms", "logs", .. args, "--output", "json"]);

        Assert.Equal("one\ntwo\tß\nthree\n", clean.Output);
        Assert.Equal("one\r\n\u001b[31mtwo\u001b[0m\tß\n\u001b]0;owned\u0007three\u0000\n", raw.Output);
        Assert.StartsWith("2026-03-01T12:00:00.500Z one\n", stamped.Output, StringComparison.Ordinal);
        Assert.Equal(3, json.Output.TrimEnd('\n').Split('\n').Length);
        Assert.Equal(request, daemon.Lines.First());
        Assert.Equal("text/event-stream", daemon.Seen[0].Headers.Accept);
    }

    [Fact]
    public async Task Followed_logs_are_taken_up_after_the_last_line_until_the_vm_is_gone()
    {
        var streams = 0;
        await using var daemon = await FakeDaemon.StartAsync((context, seen) => seen.Target switch
        {
            "/api/v1/vms/web" when streams >= 2 => context.ProblemAsync(404, "vm_not_found", "No VM 'web'."),
            "/api/v1/vms/web" => context.JsonAsync(200, FakeAnswers.Vm()),
            _ => EventsAsync(context, $"id: 7.{++streams}\n{Log($"line {streams}")}"),
        });

        var result = await TestCli.For(daemon).RunAsync("vms", "logs", "web", "--follow");

        Assert.Equal(ExitCodes.Ok, result.ExitCode);
        Assert.Equal("line 1\nline 2\n", result.Output);
        Assert.Equal("7.1", daemon.Seen.Last(seen => seen.Target.Contains("/logs", StringComparison.Ordinal)).Headers["Last-Event-ID"]);
        Assert.Contains("The connection to volantd is lost", result.Error, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_notice_about_missing_lines_is_no_line()
    {
        await using var daemon = await FakeDaemon.StartAsync((context, _) => EventsAsync(context, Log("some lines are missing").Replace("stdout", "notice", StringComparison.Ordinal)));

        var result = await TestCli.For(daemon).RunAsync("vms", "logs", "web");

        Assert.Equal((string.Empty, "Note: some lines are missing\n"), (result.Output, result.Error));
    }

    [Fact]
    public async Task Ctrl_c_ends_following_with_its_own_exit_code()
    {
        using var interrupt = CancellationTokenSource.CreateLinkedTokenSource(TestContext.Current.CancellationToken);
        await using var daemon = await FakeDaemon.StartAsync(async (context, _) =>
        {
            await EventsAsync(context, Log("one"));
            await interrupt.CancelAsync();
            await Task.Delay(Timeout.InfiniteTimeSpan, TimeProvider.System, context.RequestAborted);
        });

        var result = await TestCli.For(daemon).InterruptibleAsync(interrupt.Token, "vms", "logs", "web", "--follow");

        Assert.Equal(ExitCodes.Interrupted, result.ExitCode);
        Assert.Equal("Interrupted.\n", result.Error);
    }

    [Fact]
    public async Task Events_resume_by_their_number_and_tell_of_a_gap()
    {
        using var interrupt = CancellationTokenSource.CreateLinkedTokenSource(TestContext.Current.CancellationToken);
        var streams = 0;
        await using var daemon = await FakeDaemon.StartAsync(async (context, _) =>
        {
            switch (++streams)
            {
                case 1:
                    await EventsAsync(context, ": connected\n", Event(41, "VM_RUNNING", "web"));
                    break;
                case 2:
                    await EventsAsync(context, "id: 50\nevent: gap\ndata: {\"message\":\"Events were missed.\",\"resume_after\":50}\n", Event(51, "VM_CRASHED", "web"));
                    break;
                default:
                    await interrupt.CancelAsync();
                    break;
            }
        });

        var result = await TestCli.For(daemon).InterruptibleAsync(interrupt.Token, "events", "--follow");

        Assert.Equal("41", daemon.Seen[1].Headers["Last-Event-ID"]);
        Assert.Contains("Note: Events were missed.", result.Error, StringComparison.Ordinal);
        Assert.Equal("51", daemon.Seen[2].Headers["Last-Event-ID"]);
        Assert.Contains("VM_RUNNING", result.Output, StringComparison.Ordinal);
        Assert.Contains("VM_CRASHED", result.Output, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(null)]
    [InlineData("7")]
    public async Task Without_follow_the_events_that_are_held_are_printed_and_that_is_the_end(string? after)
    {
        await using var daemon = await FakeDaemon.StartAsync((context, _) => EventsAsync(context, Event(8, "VM_CREATED", "web"), Event(9, "VM_CREATED", "db")));

        var result = await TestCli.For(daemon).RunAsync(["events", "--vm", "web", "--output", "json", .. after is null ? Array.Empty<string>() : ["--after", after]]);

        Assert.Equal((ExitCodes.Ok, string.Empty), (result.ExitCode, result.Error));
        daemon.AssertSaw("GET /api/v1/events/vms?follow=0");
        Assert.Equal(after ?? string.Empty, daemon.Seen[0].Headers["Last-Event-ID"].ToString());
        Assert.StartsWith("{\"id\":\"8\",\"type\":\"VM_CREATED\"", Assert.Single(result.Output.TrimEnd('\n').Split('\n')), StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_list_of_events_that_breaks_off_is_not_taken_for_a_whole_one()
    {
        await using var daemon = await FakeDaemon.StartAsync(async (context, _) =>
        {
            await EventsAsync(context, Event(8, "VM_CREATED", "web"));
            context.Abort();
        });

        Assert.Equal(ExitCodes.Unreachable, (await TestCli.For(daemon).RunAsync("events")).ExitCode);
    }

    [Fact]
    public async Task Log_lines_among_the_events_need_follow()
    {
        var result = await new TestCli().RunAsync("events", "--logs");

        Assert.Equal(ExitCodes.Usage, result.ExitCode);
        Assert.Contains("volar vms logs", result.Error, StringComparison.Ordinal);
    }

    internal static async Task EventsAsync(HttpContext context, params string[] events)
    {
        context.Response.ContentType = "text/event-stream";
        foreach (var text in events)
        {
            await context.Response.WriteAsync(text + "\n", context.RequestAborted);
        }

        await context.Response.Body.FlushAsync(context.RequestAborted);
    }

    private static string Log(string text) => Line.Replace("TEXT", text, StringComparison.Ordinal) + "\n";

    private static string Event(int id, string type, string name) =>
        $$"""
        id: {{id}}
        event: {{type}}
        data: {"type":"{{type}}","name":"{{name}}","status":"running","timestamp":"2026-03-01T12:00:00Z"}

        """;
}
