using System.Net;
using System.Net.Http.Json;
using System.Text;
using System.Text.Json;
using Volant.Agent.Commands;
using Volant.Contracts;
using Volant.Contracts.Api;
using Volant.Linux.Processes;

namespace Volant.Tests.Agent;

/// <summary>Commands beside the workload: the agent's own code, on this machine.</summary>
public sealed class ExecTests : IAsyncLifetime
{
    private AgentHarness _agent = null!;
    private HttpClient _client = null!;
    private SocketsHttpHandler _handler = null!;

    private static CancellationToken Token => TestContext.Current.CancellationToken;

    public async ValueTask InitializeAsync()
    {
        _agent = await AgentHarness.StartAsync(_ => { }, Token);
        (_client, _handler) = _agent.Connect();
    }

    public async ValueTask DisposeAsync()
    {
        _client.Dispose();
        _handler.Dispose();
        await _agent.DisposeAsync();
    }

    [Fact]
    public async Task A_command_is_run_and_its_end_told()
    {
        var result = await RunAsync("""{"command": ["sh", "-c", "cat; echo err >&2; echo $A $PWD; exit 7"], "env": {"A": "b c"}, "workdir": "/tmp", "stdin": "in\n"}""");

        Assert.Equal((7, null, "in\nb c /tmp\n", "err\n", false), (result.ExitCode, result.Signal, result.Stdout, result.Stderr, result.Truncated));
        Assert.Null(result.StdoutBase64);
        Assert.Equal(0, _agent.Commands.Running);
    }

    [Fact]
    public async Task A_signal_is_told_as_shells_do()
    {
        var result = await RunAsync("""{"command": ["/bin/sh", "-c", "kill -TERM $$"]}""");
        Assert.Equal((143, (int?)15), (result.ExitCode, result.Signal));
    }

    [Fact]
    public async Task Output_is_cut_at_a_mebibyte_and_the_rest_is_read()
    {
        var result = await RunAsync("""{"command": ["sh", "-c", "head -c 3000000 /dev/zero | tr '\\0' x; echo done >&2"]}""");
        Assert.Equal((0, true, ExecRules.MaxOutputBytes, "done\n"), (result.ExitCode, result.Truncated, result.Stdout.Length, result.Stderr));
    }

    [Fact]
    public async Task Output_that_is_no_text_comes_whole_as_base64()
    {
        var result = await RunAsync("""{"command": ["printf", "a\\377b"]}""");
        Assert.Equal("a\ufffdb", result.Stdout);
        Assert.Equal(new byte[] { (byte)'a', 0xff, (byte)'b' }, Convert.FromBase64String(result.StdoutBase64!));
    }

    [Fact]
    public async Task A_character_that_the_limit_cuts_in_two_is_left_out()
    {
        using var capture = new OutputCapture(new CaptureBudget(long.MaxValue));
        capture.Add(new byte[ExecRules.MaxOutputBytes - 2]);
        capture.Add("€"u8);
        var (text, base64) = capture.Read();
        Assert.Equal((ExecRules.MaxOutputBytes - 2, null, true), (text.Length, base64, capture.IsCut));
        await Task.CompletedTask;
    }

    [Fact]
    public void Memory_for_output_is_shared_and_given_back()
    {
        var budget = new CaptureBudget(100);
        using (var one = new OutputCapture(budget))
        using (var two = new OutputCapture(budget))
        {
            one.Add(new byte[60]);
            two.Add(new byte[60]);
            Assert.Equal((false, true), (one.IsCut, two.IsCut));
        }

        Assert.True(budget.TryTake(100));
    }

    [Fact]
    public async Task A_command_that_takes_too_long_is_ended_with_all_its_group()
    {
        var marker = Path.Combine(_agent.Root, "pids");
        using var response = await PostAsync($$"""{"command": ["sh", "-c", "sleep 1000 & echo $$ $! > {{marker}}; wait"], "timeout_ms": 500}""");

        Assert.Equal(HttpStatusCode.GatewayTimeout, response.StatusCode);
        Assert.Equal(ErrorCodes.Timeout, (await response.Content.ReadFromJsonAsync(ContractsJson.Default.Problem, Token))!.Code);
        foreach (var pid in (await File.ReadAllTextAsync(marker, Token)).Split(' '))
        {
            await GoneAsync(int.Parse(pid));
        }
    }

    [Fact]
    public async Task A_deaf_command_is_killed_when_its_caller_goes_away()
    {
        var marker = Path.Combine(_agent.Root, "pid");
        using var leaving = new CancellationTokenSource();
        var running = _client.PostAsync("/v1/agent/exec", Body($$"""{"command": ["sh", "-c", "trap '' HUP TERM; echo $$ > {{marker}}.new; mv {{marker}}.new {{marker}}; while :; do sleep 1000; done"]}"""), leaving.Token);
        while (!File.Exists(marker))
        {
            await Task.Delay(TimeSpan.FromMilliseconds(10), TimeProvider.System, Token);
        }

        var pid = int.Parse(await File.ReadAllTextAsync(marker, Token));
        await leaving.CancelAsync();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => running);
        await GoneAsync(pid);
    }

    [Theory]
    [InlineData("""{"command": ["no-such-program"]}""", 422, ErrorCodes.ExecFailed, "no-such-program")]
    [InlineData("""{"command": ["/no/such"]}""", 422, ErrorCodes.ExecFailed, "/no/such")]
    [InlineData("""{"command": ["true"], "workdir": "/no/such"}""", 422, ErrorCodes.ExecFailed, "workdir")]
    [InlineData("""{"command": ["true"], "user": "nobody-at-all"}""", 422, ErrorCodes.ExecFailed, "nobody-at-all")]
    [InlineData("""{"command": []}""", 400, ErrorCodes.InvalidRequest, "command")]
    [InlineData("""{"command": ["true"], "tty": true}""", 400, ErrorCodes.InvalidRequest, "tty")]
    [InlineData("""{"command": ["true"], "user": "a b"}""", 400, ErrorCodes.InvalidRequest, "user")]
    [InlineData("""{"command": ["true"], "comand": 1}""", 400, ErrorCodes.InvalidRequest, "comand")]
    [InlineData("""{"command": ["true"]""", 400, ErrorCodes.InvalidRequest, "not valid")]
    public async Task What_cannot_be_run_is_refused_in_words(string body, int status, string code, string word)
    {
        using var response = await PostAsync(body);
        var problem = (await response.Content.ReadFromJsonAsync(ContractsJson.Default.Problem, Token))!;
        Assert.Equal((status, code), ((int)response.StatusCode, problem.Code));
        Assert.Contains(word, problem.Detail, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_hundred_commands_at_once_all_end_with_their_own_code()
    {
        var results = await Task.WhenAll(Enumerable.Range(0, 100).Select(i => RunAsync($$"""{"command": ["sh", "-c", "echo {{i}}; exit {{i}}"], "timeout_ms": 600000}""")));
        for (var i = 0; i < results.Length; i++)
        {
            Assert.Equal((i, $"{i}\n"), (results[i].ExitCode, results[i].Stdout));
        }
    }

    [Fact]
    public async Task Another_user_has_that_users_rights_and_nothing_else_changes()
    {
        Assert.SkipUnless(Environment.IsPrivilegedProcess, "only root may become another user");
        var result = await RunAsync("""{"command": ["sh", "-c", "id -u; id -g; id -G; echo $HOME; cat /etc/shadow"], "user": "65534:12"}""");
        Assert.StartsWith("65534\n12\n12\n", result.Stdout, StringComparison.Ordinal);
        Assert.NotEqual(0, result.ExitCode);
        Assert.Equal("0\n", (await RunAsync("""{"command": ["id", "-u"]}""")).Stdout);
    }

    [Fact]
    public async Task In_a_terminal_one_types_resizes_and_signals()
    {
        await using var session = await StreamClient.OpenAsync(_client, """{"command": ["sh"], "tty": true, "cols": 100, "rows": 30, "env": {"PS1": "> "}}""");
        await session.SendAsync(ExecChannels.Stdin, "stty size; tty\n");
        Assert.Contains("30 100", await session.UntilAsync("/dev/pts/"), StringComparison.Ordinal);

        await session.SendAsync(ExecFrames.Control, """{"resize": {"cols": 61, "rows": 17}}""");
        await session.SendAsync(ExecChannels.Stdin, "stty size\n");
        await session.UntilAsync("17 61");

        // The signal reaches the program in the foreground, not the shell; the program says itself that it is there.
        await session.SendAsync(ExecChannels.Stdin, "sh -c 'echo \"go\"ing; exec sleep 1000'; echo $?\n");
        await session.UntilAsync("going");
        await session.SendAsync(ExecFrames.Control, """{"signal": 15}""");
        await session.UntilAsync("143");
        await session.SendAsync(ExecChannels.Stdin, "exit 5\n");
        Assert.Equal(5, (await session.EndAsync()).ExitCode);
    }

    [Fact]
    public async Task Without_a_terminal_the_streams_are_apart_and_input_ends()
    {
        await using var session = await StreamClient.OpenAsync(_client, """{"command": ["sh", "-c", "cat; echo err >&2; exit 3"]}""");
        var big = new string('x', 300_000);
        var sending = Task.Run(async () =>
        {
            foreach (var part in big.Chunk(50_000))
            {
                await session.SendAsync(ExecChannels.Stdin, new string(part));
            }

            await session.SendAsync(ExecChannels.Stdin, string.Empty);
        }, Token);
        var end = await session.EndAsync();
        await sending;
        Assert.Equal((3, big, "err\n"), (end.ExitCode, session.Output.ToString(), session.Error.ToString()));
    }

    [Theory]
    [InlineData("yes")]
    [InlineData("sleep 1000")]
    [InlineData("sh -c 'trap \"exit 3\" HUP; while :; do sleep 0.01; done'")]
    public async Task A_time_limit_ends_a_command_whose_output_nobody_reads_and_is_told_afterwards(string program)
    {
        var marker = Path.Combine(_agent.Root, "pid");
        await using var session = await StreamClient.OpenAsync(_client, $$"""{"command": ["sh", "-c", "echo $$ > {{marker}}.new; mv {{marker}}.new {{marker}}; exec {{program.Replace("\"", "\\\"", StringComparison.Ordinal)}}"], "timeout_ms": 300}""");
        while (!File.Exists(marker))
        {
            await Task.Delay(TimeSpan.FromMilliseconds(5), TimeProvider.System, Token);
        }

        await GoneAsync(int.Parse(await File.ReadAllTextAsync(marker, Token)));
        Assert.Equal(ErrorCodes.Timeout, (await session.EndAsync()).Code);
    }

    [Fact]
    public async Task Whoever_does_not_read_makes_the_command_wait()
    {
        await using var session = await StreamClient.OpenAsync(_client, """{"command": ["sh", "-c", "yes | head -c 20000000; echo end >&2"]}""");
        var start = Environment.WorkingSet;
        await Task.Delay(TimeSpan.FromMilliseconds(300), TimeProvider.System, Token);
        Assert.True(Environment.WorkingSet - start < 60 << 20);
        Assert.Equal(0, (await session.EndAsync()).ExitCode);
        Assert.Equal((20_000_000, "end\n"), (session.Output.Length, session.Error.ToString()));
    }

    [Theory]
    [InlineData(new byte[] { 9, 0, 0, 0, 0 })]
    [InlineData(new byte[] { 3, 0x7f, 0xff, 0xff, 0xff })]
    [InlineData(new byte[] { 0, 0, 0, 0, 1, 65 })]
    [InlineData(new byte[] { 3, 0, 0, 0, 2, (byte)'{', (byte)'}' })]
    [InlineData(new byte[] { 3, 0 })]
    public async Task Garbage_in_place_of_a_request_is_refused(byte[] garbage)
    {
        using var response = await _client.PostAsync("/v1/agent/exec/stream", new ByteArrayContent(garbage), Token);
        Assert.Equal(HttpStatusCode.BadRequest, response.StatusCode);
        Assert.Equal(0, _agent.Commands.Running);
    }

    [Fact]
    public void Users_are_found_by_name_and_number()
    {
        File.WriteAllText(Path.Combine(_agent.Root, "passwd"), "root:x:0:0:root:/root:/bin/sh\nbroken\nweb:x:33:34::/srv/web:/bin/false\n");
        File.WriteAllText(Path.Combine(_agent.Root, "group"), "adm:x:4:root,web\nwww:x:34:web\nlogs:x:77:web\n");
        var users = new UserDatabase(_agent.Root);

        Check(users.Find("web"), "web", "/srv/web", 33, 34, [4, 77]);
        Check(users.Find("33"), "web", "/srv/web", 33, 34, [4, 77]);
        Check(users.Find("web:adm"), "web", "/srv/web", 33, 4, []);
        Check(users.Find("1000"), "1000", "/", 1000, 1000, []);
        Check(users.Find("root"), "root", "/root", 0, 0, [4]);
        Assert.Throws<FormatException>(() => users.Find("nobody"));
        Assert.Throws<FormatException>(() => users.Find("web:none"));
        Assert.Equal(0u, new UserDatabase("/nowhere").Find("root").Rights.Uid);

        static void Check(GuestUser user, string name, string home, uint uid, uint gid, uint[] groups)
        {
            Assert.Equal((name, home, uid, gid), (user.Name, user.Home, user.Rights.Uid, user.Rights.Gid));
            Assert.Equal(groups, user.Rights.Groups);
        }
    }

    private static StringContent Body(string json) => new(json, Encoding.UTF8, "application/json");

    private static async Task GoneAsync(int pid)
    {
        while (ProcessIdentity.Find(pid) is not null)
        {
            await Task.Delay(TimeSpan.FromMilliseconds(10), TimeProvider.System, Token);
        }
    }

    private Task<HttpResponseMessage> PostAsync(string body) => _client.PostAsync("/v1/agent/exec", Body(body), Token);

    private async Task<ExecResult> RunAsync(string body)
    {
        using var response = await PostAsync(body);
        Assert.True(response.IsSuccessStatusCode, await response.Content.ReadAsStringAsync(Token));
        return (await response.Content.ReadFromJsonAsync(ContractsJson.Default.ExecResult, Token))!;
    }

    /// <summary>The daemon's side of a stream.</summary>
    private sealed class StreamClient : HttpContent, IAsyncDisposable
    {
        private readonly TaskCompletionSource<Stream> _output = new(TaskCreationOptions.RunContinuationsAsynchronously);
        private readonly TaskCompletionSource _done = new(TaskCreationOptions.RunContinuationsAsynchronously);
        private readonly byte[] _first;
        private HttpResponseMessage _response = null!;
        private ExecFrameReader _frames = null!;

        private StreamClient(string request) => _first = ExecFrames.Encode(ExecFrames.Control, Encoding.UTF8.GetBytes(request));

        public StringBuilder Output { get; } = new();

        public StringBuilder Error { get; } = new();

        public static async Task<StreamClient> OpenAsync(HttpClient client, string request)
        {
            var content = new StreamClient(request);
            content._response = await client.SendAsync(new HttpRequestMessage(HttpMethod.Post, "/v1/agent/exec/stream") { Content = content, Version = HttpVersion.Version20, VersionPolicy = HttpVersionPolicy.RequestVersionExact }, HttpCompletionOption.ResponseHeadersRead, Token);
            Assert.Equal(HttpStatusCode.OK, content._response.StatusCode);
            content._frames = new ExecFrameReader(await content._response.Content.ReadAsStreamAsync(Token), ExecRules.MaxFrameBytes);
            return content;
        }

        public async Task SendAsync(byte channel, string text)
        {
            var stream = await _output.Task;
            await stream.WriteAsync(ExecFrames.Encode(channel, Encoding.UTF8.GetBytes(text)), Token);
            await stream.FlushAsync(Token);
        }

        public async Task<string> UntilAsync(string text)
        {
            var from = Output.Length;
            while (!Output.ToString(from, Output.Length - from).Contains(text, StringComparison.Ordinal))
            {
                Assert.Null(await NextAsync());
            }

            return Output.ToString(from, Output.Length - from);
        }

        public async Task<ExecEnd> EndAsync()
        {
            while (true)
            {
                if (await NextAsync() is { } end)
                {
                    return end;
                }
            }
        }

        public async ValueTask DisposeAsync()
        {
            _done.TrySetResult();
            _response.Dispose();
            Dispose();
            await Task.CompletedTask;
        }

        protected override async Task SerializeToStreamAsync(Stream stream, TransportContext? context)
        {
            await stream.WriteAsync(_first, Token);
            await stream.FlushAsync(Token);
            _output.SetResult(stream);
            await _done.Task;
        }

        protected override bool TryComputeLength(out long length)
        {
            length = 0;
            return false;
        }

        private async Task<ExecEnd?> NextAsync()
        {
            var (channel, bytes) = await _frames.ReadAsync(Token) ?? throw new EndOfStreamException(Output.ToString());
            if (channel == ExecFrames.Control)
            {
                return JsonSerializer.Deserialize(bytes.Span, ContractsJson.Default.ExecEnd);
            }

            (channel == ExecChannels.Stderr ? Error : Output).Append(Encoding.UTF8.GetString(bytes.Span));
            return null;
        }
    }
}
