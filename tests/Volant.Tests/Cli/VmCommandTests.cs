using System.Text.Json;
using Microsoft.AspNetCore.Http;
using Volant.Cli;
using Volant.Contracts;
using Volant.Contracts.Api;

namespace Volant.Tests.Cli;

public sealed class VmCommandTests
{
    [Fact]
    public async Task List_prints_a_table_that_scripts_can_split()
    {
        await using var daemon = await FakeDaemon.StartAsync(
            ("GET /api/v1/vms?sort=name&order=asc", 200, $"[{FakeAnswers.Vm("db", VmStatus.Crashed, ready: false)},{FakeAnswers.Vm("web-with-a-long-name")}]"));

        var result = await TestCli.For(daemon).RunAsync("vms", "list");

        Assert.Equal(
            """
            NAME                  STATUS   READY  PLUGIN  IP             CPU  MEMORY  AGE
            db                    crashed  no     hello   192.168.127.5  2    512MiB  1h
            web-with-a-long-name  running  yes    hello   192.168.127.5  2    512MiB  1h

            """,
            result.Output);
        Assert.Empty(result.Error);
    }

    [Fact]
    public async Task List_on_a_terminal_has_colour_and_fits_the_width()
    {
        await using var daemon = await FakeDaemon.StartAsync((context, _) => context.JsonAsync(200, $"[{FakeAnswers.Vm(new string('n', 60))}]"));
        var cli = new TestCli { OutputIsTerminal = true, Width = 80, Environment = { ["VOLANT_API_BASE"] = daemon.Address } };

        var result = await cli.RunAsync("vms", "list");

        Assert.Contains("\x1b[32mrunning\x1b[0m", result.Output, StringComparison.Ordinal);
        var plain = result.Output.Replace("\x1b[32m", string.Empty, StringComparison.Ordinal).Replace("\x1b[0m", string.Empty, StringComparison.Ordinal);
        Assert.All(plain.Split('\n'), line => Assert.InRange(line.Length, 0, 80));
        Assert.Contains("nnn…", plain, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("NO_COLOR", "1")]
    [InlineData("TERM", "dumb")]
    public async Task Colour_can_be_turned_off(string variable, string value)
    {
        await using var daemon = await FakeDaemon.StartAsync((context, _) => context.JsonAsync(200, $"[{FakeAnswers.Vm()}]"));
        var cli = new TestCli { OutputIsTerminal = true, Environment = { ["VOLANT_API_BASE"] = daemon.Address, [variable] = value } };

        var result = await cli.RunAsync("vms", "list");

        Assert.DoesNotContain('\x1b', result.Output);
    }

    [Fact]
    public async Task List_sends_its_filter()
    {
        await using var daemon = await FakeDaemon.StartAsync((context, _) => context.JsonAsync(200, "[]"));

        var result = await TestCli.For(daemon).RunAsync("vms", "list", "--status", "running,crashed", "--status", "stopped", "--plugin", "hello", "--quiet");

        Assert.Equal(new CliResult(0, string.Empty, string.Empty), result);
        daemon.AssertSaw("GET /api/v1/vms?sort=name&order=asc&status=running&status=crashed&status=stopped&plugin=hello");
    }

    [Fact]
    public async Task List_follows_the_pages()
    {
        await using var daemon = await FakeDaemon.StartAsync((context, seen) =>
        {
            context.Response.Headers["X-Total-Count"] = "3";
            return context.JsonAsync(200, seen.Target.EndsWith("offset=2", StringComparison.Ordinal) ? $"[{FakeAnswers.Vm("c")}]" : $"[{FakeAnswers.Vm("a")},{FakeAnswers.Vm("b")}]");
        });

        var result = await TestCli.For(daemon).RunAsync("vms", "list", "-q");

        Assert.Equal("a\nb\nc\n", result.Output);
    }

    [Fact]
    public async Task List_ends_when_the_daemon_promises_more_than_it_has()
    {
        await using var daemon = await FakeDaemon.StartAsync((context, seen) =>
        {
            context.Response.Headers["X-Total-Count"] = "1000000";
            return context.JsonAsync(200, seen.Target.Contains("offset", StringComparison.Ordinal) ? "[]" : $"[{FakeAnswers.Vm("a")}]");
        });

        var result = await TestCli.For(daemon).RunAsync("vms", "list", "-q");

        Assert.Equal("a\n", result.Output);
    }

    [Fact]
    public async Task Json_output_is_the_json_of_the_api_with_members_that_we_do_not_know()
    {
        var vm = FakeAnswers.Vm().Replace("\"id\":7", "\"id\":7,\"of_tomorrow\":{\"x\":1.50}", StringComparison.Ordinal);
        await using var daemon = await FakeDaemon.StartAsync(("GET /api/v1/vms?sort=name&order=asc", 200, $"[{vm}]"), ("GET /api/v1/vms/web", 200, vm));

        var list = await TestCli.For(daemon).RunAsync("vms", "list", "--output", "json");
        var one = await TestCli.For(daemon).RunAsync("vms", "get", "web", "--output", "json");

        Assert.Contains("\"x\": 1.50", one.Output, StringComparison.Ordinal);
        Assert.True(JsonElement.DeepEquals(JsonElement.Parse(vm), JsonElement.Parse(one.Output)));
        Assert.True(JsonElement.DeepEquals(JsonElement.Parse($"[{vm}]"), JsonElement.Parse(list.Output)));
    }

    [Fact]
    public async Task Get_shows_why_a_vm_ended()
    {
        var vm = FakeAnswers.MakeVm(status: VmStatus.Crashed, ready: false, error: "The hypervisor was killed.") with
        {
            Exit = new VmExit { Signal = 9, At = FakeAnswers.Created, Reason = "killed" },
            BootMs = 812,
        };
        await using var daemon = await FakeDaemon.StartAsync(("GET /api/v1/vms/web", 200, JsonSerializer.Serialize(vm, ContractsJson.Default.Vm)));

        var result = await TestCli.For(daemon).RunAsync("vms", "get", "web");

        Assert.Contains("Status:          crashed\n", result.Output, StringComparison.Ordinal);
        Assert.Contains("Last exit:       killed (signal 9, 2026-03-01T12:00:00Z (1h ago))\n", result.Output, StringComparison.Ordinal);
        Assert.Contains("Last error:      The hypervisor was killed.\n", result.Output, StringComparison.Ordinal);
        Assert.Contains("Boot to ready:   812 ms\n", result.Output, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Text_of_the_guest_cannot_break_out_of_its_cell()
    {
        await using var daemon = await FakeDaemon.StartAsync((context, _) => context.JsonAsync(200, FakeAnswers.Vm(error: "a\nName: evil \u001b[2J\u009b")));

        var table = await TestCli.For(daemon).RunAsync("vms", "get", "web");
        var json = await TestCli.For(daemon).RunAsync("vms", "get", "web", "-o", "json");

        Assert.Contains("Last error:      a Name: evil [2J\n", table.Output, StringComparison.Ordinal);
        Assert.All(json.Output, c => Assert.True(c == '\n' || !char.IsControl(c)));
    }

    [Fact]
    public async Task Delete_goes_through_all_and_exits_with_the_first_failure()
    {
        await using var daemon = await FakeDaemon.StartAsync((context, seen) => seen.Target switch
        {
            "/api/v1/vms/gone" => context.ProblemAsync(404, ErrorCodes.VmNotFound, "There is no VM 'gone'."),
            "/api/v1/vms/busy" => context.ProblemAsync(409, ErrorCodes.VmStatusConflict, "VM 'busy' is stopping."),
            _ => context.JsonAsync(204, string.Empty),
        });

        var result = await TestCli.For(daemon).RunAsync("vms", "delete", "a", "gone", "busy", "b", "a");

        Assert.Equal(ExitCodes.Failed, result.ExitCode);
        daemon.AssertSaw("DELETE /api/v1/vms/a", "DELETE /api/v1/vms/gone", "DELETE /api/v1/vms/busy", "DELETE /api/v1/vms/b");
        Assert.Contains("Deleted VM 'b'.", result.Error, StringComparison.Ordinal);
        Assert.Contains("Error: There is no VM 'gone'.", result.Error, StringComparison.Ordinal);
        Assert.Contains("Error: VM 'busy' is stopping.", result.Error, StringComparison.Ordinal);
        Assert.Empty(result.Output);
    }

    [Theory]
    [InlineData("""{"name":"web","deleted":true}""", "vms", "delete", "web")]
    [InlineData("""{"name":"web","deleted":true}""", "deployments", "delete", "web")]
    [InlineData("""{"name":"web","deleted":true}""", "plugins", "remove", "web")]
    [InlineData("""{"name":"web","enabled":true}""", "plugins", "enable", "web")]
    [InlineData("""{"name":"web","enabled":false}""", "plugins", "disable", "web")]
    public async Task What_has_no_document_is_told_as_one_or_by_its_name(string json, params string[] args)
    {
        await using var daemon = await FakeDaemon.StartAsync((context, seen) => context.JsonAsync(seen.Method == "DELETE" ? 204 : 200, "{}"));

        var people = await TestCli.For(daemon).RunAsync(args);
        var document = await TestCli.For(daemon).RunAsync([.. args, "--output", "json"]);
        var quiet = await TestCli.For(daemon).RunAsync([.. args, "--quiet"]);

        Assert.Equal(string.Empty, people.Output);
        Assert.EndsWith(" 'web'.\n", people.Error, StringComparison.Ordinal);
        Assert.Equal(json + "\n", document.Output);
        Assert.Equal(("web\n", string.Empty), (quiet.Output, quiet.Error));
    }

    [Fact]
    public async Task Delete_may_ignore_that_a_vm_does_not_exist()
    {
        await using var daemon = await FakeDaemon.StartAsync((context, _) => context.ProblemAsync(404, ErrorCodes.VmNotFound, "There is no VM 'web'."));

        var strict = await TestCli.For(daemon).RunAsync("vms", "delete", "web");
        var lenient = await TestCli.For(daemon).RunAsync("vms", "delete", "web", "--ignore-not-found");

        Assert.Equal(ExitCodes.Failed, strict.ExitCode);
        Assert.Equal(ExitCodes.Ok, lenient.ExitCode);
    }

    [Fact]
    public async Task A_daemon_that_is_away_is_not_asked_for_every_name()
    {
        var result = await new TestCli().RunAsync("vms", "delete", "a", "b", "c", "--api", "unix:///nowhere/api.sock");

        Assert.Equal(ExitCodes.Unreachable, result.ExitCode);
        Assert.Single(result.Error.Split('\n'), line => line.StartsWith("Error:", StringComparison.Ordinal));
    }

    [Theory]
    [InlineData("POST /api/v1/vms/web/start", "start", "web")]
    [InlineData("POST /api/v1/vms/web/start?wait=ready&timeout=60", "start", "web", "--wait", "--timeout", "60")]
    [InlineData("POST /api/v1/vms/web/restart?grace_seconds=0&wait=ready&timeout=120", "restart", "web", "--grace", "0", "--wait")]
    public async Task Start_and_restart_send_what_they_were_told(string line, params string[] args)
    {
        await using var daemon = await FakeDaemon.StartAsync((context, _) => context.JsonAsync(200, FakeAnswers.Vm()));

        var result = await TestCli.For(daemon).RunAsync(["vms", .. args]);

        Assert.Equal(0, result.ExitCode);
        daemon.AssertSaw(line);
        Assert.StartsWith("NAME  STATUS   READY", result.Output, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Stop_with_wait_asks_until_the_vm_has_stopped()
    {
        var asked = 0;
        await using var daemon = await FakeDaemon.StartAsync((context, _) =>
            context.JsonAsync(200, FakeAnswers.Vm(status: ++asked < 3 ? VmStatus.Stopping : VmStatus.Stopped, ready: false)));

        var result = await TestCli.For(daemon).RunAsync("vms", "stop", "web", "--grace", "5", "--wait");

        Assert.Equal(0, result.ExitCode);
        daemon.AssertSaw("POST /api/v1/vms/web/stop?grace_seconds=5", "GET /api/v1/vms/web", "GET /api/v1/vms/web");
        Assert.Contains("stopped", result.Output, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Stop_prints_what_was_done_before_a_failure()
    {
        await using var daemon = await FakeDaemon.StartAsync((context, seen) => seen.Target.Contains("/b/", StringComparison.Ordinal)
            ? context.ProblemAsync(404, ErrorCodes.VmNotFound, "There is no VM 'b'.")
            : context.JsonAsync(200, FakeAnswers.Vm("a", VmStatus.Stopped, ready: false)));

        var result = await TestCli.For(daemon).RunAsync("vms", "stop", "b", "a", "-o", "json");

        Assert.Equal(ExitCodes.Failed, result.ExitCode);
        Assert.Equal("a", JsonElement.Parse(result.Output)[0].GetProperty("name").GetString());
    }

    [Fact]
    public async Task Ctrl_c_while_starting_several_leaves_the_rest_alone()
    {
        using var interrupt = CancellationTokenSource.CreateLinkedTokenSource(TestContext.Current.CancellationToken);
        await using var daemon = await FakeDaemon.StartAsync(async (context, seen) =>
        {
            if (seen.Target.StartsWith("/api/v1/vms/b/", StringComparison.Ordinal))
            {
                await interrupt.CancelAsync();
                await Task.Delay(Timeout.InfiniteTimeSpan, TimeProvider.System, context.RequestAborted);
            }

            await context.JsonAsync(200, FakeAnswers.Vm("a"));
        });

        var result = await TestCli.For(daemon).InterruptibleAsync(interrupt.Token, "vms", "start", "a", "b", "c", "--wait");

        Assert.Equal(ExitCodes.Interrupted, result.ExitCode);
        Assert.Contains("\na     running", result.Output, StringComparison.Ordinal);
        Assert.Contains("volantd goes on with VM 'b'", result.Error, StringComparison.Ordinal);
        Assert.DoesNotContain("'c'", result.Error, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Ctrl_c_ends_following_with_its_own_exit_code()
    {
        using var interrupt = CancellationTokenSource.CreateLinkedTokenSource(TestContext.Current.CancellationToken);
        await using var daemon = await FakeDaemon.StartAsync(async (context, _) =>
        {
            await context.Response.WriteAsync("one\n", context.RequestAborted);
            await context.Response.Body.FlushAsync(context.RequestAborted);
            await interrupt.CancelAsync();
            await Task.Delay(Timeout.InfiniteTimeSpan, TimeProvider.System, context.RequestAborted);
        });

        var result = await TestCli.For(daemon).InterruptibleAsync(interrupt.Token, "vms", "logs", "web", "--follow");

        Assert.Equal(ExitCodes.Interrupted, result.ExitCode);
        Assert.Equal("Interrupted.\n", result.Error);
    }
}
