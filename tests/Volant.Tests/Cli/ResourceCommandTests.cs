using System.Net;
using System.Net.Sockets;
using System.Net.WebSockets;
using System.Text.Json;
using Volant.Cli;

namespace Volant.Tests.Cli;

/// <summary>Configurations, deployments, the workload's operations, tunnels, doctor and completion.</summary>
public sealed class ResourceCommandTests
{
    private const string Config = """{"version":3,"updated_at":"2026-03-01T12:00:00Z","config":{"plugin":"hello","resources":{"cpu_cores":2}}}""";
    private const string Deployment = """{"name":"web","desired_replicas":3,"ready_replicas":1,"updated_replicas":2,"status":"progressing","revision":1,"config":{"plugin":"hello"},"strategy":{},"created_at":"2026-03-01T12:00:00Z","updated_at":"2026-03-01T12:00:00Z"}""";
    private const string OpenApi = """
        openapi: 3.1.0
        servers:
          - url: http://127.0.0.1:8080/base
        paths:
          /items/{id}:
            get:
              operationId: getItem
              summary: "One item"
            post:
              requestBody: {}
        """;

    [Fact]
    public async Task Config_get_prints_yaml_for_people_and_the_bare_document_for_set()
    {
        await using var daemon = await FakeDaemon.StartAsync(("GET /api/v1/vms/web/config", 200, Config));

        var people = await TestCli.For(daemon).RunAsync("vms", "config", "get", "web");
        var raw = await TestCli.For(daemon).RunAsync("vms", "config", "get", "web", "--raw");

        Assert.Equal("version: 3\nupdated_at: \"2026-03-01T12:00:00Z\"\nconfig:\n  plugin: hello\n  resources:\n    cpu_cores: 2\n", people.Output);
        Assert.Equal("hello", JsonElement.Parse(raw.Output).GetProperty("plugin").GetString());
    }

    [Fact]
    public async Task Config_set_sends_the_patch_as_it_is_and_its_condition()
    {
        await using var daemon = await FakeDaemon.StartAsync(("PATCH /api/v1/vms/web/config", 200, Config));

        var result = await new TestCli { Environment = { ["VOLANT_API_BASE"] = daemon.Address }, Input = new MemoryStream("""{"network":null}"""u8.ToArray()) }
            .RunAsync("vms", "config", "set", "web", "--file", "-", "--if-version", "2");

        Assert.Equal(ExitCodes.Ok, result.ExitCode);
        Assert.Equal("""{"network":null}""", daemon.Seen[0].Text);
        Assert.Equal("\"2\"", daemon.Seen[0].Headers.IfMatch);
    }

    [Fact]
    public async Task Scale_changes_size_or_replicas()
    {
        await using var daemon = await FakeDaemon.StartAsync(
            ("PATCH /api/v1/vms/web/config", 200, Config), ("POST /api/v1/vms/web/restart", 200, FakeAnswers.Vm()), ("PATCH /api/v1/deployments/web", 200, Deployment));

        Assert.Equal(ExitCodes.Ok, (await TestCli.For(daemon).RunAsync("vms", "scale", "web", "--cpu", "4", "--restart")).ExitCode);
        Assert.Equal(ExitCodes.Ok, (await TestCli.For(daemon).RunAsync("vms", "scale", "web", "--replicas", "3")).ExitCode);
        Assert.Equal(ExitCodes.Usage, (await TestCli.For(daemon).RunAsync("vms", "scale", "web", "--replicas", "3", "--cpu", "1")).ExitCode);
        Assert.Equal(ExitCodes.Usage, (await TestCli.For(daemon).RunAsync("vms", "scale", "web")).ExitCode);
        Assert.Equal(["""{"resources":{"cpu_cores":4}}""", "", """{"replicas":3}"""], daemon.Seen.Select(seen => seen.Text));
    }

    [Fact]
    public async Task Deployments_are_listed_scaled_and_deleted()
    {
        await using var daemon = await FakeDaemon.StartAsync(
            ("GET /api/v1/deployments?limit=10000", 200, $"[{Deployment}]"), ("PATCH /api/v1/deployments/web", 200, Deployment), ("DELETE /api/v1/deployments/web", 204, ""));

        var list = await TestCli.For(daemon).RunAsync("deployments", "list");
        var quiet = await TestCli.For(daemon).RunAsync("deployments", "list", "--quiet");
        await TestCli.For(daemon).RunAsync("deployments", "scale", "web", "5");
        var deleted = await TestCli.For(daemon).RunAsync("deployments", "delete", "web");

        Assert.Contains("web   progressing  1/3    2        hello", list.Output, StringComparison.Ordinal);
        Assert.Equal("web\n", quiet.Output);
        Assert.Equal("""{"replicas":5}""", daemon.Seen[2].Text);
        Assert.Equal("Deleted deployment 'web'.\n", deleted.Error);
        Assert.Equal(ExitCodes.Usage, (await new TestCli().RunAsync("deployments", "scale", "web", "-3")).ExitCode);
    }

    [Fact]
    public async Task Operations_come_from_yaml_too_and_are_called_below_the_servers_path()
    {
        await using var daemon = await FakeDaemon.StartAsync((context, seen) => seen.Target switch
        {
            "/api/v1/vms/web/openapi" => context.JsonAsync(200, OpenApi, "application/yaml"),
            "/api/v1/vms/web/agent/base/items/a%2Fb?deep=1" => context.JsonAsync(200, """{"id":"a/b"}"""),
            _ => context.JsonAsync(500, "oops \u001b[31m", "text/plain"),
        });

        var list = await TestCli.For(daemon).RunAsync("vms", "operations", "web");
        var called = await TestCli.For(daemon).RunAsync("vms", "call", "web", "getItem", "--query", "id=a/b", "--query", "deep=1");
        var failed = await TestCli.For(daemon).RunAsync("vms", "call", "web", "POST /base/items/{id}", "--query", "id=7", "--body", "[1]");
        var missing = await TestCli.For(daemon).RunAsync("vms", "call", "web", "getItem");
        var unknown = await TestCli.For(daemon).RunAsync("vms", "call", "web", "nothing");

        Assert.Contains("getItem                GET     /base/items/{id}  no    One item", list.Output, StringComparison.Ordinal);
        Assert.Equal("{\n  \"id\": \"a/b\"\n}\n", called.Output);
        Assert.Equal((ExitCodes.Failed, "Error: POST /base/items/{id} answered 500.\n"), (failed.ExitCode, failed.Error));
        Assert.Equal(ExitCodes.Usage, missing.ExitCode);
        Assert.Contains("--query id=VALUE", missing.Error, StringComparison.Ordinal);
        Assert.Contains("volar vms operations web", unknown.Error, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("application/json", "{ \"a\": \"\u001b[2J\u202e\u009b1m\" }", true)]
    [InlineData("application/json", "no json \u001b[2J\u202e\u009b1m", true)]
    [InlineData("text/plain", "\u001b]0;owned\u0007 \u001b[2J\u202e\u009b1m", true)]
    [InlineData("application/json", "{\"a\":\"\u202e\u009b\"}", false)]
    public async Task An_answer_of_a_workload_cannot_drive_the_terminal(string type, string body, bool onTerminal)
    {
        await using var daemon = await FakeDaemon.StartAsync((context, seen) => seen.Target == "/api/v1/vms/web/openapi"
            ? context.JsonAsync(200, OpenApi, "application/yaml")
            : context.JsonAsync(200, body, type));

        var result = await new TestCli { OutputIsTerminal = onTerminal, Environment = { ["VOLANT_API_BASE"] = daemon.Address } }.RunAsync("vms", "call", "web", "getItem", "--query", "id=7");

        Assert.Equal(ExitCodes.Ok, result.ExitCode);
        Assert.DoesNotContain(result.Output, c => c != '\n' && Volant.Cli.Output.TerminalText.IsHostile(c));
    }

    [Fact]
    public async Task A_forwarded_port_carries_both_directions_and_their_ends()
    {
        await using var daemon = await FakeDaemon.StartAsync(async (context, seen) =>
        {
            if (!context.WebSockets.IsWebSocketRequest)
            {
                await context.JsonAsync(200, FakeAnswers.Vm());
                return;
            }

            using var socket = await context.WebSockets.AcceptWebSocketAsync();
            var asked = await GuestSessionTests.ReceiveAsync(socket);
            Assert.Empty(await GuestSessionTests.ReceiveAsync(socket));
            await socket.SendAsync(asked, WebSocketMessageType.Binary, endOfMessage: true, context.RequestAborted);
            await socket.SendAsync(Array.Empty<byte>(), WebSocketMessageType.Binary, endOfMessage: true, context.RequestAborted);
            await socket.CloseOutputAsync(WebSocketCloseStatus.NormalClosure, string.Empty, context.RequestAborted);
        });
        using var stop = CancellationTokenSource.CreateLinkedTokenSource(TestContext.Current.CancellationToken);
        using var output = new LineStream();
        var running = new TestCli { Environment = { ["VOLANT_API_BASE"] = daemon.Address }, Output = output }.InterruptibleAsync(stop.Token, "vms", "port-forward", "web", ":80", "--output", "json");
        var told = JsonElement.Parse(await output.Line.Task.WaitAsync(TestContext.Current.CancellationToken));
        using var client = new TcpClient();
        await client.ConnectAsync(IPAddress.Loopback, told.GetProperty("port").GetInt32(), TestContext.Current.CancellationToken);
        await using var stream = client.GetStream();
        await stream.WriteAsync("ping"u8.ToArray(), TestContext.Current.CancellationToken);
        client.Client.Shutdown(SocketShutdown.Send);
        using var reader = new StreamReader(stream);

        Assert.Equal("ping", await reader.ReadToEndAsync(TestContext.Current.CancellationToken));

        await stop.CancelAsync();
        Assert.Equal(ExitCodes.Interrupted, (await running).ExitCode);
        Assert.Contains("GET /ws/v1/vms/web/tunnel?port=80", daemon.Lines, StringComparer.Ordinal);
    }

    [Theory]
    [InlineData("0:80")]
    [InlineData("80:0")]
    [InlineData("a:b")]
    [InlineData("1:2:3")]
    [InlineData("65536")]
    public async Task A_pair_of_ports_that_is_none_is_refused(string ports) =>
        Assert.Equal(ExitCodes.Usage, (await new TestCli().RunAsync("vms", "port-forward", "web", ports)).ExitCode);

    [Fact]
    public async Task Doctor_names_the_fault_and_the_remedy()
    {
        const string Info = """{"status":"ok","version":"9.9.9","api_listen_addr":"x","api_advertise_addr":"x","host_ip":"x","hypervisors":[],"kvm":false}""";
        await using var daemon = await FakeDaemon.StartAsync(("GET /api/v1/system/info", 200, Info), ("GET /readyz", 200, """{"status":"ok"}"""));

        var sick = await TestCli.For(daemon).RunAsync("doctor");
        var away = await new TestCli { Environment = { ["VOLANT_API_BASE"] = "unix:///nonexistent/api.sock" } }.RunAsync("doctor", "--output", "json");

        Assert.Equal(ExitCodes.Failed, sick.ExitCode);
        Assert.Contains("volantd is 9.9.9", sick.Output, StringComparison.Ordinal);
        Assert.Contains("launcher: install qemu-system-x86", sick.Output, StringComparison.Ordinal);
        Assert.Equal(ExitCodes.Failed, away.ExitCode);
        Assert.Equal("failed", JsonElement.Parse(away.Output)[0].GetProperty("result").GetString());
    }

    [Theory]
    [InlineData("volar v", "version\nvms\nvolumes\n")]
    [InlineData("volar vms st", "start\nstop\n")]
    [InlineData("volar vms config ", "get\nhistory\nset\n")]
    [InlineData("volar vms get w", "web\nweb-2\n")]
    [InlineData("volar vms delete web d", "db\n")]
    [InlineData("volar vms create x --plugin ", "hello\n")]
    [InlineData("volar vms list --output ", "json\ntable\nyaml\n")]
    [InlineData("volar vms create --mem", "--memory\n")]
    [InlineData("volar completion z", "zsh\n")]
    [InlineData("volar plugins show ", "hello\n")]
    [InlineData("volar", "")]
    public async Task The_shell_is_told_what_may_come_next(string line, string words)
    {
        await using var daemon = await FakeDaemon.StartAsync(
            ("GET /api/v1/vms?sort=name&order=asc", 200, $"[{FakeAnswers.Vm("db")},{FakeAnswers.Vm("web")},{FakeAnswers.Vm("web-2")}]"), ("GET /api/v1/plugins", 200, """{"plugins":["hello"]}"""));

        var result = await TestCli.For(daemon, new JumpingClock(TimeSpan.Zero)).RunAsync($"[suggest:{line.Length}]", line);

        Assert.Equal((ExitCodes.Ok, words, string.Empty), (result.ExitCode, result.Output, result.Error));
    }

    [Fact]
    public async Task A_watched_list_appends_changes_where_there_is_no_terminal()
    {
        using var stop = CancellationTokenSource.CreateLinkedTokenSource(TestContext.Current.CancellationToken);
        var asked = 0;
        await using var daemon = await FakeDaemon.StartAsync(async (context, _) =>
        {
            asked++;
            if (asked == 4)
            {
                await stop.CancelAsync();
            }

            context.Response.Headers["X-Total-Count"] = "0";
            await context.JsonAsync(200, asked switch { 1 => $"[{FakeAnswers.Vm("a")}]", 2 => $"[{FakeAnswers.Vm("a")},{FakeAnswers.Vm("b")}]", _ => $"[{FakeAnswers.Vm("b")}]" });
        });

        var result = await TestCli.For(daemon).InterruptibleAsync(stop.Token, "vms", "list", "--watch");

        Assert.Equal(ExitCodes.Interrupted, result.ExitCode);
        var lines = result.Output.TrimEnd('\n').Split('\n');
        Assert.Equal(["NAME", "a", "b", "a"], lines.Select(line => line.Split(' ')[0]));
        Assert.Equal("a  deleted", lines[^1]);
    }

    /// <summary>Completes with the first line that is written.</summary>
    private sealed class LineStream : MemoryStream
    {
        public TaskCompletionSource<string> Line { get; } = new(TaskCreationOptions.RunContinuationsAsynchronously);

        public override void Write(byte[] buffer, int offset, int count)
        {
            base.Write(buffer, offset, count);
            Line.TrySetResult(System.Text.Encoding.UTF8.GetString(buffer, offset, count));
        }
    }
}
