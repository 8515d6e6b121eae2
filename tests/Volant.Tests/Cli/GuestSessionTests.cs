using System.Net;
using System.Net.Sockets;
using System.Net.WebSockets;
using System.Text;
using Volant.Cli;
using Volant.Cli.Api;

namespace Volant.Tests.Cli;

/// <summary>Exec, console and tunnels against a real WebSocket server.</summary>
public sealed class GuestSessionTests
{
    [Fact]
    public async Task Exec_passes_input_output_and_the_exit_code()
    {
        var request = string.Empty;
        await using var daemon = await FakeDaemon.StartAsync(async (context, seen) =>
        {
            using var socket = await context.WebSockets.AcceptWebSocketAsync();
            request = Encoding.UTF8.GetString(await ReceiveAsync(socket));
            var input = await ReceiveAsync(socket);
            Assert.Equal(0, input[0]);
            Assert.Equal([0], await ReceiveAsync(socket));
            await SendAsync(socket, [1, .. Encoding.UTF8.GetBytes("out \u001b[31m"), .. input[1..]]);
            await SendAsync(socket, [2, .. "err\n"u8]);
            await EndAsync(socket, """{"exit_code":7}""");
        });

        var result = await new TestCli { Environment = { ["VOLANT_API_BASE"] = daemon.Address, ["LANG"] = "C" }, Input = new MemoryStream("typed"u8.ToArray()) }
            .RunAsync("vms", "exec", "-i", "-e", "A=1", "-e", "LANG", "-w", "/srv", "-u", "www", "web", "cat", "-t", "--", "x");

        Assert.Equal(7, result.ExitCode);
        Assert.Equal("out \u001b[31mtyped", result.Output);
        Assert.Equal("err\n", result.Error);
        Assert.Equal("""{"command":["cat","-t","--","x"],"env":{"A":"1","LANG":"C"},"workdir":"/srv","user":"www"}""", request);
        Assert.Equal("GET /ws/v1/vms/web/exec", daemon.Lines.Single());
    }

    [Fact]
    public async Task Exec_with_a_terminal_tells_its_size_and_restores_it()
    {
        var request = string.Empty;
        await using var daemon = await FakeDaemon.StartAsync(async (context, _) =>
        {
            using var socket = await context.WebSockets.AcceptWebSocketAsync();
            request = Encoding.UTF8.GetString(await ReceiveAsync(socket));
            await SendAsync(socket, [1, .. "\u001b[?1049hvi"u8]);
            await EndAsync(socket, """{"exit_code":0}""");
        });
        var cli = new TestCli { Environment = { ["VOLANT_API_BASE"] = daemon.Address }, InputIsTerminal = true, OutputIsTerminal = true, Width = 132 };

        var result = await cli.RunAsync("vms", "exec", "-it", "web", "vi");

        Assert.Equal(ExitCodes.Ok, result.ExitCode);
        Assert.Equal("""{"command":["vi"],"tty":true,"cols":132,"rows":24}""", request);
        Assert.Equal(["raw", "restored"], cli.Terminal);
        Assert.StartsWith("\u001b[?1049hvi\u001b[?1049l", result.Output, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("""{"error":"There is no program 'x'.","code":"exec_failed"}""", ExitCodes.Failed, "There is no program 'x'.")]
    [InlineData("""{"error":"It took too long.","code":"timeout"}""", ExitCodes.TimedOut, "It took too long.")]
    [InlineData(null, ExitCodes.Unreachable, "The connection ended before the command in VM 'web' did: the daemon stops")]
    public async Task Exec_says_why_there_is_no_exit_code(string? end, int exit, string message)
    {
        await using var daemon = await FakeDaemon.StartAsync(async (context, _) =>
        {
            using var socket = await context.WebSockets.AcceptWebSocketAsync();
            await ReceiveAsync(socket);
            if (end is not null)
            {
                await socket.SendAsync(Encoding.UTF8.GetBytes(end), WebSocketMessageType.Text, endOfMessage: true, context.RequestAborted);
            }

            await socket.CloseOutputAsync(WebSocketCloseStatus.EndpointUnavailable, "the daemon stops", context.RequestAborted);
            while ((await ReceiveAsync(socket)).Length > 0)
            {
                // The end of input. A connection with unread bytes would be reset, and the reason with it.
            }
        });

        var result = await TestCli.For(daemon).RunAsync("vms", "exec", "web", "x");

        Assert.Equal(exit, result.ExitCode);
        Assert.StartsWith($"Error: {message}", result.Error, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Exec_restores_the_terminal_when_the_daemon_dies()
    {
        await using var daemon = await FakeDaemon.StartAsync(async (context, _) =>
        {
            using var socket = await context.WebSockets.AcceptWebSocketAsync();
            await ReceiveAsync(socket);
            context.Abort();
        });
        var cli = new TestCli { Environment = { ["VOLANT_API_BASE"] = daemon.Address }, InputIsTerminal = true };

        var result = await cli.RunAsync("vms", "exec", "-it", "web", "sh");

        Assert.Equal(ExitCodes.Unreachable, result.ExitCode);
        Assert.Equal(["raw", "restored"], cli.Terminal);
    }

    [Fact]
    public async Task A_refused_handshake_is_the_daemons_refusal()
    {
        await using var daemon = await FakeDaemon.StartAsync((context, _) => context.ProblemAsync(409, "vm_not_running", "VM 'web' does not run."));

        var result = await TestCli.For(daemon).RunAsync("vms", "exec", "web", "ls");

        Assert.Equal((ExitCodes.Failed, "Error: VM 'web' does not run.\nHint: start it with 'volar vms start NAME'\n"), (result.ExitCode, result.Error));
    }

    [Fact]
    public async Task The_console_is_left_by_its_key_alone_and_the_terminal_restored()
    {
        var typed = new List<byte>();
        var closed = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        await using var daemon = await FakeDaemon.StartAsync(async (context, _) =>
        {
            using var socket = await context.WebSockets.AcceptWebSocketAsync();
            await SendAsync(socket, "login: "u8.ToArray());
            await socket.SendAsync(Encoding.UTF8.GetBytes("""{"notice":"read_only","message":"Another viewer writes."}"""), WebSocketMessageType.Text, endOfMessage: true, context.RequestAborted);
            while (await ReceiveAsync(socket) is { Length: > 0 } bytes)
            {
                typed.AddRange(bytes);
            }

            closed.SetResult();
        });
        var cli = new TestCli { Environment = { ["VOLANT_API_BASE"] = daemon.Address }, InputIsTerminal = true, Input = new MemoryStream([.. "root\r\u0003"u8, 0x1d, .. "lost"u8]) };

        var result = await cli.RunAsync("vms", "console", "web");

        Assert.Equal(ExitCodes.Ok, result.ExitCode);
        await closed.Task.WaitAsync(TestContext.Current.CancellationToken);
        Assert.Equal("root\r\u0003", Encoding.UTF8.GetString([.. typed]));
        Assert.Equal(["raw", "restored"], cli.Terminal);
        Assert.Contains("Ctrl-] leaves", result.Error, StringComparison.Ordinal);
        Assert.EndsWith("Left the console of VM 'web'; it goes on.\n", result.Error, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Large_and_fragmented_messages_arrive_whole_and_a_ping_is_answered()
    {
        var large = new byte[200_000];
        Random.Shared.NextBytes(large);
        await using var daemon = await FakeDaemon.StartAsync(async (context, _) =>
        {
            using var socket = await context.WebSockets.AcceptWebSocketAsync();
            await ReceiveAsync(socket);
            await socket.SendAsync(new byte[] { 1 }, WebSocketMessageType.Binary, endOfMessage: false, context.RequestAborted);
            await socket.SendAsync(large, WebSocketMessageType.Binary, endOfMessage: true, context.RequestAborted);
            await EndAsync(socket, """{"exit_code":0}""");
        });
        using var output = new MemoryStream();

        var result = await new TestCli { Environment = { ["VOLANT_API_BASE"] = daemon.Address }, Output = output }.RunAsync("vms", "exec", "web", "cat");

        Assert.Equal(ExitCodes.Ok, result.ExitCode);
        Assert.Equal(large, output.ToArray());
    }

    /// <summary>Frames that no honest server sends: masked, reserved bits, sizes without end, an unknown kind, a continuation of nothing.</summary>
    [Theory]
    [InlineData("82 81 01 02 03 04 05")]
    [InlineData("C2 00")]
    [InlineData("82 7F FF FF FF FF FF FF FF FF")]
    [InlineData("82 7F 7F FF FF FF FF FF FF FF")]
    [InlineData("02 01 41 80 7F 7F FF FF FF FF FF FF FF")]
    [InlineData("83 00")]
    [InlineData("80 01 41")]
    [InlineData("89 7E 00 80")]
    [InlineData("82 05 01")]
    [InlineData("")]
    public async Task A_server_that_breaks_the_protocol_ends_the_session_and_restores_the_terminal(string frames)
    {
        using var listener = new TcpListener(IPAddress.Loopback, 0);
        listener.Start();
        var serving = ServeRawAsync(listener, Convert.FromHexString(frames.Replace(" ", string.Empty, StringComparison.Ordinal)));
        var cli = new TestCli { Environment = { ["VOLANT_API_BASE"] = $"http://{listener.LocalEndpoint}" }, InputIsTerminal = true };

        var result = await cli.RunAsync("vms", "exec", "-it", "web", "sh");

        Assert.Equal(ExitCodes.Unreachable, result.ExitCode);
        Assert.Contains("broke the connection", result.Error, StringComparison.Ordinal);
        Assert.Equal(["raw", "restored"], cli.Terminal);
        await serving;
    }

    [Fact]
    public async Task A_handshake_with_a_wrong_answer_is_refused()
    {
        using var listener = new TcpListener(IPAddress.Loopback, 0);
        listener.Start();
        var serving = ServeRawAsync(listener, [], accept: "AAAAAAAAAAAAAAAAAAAAAAAAAAA=");

        var result = await new TestCli { Environment = { ["VOLANT_API_BASE"] = $"http://{listener.LocalEndpoint}" } }.RunAsync("vms", "exec", "web", "ls");

        Assert.Equal(ExitCodes.Failed, result.ExitCode);
        Assert.Contains("where a WebSocket was due", result.Error, StringComparison.Ordinal);
        await serving;
    }

    private static async Task ServeRawAsync(TcpListener listener, byte[] frames, string? accept = null)
    {
        using var client = await listener.AcceptTcpClientAsync(TestContext.Current.CancellationToken);
        await using var stream = client.GetStream();
        var head = new StringBuilder();
        var buffer = new byte[1];
        while (!head.ToString().EndsWith("\r\n\r\n", StringComparison.Ordinal) && await stream.ReadAsync(buffer, TestContext.Current.CancellationToken) > 0)
        {
            head.Append((char)buffer[0]);
        }

        var key = head.ToString().Split("Sec-WebSocket-Key: ")[1].Split("\r\n")[0];
        await stream.WriteAsync(
            Encoding.ASCII.GetBytes($"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {accept ?? WebSocketConnection.AcceptOf(key)}\r\n\r\n"),
            TestContext.Current.CancellationToken);
        await stream.WriteAsync(frames, TestContext.Current.CancellationToken);
    }

    [Theory]
    [InlineData("ls", "-it")]
    public async Task A_terminal_needs_one(string command, string option)
    {
        var result = await new TestCli().RunAsync("vms", "exec", option, "web", command);

        Assert.Equal(ExitCodes.Usage, result.ExitCode);
        Assert.Contains("no terminal", result.Error, StringComparison.Ordinal);
    }

    internal static async Task<byte[]> ReceiveAsync(WebSocket socket)
    {
        using var message = new MemoryStream();
        var buffer = new byte[4096];
        while (true)
        {
            var received = await socket.ReceiveAsync(buffer.AsMemory(), TestContext.Current.CancellationToken);
            if (received.MessageType == WebSocketMessageType.Close)
            {
                return [];
            }

            await message.WriteAsync(buffer.AsMemory(0, received.Count), TestContext.Current.CancellationToken);
            if (received.EndOfMessage)
            {
                return message.ToArray();
            }
        }
    }

    private static Task SendAsync(WebSocket socket, byte[] bytes) => socket.SendAsync(bytes, WebSocketMessageType.Binary, endOfMessage: true, TestContext.Current.CancellationToken);

    private static async Task EndAsync(WebSocket socket, string json)
    {
        await socket.SendAsync(Encoding.UTF8.GetBytes(json), WebSocketMessageType.Text, endOfMessage: true, TestContext.Current.CancellationToken);
        await socket.CloseOutputAsync(WebSocketCloseStatus.NormalClosure, string.Empty, TestContext.Current.CancellationToken);
    }
}
