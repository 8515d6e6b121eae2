using System.Net.Http.Json;
using System.Net.WebSockets;
using System.Text;
using Volant.Contracts;
using Volant.Contracts.Api;

namespace Volant.EndToEnd;

/// <summary>Commands, files, tunnel and measurements of one VM whose workload serves no HTTP; and what a guest can do to its agent.</summary>
public sealed class GuestSurfaceTests(Workspace workspace) : IAsyncLifetime
{
    private const string Busybox = "/usr/bin/busybox";
    private const string Vm = "/api/v1/vms/box";

    private readonly TestDaemon _daemon = new();

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    public async ValueTask InitializeAsync()
    {
        Assert.SkipUnless(File.Exists(Busybox), "no static busybox: scripts/deps.sh run");
        var source = Directory.CreateDirectory(Path.Combine(workspace.Directory, "box")).FullName;
        await File.WriteAllTextAsync(Path.Combine(source, "fledge.toml"), $"""
            version = "1"
            strategy = "initramfs"

            [agent]
            source_strategy = "local"
            path = "{Workspace.Program("kestrel")}"

            [mappings]
            "{Busybox}" = "/bin/busybox"
            """, Cancel);
        await File.WriteAllTextAsync(Path.Combine(source, "manifest.toml"), """
            schema_version = "1.0"
            name = "box"
            version = "1.0.0"

            [resources]
            cpu_cores = 1
            memory_mb = 192

            [workload]
            type = "process"
            entrypoint = ["/bin/busybox", "sh", "-c", "trap '' TERM; echo up; while :; do /bin/busybox sleep 1000; done"]
            user = "1000:1000"

            [network]
            mode = "vsock"

            [health_check]
            command = ["/bin/busybox", "true"]
            timeout_ms = 10000
            """, Cancel);
        var built = await Command.RunAsync([Workspace.Program("fledge"), "build", source, "--output", source + "/"], TimeSpan.FromSeconds(60));
        Assert.True(built.ExitCode == 0, built.ToString());
        await _daemon.StartAsync();
        await _daemon.InstallAsync(Path.Combine(source, "box.manifest.json"));
        await _daemon.CreateReadyAsync("box", "box");
    }

    public ValueTask DisposeAsync() => _daemon.DisposeAsync();

    [Fact]
    public async Task A_guest_is_used_through_its_agent_and_cannot_silence_it()
    {
        Assert.Equal(0, (await RunAsync("/bin/busybox --install -s /bin")).ExitCode);
        await ExitCodesAndZombiesAsync();
        await FilesAsync();
        await TalkAsync();
        await TunnelAsync();
        await HostileAsync();
    }

    private async Task ExitCodesAndZombiesAsync()
    {
        var results = await Task.WhenAll(Enumerable.Range(0, 100).Select(i => RunAsync($"exit {i}")));
        Assert.Equal(Enumerable.Range(0, 100), results.Select(result => result.ExitCode));
        Assert.Equal((143, 15), await RunAsync("kill -TERM $$") is var killed ? (killed.ExitCode, killed.Signal) : default);

        // Each subshell leaves an orphan, which only PID 1 can collect.
        Assert.Equal(0, (await RunAsync("i=0; while [ $i -lt 1000 ]; do (/bin/busybox true &) ; i=$((i+1)); done")).ExitCode);
        string zombies;
        var from = TimeProvider.System.GetTimestamp();
        do
        {
            (_, zombies) = await OutputAsync("cat /proc/[0-9]*/stat 2>/dev/null | grep -c ') Z '");
        }
        while (zombies != "0\n" && TimeProvider.System.GetElapsedTime(from) < TimeSpan.FromSeconds(10));
        Assert.Equal("0\n", zombies);
        Assert.Equal("1000\n", (await OutputAsync("stat -c %u /proc/$(pidof sleep | cut -d' ' -f1)")).Output);
    }

    private async Task FilesAsync()
    {
        var content = new byte[3 << 20];
        new Random(1).NextBytes(content);
        using (var put = await _daemon.Client.PutAsync($"{Vm}/files?path=/tmp/a/b.bin&parents=1&mode=0640&uid=7", new ByteArrayContent(content), Cancel))
        {
            Assert.Equal(201, (int)put.StatusCode);
        }

        Assert.Equal(content, await _daemon.Client.GetByteArrayAsync($"{Vm}/files?path=/tmp/a/b.bin", Cancel));
        Assert.Equal("640 7\n", (await OutputAsync("stat -c '%a %u' /tmp/a/b.bin")).Output);
        var archive = await _daemon.Client.GetByteArrayAsync($"{Vm}/files?path=/tmp/a", Cancel);
        using (var body = new ByteArrayContent(archive))
        {
            body.Headers.ContentType = new(FileTypes.Tar);
            using var put = await _daemon.Client.PutAsync($"{Vm}/files?path=/tmp/c", body, Cancel);
            Assert.Equal(201, (int)put.StatusCode);
        }

        Assert.Equal(0, (await RunAsync("cmp /tmp/a/b.bin /tmp/c/b.bin")).ExitCode);
        Assert.Contains("Linux version", await _daemon.Client.GetStringAsync($"{Vm}/files?path=/proc/version", Cancel), StringComparison.Ordinal);
    }

    private async Task TalkAsync()
    {
        using var socket = await ConnectAsync("exec");
        await socket.SendAsync(Encoding.UTF8.GetBytes("""{"command": ["sh"], "tty": true, "cols": 71, "rows": 19}"""), WebSocketMessageType.Text, true, Cancel);
        await socket.SendAsync(Encoding.UTF8.GetBytes("\0stty size; exit 6\n"), WebSocketMessageType.Binary, true, Cancel);
        var seen = new StringBuilder();
        var buffer = new byte[64 * 1024];
        WebSocketReceiveResult received;
        do
        {
            received = await socket.ReceiveAsync(buffer, Cancel);
            seen.Append(Encoding.UTF8.GetString(buffer, 0, received.Count));
        }
        while (received.MessageType != WebSocketMessageType.Text);
        Assert.Contains("19 71", seen.ToString(), StringComparison.Ordinal);
        Assert.EndsWith("""{"exit_code":6}""", seen.ToString(), StringComparison.Ordinal);
    }

    private async Task TunnelAsync()
    {
        Assert.Equal(0, (await RunAsync("setsid nc -l -p 9000 -e cat </dev/null >/dev/null 2>&1 &")).ExitCode);
        using var socket = await ConnectAsync("tunnel?port=9000");
        await socket.SendAsync("through"u8.ToArray(), WebSocketMessageType.Binary, true, Cancel);
        var buffer = new byte[100];
        var received = await socket.ReceiveAsync(buffer, Cancel);
        Assert.Equal("through", Encoding.UTF8.GetString(buffer, 0, received.Count));
    }

    /// <summary>Ten thousand lines a second, a full disk, forks without end: the agent answers and says so.</summary>
    private async Task HostileAsync()
    {
        Assert.Equal(0, (await RunAsync("setsid sh -c 'f() { f | f & }; f' >/dev/null 2>&1 &")).ExitCode);
        var forks = await UntilAsync(metrics => metrics.Workload is { ForksRefused: > 0 });
        Assert.True(forks.Workload!.Processes <= forks.Workload.ProcessLimit + 200, $"{forks.Workload}");
        using var full = await _daemon.Client.PutAsync($"{Vm}/files?path=/tmp/full", new ByteArrayContent(new byte[200 << 20]), Cancel);
        Assert.Equal(507, (int)full.StatusCode);
        var metrics = await UntilAsync(_ => true);
        Assert.True(metrics.Agent.ResidentBytes < 64 << 20, $"{metrics.Agent}");
    }

    private async Task<GuestMetrics> UntilAsync(Func<GuestMetrics, bool> condition)
    {
        while (true)
        {
            var metrics = (await _daemon.Client.GetFromJsonAsync($"{Vm}/agent/v1/metrics", ContractsJson.Default.GuestMetrics, Cancel))!;
            if (condition(metrics))
            {
                return metrics;
            }
        }
    }

    private async Task<(int Code, string Output)> OutputAsync(string script) => await RunAsync(script) is var result ? (result.ExitCode, result.Stdout) : default;

    private async Task<ExecResult> RunAsync(string script)
    {
        using var response = await _daemon.Client.PostAsJsonAsync($"{Vm}/exec", new ExecRequest { Command = ["/bin/busybox", "sh", "-c", script], TimeoutMs = 120_000 }, ContractsJson.Default.ExecRequest, Cancel);
        Assert.True(response.IsSuccessStatusCode, await response.Content.ReadAsStringAsync(Cancel));
        return (await response.Content.ReadFromJsonAsync(ContractsJson.Default.ExecResult, Cancel))!;
    }

    private async Task<ClientWebSocket> ConnectAsync(string path)
    {
        var socket = new ClientWebSocket();
        using var invoker = new HttpMessageInvoker(new SocketsHttpHandler { ConnectCallback = (_, cancellationToken) => _daemon.ConnectAsync(cancellationToken) });
        await socket.ConnectAsync(new Uri($"ws://localhost/ws/v1/vms/box/{path}"), invoker, Cancel);
        return socket;
    }
}
