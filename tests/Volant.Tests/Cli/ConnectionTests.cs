using System.Net;
using System.Net.Sockets;
using System.Text;
using Microsoft.AspNetCore.Http;
using Volant.Cli;
using Volant.Cli.Api;

namespace Volant.Tests.Cli;

public sealed class ConnectionTests
{
    [Theory]
    [InlineData("http://127.0.0.1:7777", "http://127.0.0.1:7777/", null, true)]
    [InlineData(" http://[::1]:7777/ ", "http://[::1]:7777/", null, true)]
    [InlineData("http://localhost:1", "http://localhost:1/", null, true)]
    [InlineData("http://127.9.9.9", "http://127.9.9.9/", null, true)]
    [InlineData("http://10.0.0.1:7777", "http://10.0.0.1:7777/", null, false)]
    [InlineData("https://volant.example.org/api-root", "https://volant.example.org/api-root/", null, true)]
    [InlineData("unix:///run/volant/api.sock", "http://localhost/", "/run/volant/api.sock", true)]
    public void Parse_reads_the_three_forms(string text, string root, string? socket, bool isPrivate)
    {
        var address = ApiAddress.Parse(text);

        Assert.Equal(new Uri(root), address.Base);
        Assert.Equal(socket, address.SocketPath);
        Assert.Equal(isPrivate, address.IsPrivate);
    }

    [Theory]
    [InlineData("localhost:7777")]
    [InlineData("/run/api.sock")]
    [InlineData("unix://run/api.sock")]
    [InlineData("ftp://host")]
    [InlineData("http://user:secret@host")]
    [InlineData("http://host?x=1")]
    [InlineData("http://")]
    public void Parse_refuses_the_rest_without_echoing_a_password(string text)
    {
        var refusal = Assert.Throws<CliException>(() => ApiAddress.Parse(text));

        Assert.Equal(ExitCodes.Usage, refusal.ExitCode);
        Assert.DoesNotContain("secret", refusal.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Parse_refuses_a_socket_path_that_the_kernel_cannot_take()
    {
        var refusal = Assert.Throws<CliException>(() => ApiAddress.Parse("unix:///" + new string('x', 200)));

        Assert.Contains("107", refusal.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Nobody_there_is_its_own_exit_code_and_says_how_to_start_the_daemon()
    {
        int port;
        using (var unused = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp))
        {
            unused.Bind(new IPEndPoint(IPAddress.Loopback, 0));
            port = ((IPEndPoint)unused.LocalEndPoint!).Port;
        }

        var result = await new TestCli().RunAsync("vms", "list", "--api", $"http://127.0.0.1:{port}");

        Assert.Equal(ExitCodes.Unreachable, result.ExitCode);
        Assert.Contains("connection refused", result.Error, StringComparison.Ordinal);
        Assert.Contains("is volantd running?", result.Error, StringComparison.Ordinal);
        Assert.Contains("VOLANT_API_BASE", result.Error, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_socket_that_does_not_exist_is_unreachable()
    {
        var result = await new TestCli().RunAsync("vms", "list", "--api", "unix:///nowhere/api.sock");

        Assert.Equal(ExitCodes.Unreachable, result.ExitCode);
        Assert.Contains("there is no such socket", result.Error, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_unix_socket_works_like_any_other_address()
    {
        await using var daemon = await FakeDaemon.StartAsync((context, _) => context.JsonAsync(200, FakeAnswers.Vm()), onSocket: true);

        var result = await TestCli.For(daemon).RunAsync("vms", "get", "web", "-o", "json");

        Assert.Equal(new CliResult(0, result.Output, string.Empty), result);
        daemon.AssertSaw("GET /api/v1/vms/web");
    }

    [Fact]
    public async Task The_option_wins_over_the_environment()
    {
        await using var daemon = await FakeDaemon.StartAsync(("GET /api/v1/vms?sort=name&order=asc", 200, "[]"));

        var result = await new TestCli { Environment = { ["VOLANT_API_BASE"] = "unix:///nowhere" } }.RunAsync("--api", daemon.Address, "vms", "list");

        Assert.Equal(0, result.ExitCode);
    }

    [Fact]
    public async Task A_path_in_the_address_stays_in_front()
    {
        await using var daemon = await FakeDaemon.StartAsync(("GET /volant/api/v1/plugins", 200, """{"plugins":[]}"""));

        var result = await new TestCli().RunAsync("plugins", "list", "--api", daemon.Address + "/volant");

        Assert.Equal(0, result.ExitCode);
    }

    [Fact]
    public async Task The_key_travels_in_its_header_and_nowhere_else()
    {
        await using var daemon = await FakeDaemon.StartAsync((context, _) => context.JsonAsync(200, "[]"));
        var cli = TestCli.For(daemon);
        cli.Environment["VOLANT_API_KEY"] = "k3y-of-mine\n";

        var result = await cli.RunAsync("vms", "list");

        var seen = Assert.Single(daemon.Seen);
        Assert.Equal("k3y-of-mine", seen.Headers["X-Volant-API-Key"]);
        Assert.DoesNotContain("k3y", seen.Target, StringComparison.Ordinal);
        Assert.Empty(result.Error);
    }

    [Fact]
    public async Task Without_a_key_there_is_no_header()
    {
        await using var daemon = await FakeDaemon.StartAsync((context, _) => context.JsonAsync(200, "[]"));

        await TestCli.For(daemon).RunAsync("vms", "list");

        Assert.False(Assert.Single(daemon.Seen).Headers.ContainsKey("X-Volant-API-Key"));
    }

    [Fact]
    public async Task A_key_over_plain_http_to_another_host_is_warned_about()
    {
        // An address that is no loopback address and that nobody can reach: 0.0.0.0 port 1.
        var cli = new TestCli { Environment = { ["VOLANT_API_BASE"] = "http://0.0.0.0:1", ["VOLANT_API_KEY"] = "k3y" } };

        var result = await cli.RunAsync("vms", "list");

        Assert.Equal(ExitCodes.Unreachable, result.ExitCode);
        Assert.StartsWith("Warning: VOLANT_API_KEY travels unencrypted to http://0.0.0.0:1", result.Error, StringComparison.Ordinal);
        Assert.DoesNotContain("k3y", result.Error, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("two words")]
    [InlineData("line\nbreak")]
    [InlineData("schlüssel")]
    public async Task A_key_that_no_header_may_hold_is_refused_without_showing_it(string key)
    {
        var result = await new TestCli { Environment = { ["VOLANT_API_KEY"] = key } }.RunAsync("vms", "list");

        Assert.Equal(ExitCodes.Usage, result.ExitCode);
        Assert.DoesNotContain(key, result.Error, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_redirect_is_reported_and_never_followed()
    {
        await using var elsewhere = await FakeDaemon.StartAsync((context, _) => context.JsonAsync(200, "[]"));
        await using var daemon = await FakeDaemon.StartAsync((context, _) =>
        {
            context.Response.Redirect(elsewhere.Address + "/api/v1/vms");
            return Task.CompletedTask;
        });
        var cli = TestCli.For(daemon);
        cli.Environment["VOLANT_API_KEY"] = "k3y";

        var result = await cli.RunAsync("vms", "list");

        Assert.Equal(ExitCodes.Failed, result.ExitCode);
        Assert.Contains("redirect", result.Error, StringComparison.Ordinal);
        Assert.Empty(elsewhere.Seen);
    }

    [Theory]
    [InlineData("text/html", "<html>hello</html>", "text/html")]
    [InlineData("application/json", "[{", "broken JSON")]
    [InlineData("application/json", "[{}]", "no IReadOnlyList")]
    [InlineData("application/json", "null", "no IReadOnlyList")]
    public async Task Something_that_is_no_volantd_is_named_as_such(string type, string body, string word)
    {
        await using var daemon = await FakeDaemon.StartAsync((context, _) => context.JsonAsync(200, body, type));

        var result = await TestCli.For(daemon).RunAsync("vms", "list");

        Assert.Equal(ExitCodes.Failed, result.ExitCode);
        Assert.Empty(result.Output);
        Assert.Contains(word.Replace("IReadOnlyList", string.Empty, StringComparison.Ordinal), result.Error, StringComparison.Ordinal);
        Assert.Contains("volantd", result.Error, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(200)]
    [InlineData(500)]
    public async Task An_endless_body_is_cut_off(int status)
    {
        await using var daemon = await FakeDaemon.StartAsync(async (context, _) =>
        {
            context.Response.StatusCode = status;
            context.Response.ContentType = "application/json";
            var chunk = Encoding.ASCII.GetBytes(new string(' ', 64 * 1024));
            while (!context.RequestAborted.IsCancellationRequested)
            {
                await context.Response.Body.WriteAsync(chunk, context.RequestAborted);
            }
        });

        var result = await TestCli.For(daemon).RunAsync("vms", "list");

        Assert.Equal(ExitCodes.Failed, result.ExitCode);
        Assert.Contains("more than 16 MiB", result.Error, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_body_that_breaks_off_is_unreachable()
    {
        await using var daemon = await FakeDaemon.StartAsync(async (context, _) =>
        {
            context.Response.ContentType = "application/json";
            await context.Response.WriteAsync("[", context.RequestAborted);
            await context.Response.Body.FlushAsync(context.RequestAborted);
            context.Abort();
        });

        var result = await TestCli.For(daemon).RunAsync("vms", "list");

        Assert.Equal(ExitCodes.Unreachable, result.ExitCode);
        Assert.Contains("broke the connection", result.Error, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_server_that_speaks_no_http_is_named_as_such()
    {
        using var listener = new TcpListener(IPAddress.Loopback, 0);
        listener.Start();
        var serve = Task.Run(async () =>
        {
            using var client = await listener.AcceptTcpClientAsync(TestContext.Current.CancellationToken);
            await client.GetStream().WriteAsync("SSH-2.0-OpenSSH_9.2\r\n"u8.ToArray(), TestContext.Current.CancellationToken);
            await client.GetStream().ReadExactlyAsync(new byte[16], TestContext.Current.CancellationToken);
        }, TestContext.Current.CancellationToken);

        var result = await new TestCli().RunAsync("vms", "list", "--api", $"http://127.0.0.1:{((IPEndPoint)listener.LocalEndpoint).Port}");
        await serve;

        Assert.Equal(ExitCodes.Failed, result.ExitCode);
        Assert.Contains("does not speak HTTP", result.Error, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_daemon_that_does_not_answer_is_given_up_on()
    {
        // A clock that lets 30 s pass at once: the limit of a read is over before the answer.
        await using var daemon = await FakeDaemon.StartAsync((context, _) => Task.Delay(Timeout.InfiniteTimeSpan, TimeProvider.System, context.RequestAborted));

        var result = await TestCli.For(daemon, new JumpingClock(TimeSpan.FromSeconds(30))).RunAsync("vms", "get", "web");

        Assert.Equal(ExitCodes.TimedOut, result.ExitCode);
        Assert.Contains("within 30 s", result.Error, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Output_that_nobody_reads_ends_quietly()
    {
        await using var daemon = await FakeDaemon.StartAsync((context, _) => context.JsonAsync(200, "[]"));
        await using var closed = new RefusingStream(hresult: 32);
        await using var full = new RefusingStream(hresult: 28);

        var quiet = await new TestCli { Output = closed, Environment = { ["VOLANT_API_BASE"] = daemon.Address } }.RunAsync("vms", "list");
        var loud = await new TestCli { Output = full, Environment = { ["VOLANT_API_BASE"] = daemon.Address } }.RunAsync("vms", "list");

        Assert.Equal(new CliResult(ExitCodes.OutputClosed, string.Empty, string.Empty), quiet);
        Assert.Equal(ExitCodes.Failed, loud.ExitCode);
        Assert.Contains("Standard output cannot be written", loud.Error, StringComparison.Ordinal);
    }

    private sealed class RefusingStream(int hresult) : MemoryStream
    {
        public override void Write(byte[] buffer, int offset, int count) => throw new IOException("refused", hresult);

        public override void Write(ReadOnlySpan<byte> buffer) => throw new IOException("refused", hresult);
    }
}
