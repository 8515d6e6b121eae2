using System.Net;
using System.Net.Sockets;
using System.Net.WebSockets;
using System.Text;
using System.Text.Json;
using Volant.Contracts;
using Volant.Contracts.Api;
using Volant.Daemon.Publishing;
using Volant.Tests.Agent;
using Volant.Tests.Guests;

namespace Volant.Tests.Api;

/// <summary>The daemon's routes into a guest, with the real agent's code behind the channel.</summary>
public sealed class GuestSurfaceTests : IAsyncLifetime
{
    private ApiFixture _api = null!;
    private AgentHarness _agent = null!;

    private static CancellationToken Token => TestContext.Current.CancellationToken;

    public async ValueTask InitializeAsync()
    {
        _agent = await AgentHarness.StartAsync(_ => { }, Token);
        _api = await ApiFixture.StartAsync();
        var socket = Path.Combine(_api.Root, "real");
        _agent.ListenOn(socket);
        _agent.Status.SetHealth(null);
        _api.Launcher.GuestOf = spec => new FakePort(spec.Paths.AgentSocket, socket);
        await _api.InstallAsync();
        await _api.CreateAsync("web");
    }

    public async ValueTask DisposeAsync()
    {
        await _api.DisposeAsync();
        await _agent.DisposeAsync();
    }

    [Fact]
    public async Task A_command_runs_in_the_guest()
    {
        using var response = await _api.SendAsync(HttpMethod.Post, "/api/v1/vms/web/exec", """{"command": ["sh", "-c", "cat; exit 4"], "stdin": "hé"}""");
        var result = await ApiFixture.ReadAsync(response, 200, ContractsJson.Default.ExecResult);
        Assert.Equal((4, "hé"), (result.ExitCode, result.Stdout));

        using var failed = await _api.SendAsync(HttpMethod.Post, "/api/v1/vms/web/exec", """{"command": ["no-such-thing"]}""");
        var problem = await ApiFixture.ReadAsync(failed, 422, ContractsJson.Default.Problem);
        Assert.Equal((ErrorCodes.ExecFailed, "/api/v1/vms/web/exec"), (problem.Code, problem.Instance));
        using var late = await _api.SendAsync(HttpMethod.Post, "/api/v1/vms/web/exec", """{"command": ["sleep", "100"], "timeout_ms": 100}""");
        Assert.Equal(ErrorCodes.Timeout, (await ApiFixture.ReadAsync(late, 504, ContractsJson.Default.Problem)).Code);
        using var wrong = await _api.SendAsync(HttpMethod.Post, "/api/v1/vms/web/exec", """{"command": [], "timeout_ms": 0}""");
        Assert.Equal(["command", "command[0]", "timeout_ms"], (await ApiFixture.ReadAsync(wrong, 400, ContractsJson.Default.Problem)).Errors!.Keys.Order(StringComparer.Ordinal));
        using var unknown = await _api.SendAsync(HttpMethod.Post, "/api/v1/vms/none/exec", """{"command": ["true"]}""");
        Assert.Equal(404, (int)unknown.StatusCode);
    }

    [Fact]
    public async Task One_talks_to_a_command_over_a_websocket()
    {
        using var socket = await _api.OpenAsync("/ws/v1/vms/web/exec");
        await socket.SendAsync("""{"command": ["sh"], "tty": true, "cols": 77, "rows": 11, "env": {"PS1": "> "}}""");
        await InputAsync(socket, "stty size\n");
        await UntilAsync(socket, "11 77");
        await socket.SendAsync("""{"resize": {"cols": 90, "rows": 20}}""");
        await InputAsync(socket, "stty size\n");
        await UntilAsync(socket, "20 90");
        // Said by the command itself: a signal before it is the terminal's foreground would reach the shell alone.
        await InputAsync(socket, "sh -c 'echo \"go\"ing; exec sleep 1000'\n");
        await UntilAsync(socket, "going");
        await socket.SendAsync("""{"signal": 2}""");
        await InputAsync(socket, "exit 9\n");
        Assert.Equal(9, (await EndAsync(socket)).End.ExitCode);
        Assert.Equal(WebSocketCloseStatus.NormalClosure, socket.CloseStatus);
    }

    [Fact]
    public async Task Without_a_terminal_the_streams_are_apart()
    {
        using var socket = await _api.OpenAsync("/ws/v1/vms/web/exec");
        await socket.SendAsync("""{"command": ["sh", "-c", "cat; echo err >&2; kill -KILL $$"]}""");
        await InputAsync(socket, "some text");
        await InputAsync(socket, "");
        var (end, output, error) = await EndAsync(socket);
        Assert.Equal(((int?)137, (int?)9, "some text", "err\n"), (end.ExitCode, end.Signal, output, error));
    }

    [Theory]
    [InlineData("""{"command": []}""", ErrorCodes.InvalidRequest)]
    [InlineData("""{"command": ["true"], "stdin": "x"}""", ErrorCodes.InvalidRequest)]
    [InlineData("garbage", ErrorCodes.InvalidRequest)]
    [InlineData("""{"command": ["/no/such"]}""", ErrorCodes.ExecFailed)]
    [InlineData("""{"command": ["sleep", "100"], "timeout_ms": 50}""", ErrorCodes.Timeout)]
    public async Task The_last_frame_says_why_there_is_no_exit_code(string request, string code)
    {
        using var socket = await _api.OpenAsync("/ws/v1/vms/web/exec");
        await socket.SendAsync(request);
        var (end, _, _) = await EndAsync(socket);
        Assert.Equal((code, null), (end.Code, end.ExitCode));
        Assert.NotNull(end.Error);
    }

    [Fact]
    public async Task A_frame_that_breaks_a_rule_ends_the_command()
    {
        using var socket = await _api.OpenAsync("/ws/v1/vms/web/exec");
        await socket.SendAsync("""{"command": ["sleep", "1000"]}""");
        while (_agent.Commands.Running == 0)
        {
            await Task.Delay(TimeSpan.FromMilliseconds(5), TimeProvider.System, Token);
        }

        await socket.SendAsync("""{"signal": 999}""");
        Assert.Equal(ErrorCodes.InvalidRequest, (await EndAsync(socket)).End.Code);
        await NothingRunsAsync();
    }

    [Fact]
    public async Task The_command_of_a_client_that_goes_away_is_ended()
    {
        using (var socket = await _api.OpenAsync("/ws/v1/vms/web/exec"))
        {
            await socket.SendAsync("""{"command": ["sh", "-c", "trap '' HUP; echo up; while :; do sleep 1000; done"]}""");
            await UntilAsync(socket, "up");
            Assert.Equal(1, _agent.Commands.Running);
            socket.Abort();
        }

        await NothingRunsAsync();
    }

    [Fact]
    public async Task Files_go_in_and_out()
    {
        Assert.SkipUnless(Environment.IsPrivilegedProcess, "only root may set owners, as an agent does");
        var content = new byte[2 << 20];
        new Random(2).NextBytes(content);
        using (var put = await _api.Client.PutAsync("/api/v1/vms/web/files?path=/etc/x&parents=1&mode=600", new ByteArrayContent(content), Token))
        {
            Assert.Equal(HttpStatusCode.Created, put.StatusCode);
        }

        using (var get = await _api.Client.GetAsync("/api/v1/vms/web/files?path=/etc/x", Token))
        {
            Assert.Equal(content, await get.Content.ReadAsByteArrayAsync(Token));
            Assert.Equal(("application/octet-stream", "attachment"), (get.Content.Headers.ContentType!.MediaType, get.Content.Headers.ContentDisposition!.DispositionType));
        }

        using (var stat = await _api.SendAsync(HttpMethod.Get, "/api/v1/vms/web/files/stat?path=/etc"))
        {
            Assert.Equal("x 0600", string.Join(',', (await ApiFixture.ReadAsync(stat, 200, ContractsJson.Default.FileStat)).Entries!.Select(entry => $"{entry.Name} {entry.Mode}")));
        }

        using (var tar = await _api.Client.GetAsync("/api/v1/vms/web/files?path=/etc", Token))
        {
            Assert.Equal(FileTypes.Tar, tar.Content.Headers.ContentType!.MediaType);
            Assert.True((await tar.Content.ReadAsByteArrayAsync(Token)).Length > content.Length);
        }

        foreach (var (method, query, status, code) in new[] { ("GET", "path=/none", 404, ErrorCodes.FileNotFound), ("DELETE", "path=/etc", 409, ErrorCodes.FileConflict), ("GET", "", 400, ErrorCodes.InvalidRequest) })
        {
            using var refused = await _api.SendAsync(HttpMethod.Parse(method), $"/api/v1/vms/web/files?{query}");
            Assert.Equal(code, (await ApiFixture.ReadAsync(refused, status, ContractsJson.Default.Problem)).Code);
        }

        using var deleted = await _api.SendAsync(HttpMethod.Delete, "/api/v1/vms/web/files?path=/etc&recursive=1");
        Assert.Equal(HttpStatusCode.NoContent, deleted.StatusCode);
        Assert.Empty(Directory.GetFileSystemEntries(_agent.Root));
    }

    [Fact]
    public async Task A_tunnel_reaches_a_port_of_the_guest_and_keeps_both_ends()
    {
        using var listener = new TcpListener(IPAddress.Loopback, 0);
        listener.Start();
        var port = ((IPEndPoint)listener.LocalEndpoint).Port;
        var server = Task.Run(async () =>
        {
            using var accepted = await listener.AcceptTcpClientAsync(Token);
            var stream = accepted.GetStream();
            using var everything = new MemoryStream();
            await stream.CopyToAsync(everything, Token);
            await stream.WriteAsync(everything.ToArray(), Token);
        }, Token);
        using var socket = await _api.OpenAsync($"/ws/v1/vms/web/tunnel?port={port}");

        await socket.SendAsync("ping", WebSocketMessageType.Binary);
        await socket.SendAsync("", WebSocketMessageType.Binary);
        Assert.Equal("ping", (await socket.NextAsync())?.Text);
        Assert.Equal("", (await socket.NextAsync())?.Text);
        Assert.Null(await socket.NextAsync());
        await server;
        TcpForwarder.Close(listener.Server);
        Assert.Equal(502, await _api.RefusalAsync($"/ws/v1/vms/web/tunnel?port={port}"));
        Assert.Equal(400, await _api.RefusalAsync("/ws/v1/vms/web/tunnel?port=70000"));
        Assert.Equal(404, await _api.RefusalAsync("/ws/v1/vms/none/tunnel?port=1"));
    }

    [Fact]
    public async Task An_agent_that_is_too_old_or_hostile_is_a_bad_gateway()
    {
        await using var api = await ApiFixture.StartAsync();
        await api.InstallAsync();
        await api.CreateAsync("old");
        foreach (var path in new[] { "/api/v1/vms/old/files?path=/x", "/api/v1/vms/old/files/stat?path=/x" })
        {
            using var answer = await api.SendAsync(HttpMethod.Get, path);
            Assert.Equal(ErrorCodes.AgentUnreachable, (await ApiFixture.ReadAsync(answer, 502, ContractsJson.Default.Problem)).Code);
        }

        Assert.Equal(502, await api.RefusalAsync("/ws/v1/vms/old/tunnel?port=1"));
        using var socket = await api.OpenAsync("/ws/v1/vms/old/exec");
        await socket.SendAsync("""{"command": ["true"]}""");
        Assert.Equal(ErrorCodes.AgentUnreachable, (await EndAsync(socket)).End.Code);
    }

    private async Task NothingRunsAsync()
    {
        while (_agent.Commands.Running > 0)
        {
            await Task.Delay(TimeSpan.FromMilliseconds(5), TimeProvider.System, Token);
        }
    }

    private static Task InputAsync(ClientWebSocket socket, string text) => socket.SendAsync("\0" + text, WebSocketMessageType.Binary);

    private static async Task UntilAsync(ClientWebSocket socket, string text)
    {
        var seen = string.Empty;
        while (!seen.Contains(text, StringComparison.Ordinal))
        {
            seen += (await socket.NextAsync() ?? throw new EndOfStreamException(seen)).Text[1..];
        }
    }

    private static async Task<(ExecEnd End, string Output, string Error)> EndAsync(ClientWebSocket socket)
    {
        var (output, error) = (new StringBuilder(), new StringBuilder());
        while (await socket.NextAsync() is var (type, text))
        {
            if (type == WebSocketMessageType.Text)
            {
                Assert.Null(await socket.NextAsync());
                return (JsonSerializer.Deserialize(text, ContractsJson.Default.ExecEnd)!, output.ToString(), error.ToString());
            }

            (text[0] == ExecChannels.Stdout ? output : error).Append(text.AsSpan(1));
        }

        throw new EndOfStreamException(output.ToString());
    }
}
