using System.Net.WebSockets;
using System.Text;
using Volant.Contracts.Api;
using Volant.Linux.Processes;

namespace Volant.EndToEnd;

/// <summary>Commands, files, tunnel and console of one VM that all these tests share.</summary>
public sealed class GuestSurfaceTests(GuestSurfaceTests.Box box) : IClassFixture<GuestSurfaceTests.Box>
{
    private const int Stop = 19;
    private const int Continue = 18;

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    private BoxGuest Guest => box.Guest;

    private TestDaemon Daemon => box.Guest.Daemon;

    [Fact]
    public async Task A_hundred_commands_at_once_end_with_their_own_codes_and_a_signal_is_told()
    {
        var results = await Task.WhenAll(Enumerable.Range(0, 100).Select(i => Guest.TryAsync($"exit {i}")));
        var killed = await Guest.TryAsync("kill -TERM $$");

        Assert.Equal(Enumerable.Range(0, 100), results.Select(result => result.ExitCode));
        Assert.Equal((143, 15), (killed.ExitCode, killed.Signal));
    }

    [Fact]
    public async Task Workload_and_commands_have_their_users()
    {
        Assert.Equal("1000 1000\n", await Guest.RunAsync("stat -c '%u %g' /proc/$(pidof work | cut -d' ' -f1)"));
        Assert.Equal("0\n", await Guest.RunAsync("id -u"));
        Assert.Equal("7 8\n", (await Guest.TryAsync("echo $(id -u) $(id -g)", "7:8")).Stdout);
    }

    [Fact]
    public async Task Files_and_trees_come_back_as_they_went()
    {
        var content = new byte[3 << 20];
        new Random(1).NextBytes(content);
        using (var put = await Daemon.Client.PutAsync($"{BoxGuest.Vm}/files?path=/tmp/a/b.bin&parents=1&mode=0640&uid=7", new ByteArrayContent(content), Cancel))
        {
            Assert.Equal(201, (int)put.StatusCode);
        }

        Assert.Equal(content, await Daemon.Client.GetByteArrayAsync($"{BoxGuest.Vm}/files?path=/tmp/a/b.bin", Cancel));
        Assert.Equal("640 7\n", await Guest.RunAsync("stat -c '%a %u' /tmp/a/b.bin"));
        using (var body = new ByteArrayContent(await Daemon.Client.GetByteArrayAsync($"{BoxGuest.Vm}/files?path=/tmp/a", Cancel)))
        {
            body.Headers.ContentType = new(FileTypes.Tar);
            using var put = await Daemon.Client.PutAsync($"{BoxGuest.Vm}/files?path=/tmp/c", body, Cancel);
            Assert.Equal(201, (int)put.StatusCode);
        }

        await Guest.RunAsync("cmp /tmp/a/b.bin /tmp/c/b.bin");
        Assert.Contains("Linux version", await Daemon.Client.GetStringAsync($"{BoxGuest.Vm}/files?path=/proc/version", Cancel), StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_terminal_has_its_size_and_can_be_resized_and_interrupted()
    {
        using var socket = await Guest.OpenAsync("exec");
        await socket.SendAsync("""{"command": ["sh"], "tty": true, "cols": 71, "rows": 19}"""u8.ToArray(), WebSocketMessageType.Text, true, Cancel);
        await TypeAsync("stty size\n");
        await UntilAsync(socket, "19 71");
        await socket.SendAsync("""{"resize": {"cols": 72, "rows": 20}}"""u8.ToArray(), WebSocketMessageType.Text, true, Cancel);
        await TypeAsync("stty size; sh -c 'echo up${x}on; exec sleep 1000'\n");
        await UntilAsync(socket, "20 72");
        await UntilAsync(socket, "upon");
        await TypeAsync("\u0003");
        await TypeAsync("exit 6\n");

        Assert.EndsWith("""{"exit_code":6}""", await UntilAsync(socket, "exit_code"), StringComparison.Ordinal);

        async Task TypeAsync(string keys) => await socket.SendAsync(Encoding.UTF8.GetBytes($"\0{keys}"), WebSocketMessageType.Binary, true, Cancel);
    }

    [Fact]
    public async Task A_tunnel_leads_to_a_port_of_the_guest()
    {
        await Guest.DetachAsync("nc -l -p 9000 -e cat");
        await Guest.RunAsync("until grep -q :2328 /proc/net/tcp*; do sleep 0.05; done");
        using var socket = await Guest.OpenAsync("tunnel?port=9000");

        await socket.SendAsync("through"u8.ToArray(), WebSocketMessageType.Binary, true, Cancel);

        await UntilAsync(socket, "through");
    }

    [Fact]
    public async Task The_console_shows_all_the_same_to_everybody_also_to_those_who_come_back()
    {
        const int Pasted = 48 * 1024;
        await Guest.RunAsync("stty -F /dev/ttyS0 raw -echo");
        using (var first = await Guest.OpenAsync("console"))
        using (var second = await Guest.OpenAsync("console"))
        {
            var every = Enumerable.Range(0, 256).Select(i => (byte)i).ToArray();
            using var put = await Daemon.Client.PutAsync($"{BoxGuest.Vm}/files?path=/tmp/every", new ByteArrayContent([.. every, .. "one"u8]), Cancel);
            Assert.True(put.IsSuccessStatusCode);
            await Guest.RunAsync("cat /tmp/every > /dev/ttyS0");
            Assert.EndsWith(Encoding.Latin1.GetString(every) + "one", await UntilAsync(first, "\u00ffone"), StringComparison.Ordinal);
            Assert.EndsWith(Encoding.Latin1.GetString(every) + "one", await UntilAsync(second, "\u00ffone"), StringComparison.Ordinal);

            // What is typed arrives whole, whatever it is.
            await Guest.DetachAsync($"head -c {Pasted} < /dev/ttyS0 > /tmp/typing; mv /tmp/typing /tmp/typed");
            var paste = new byte[Pasted];
            new Random(2).NextBytes(paste);
            await first.SendAsync(paste, WebSocketMessageType.Binary, true, Cancel);
            await Guest.RunAsync("until [ -e /tmp/typed ]; do sleep 0.05; done");
            Assert.Equal(paste, await Daemon.Client.GetByteArrayAsync($"{BoxGuest.Vm}/files?path=/tmp/typed", Cancel));
            await Daemon.EndAsync(9);
        }

        await Daemon.StartAsync();
        await Daemon.UntilAsync("box", vm => vm.Ready);
        using var again = await Guest.OpenAsync("console");
        await UntilAsync(again, "\u00ffone");
        await Guest.RunAsync("echo two > /dev/ttyS0");
        await UntilAsync(again, "two");
    }

    [Fact]
    public async Task An_agent_that_stands_still_is_not_ready_and_is_again_and_nothing_was_killed()
    {
        var before = (await Daemon.FindAsync("box"))!;
        var descriptors = Daemon.Descriptors();

        // PID 1 ignores SIGSTOP from inside, so the whole guest stands still.
        using var hypervisor = PidFd.TryOpen(ProcessIdentity.Find(before.Pid!.Value)!);
        Vm silent;
        Assert.True(hypervisor!.Signal(Stop));
        try
        {
            silent = await Daemon.UntilAsync("box", vm => !vm.Ready, seconds: 90);
        }
        finally
        {
            hypervisor.Signal(Continue);
        }

        Assert.Contains("the guest's agent is silent while the hypervisor runs", silent.LastError, StringComparison.Ordinal);
        var after = await Daemon.UntilAsync("box", vm => vm.Ready, seconds: 90);

        Assert.Equal((VmStatus.Running, before.Pid, before.StartedAt), (after.Status, after.Pid, after.StartedAt));
        Assert.Equal("here\n", await Guest.RunAsync("echo here"));
        Assert.InRange(Daemon.Descriptors(), 1, descriptors + 2);
        Assert.Equal(0, (await Guest.MeasureAsync()).Agent.Commands);
    }

    /// <summary>Receives until a text was seen; returns all of it, each byte as one character.</summary>
    private static async Task<string> UntilAsync(WebSocket socket, string text)
    {
        var seen = new StringBuilder();
        var buffer = new byte[64 * 1024];
        while (!seen.ToString().Contains(text, StringComparison.Ordinal))
        {
            var received = await socket.ReceiveAsync(buffer, Cancel);
            Assert.True(received.MessageType != WebSocketMessageType.Close, $"closed: {socket.CloseStatusDescription}; seen: {seen}");
            seen.Append(Encoding.Latin1.GetString(buffer, 0, received.Count));
        }

        return seen.ToString();
    }

    public sealed class Box(Workspace workspace) : IAsyncLifetime
    {
        private BoxGuest? _guest;

        internal BoxGuest Guest => _guest!;

        public async ValueTask InitializeAsync() => _guest = await BoxGuest.StartAsync(Path.Combine(workspace.Directory, "surface"), "while :; do /bin/busybox sleep 1000; done");

        public ValueTask DisposeAsync() => _guest?.DisposeAsync() ?? default;
    }
}
