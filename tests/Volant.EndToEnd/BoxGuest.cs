using System.Net.Http.Json;
using System.Net.WebSockets;
using System.Text.Json;
using Volant.Contracts;
using Volant.Contracts.Api;

namespace Volant.EndToEnd;

/// <summary>A VM with a shell whose workload serves no HTTP, and the daemon that it belongs to.</summary>
internal sealed class BoxGuest : IAsyncDisposable
{
    private const string Busybox = "/usr/bin/busybox";

    private BoxGuest(TestDaemon daemon) => Daemon = daemon;

    /// <summary>Path of its VM in the API.</summary>
    public const string Vm = "/api/v1/vms/box";

    public TestDaemon Daemon { get; }

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    /// <summary>Starts one and waits until it is ready.</summary>
    /// <param name="directory">Where its plugin may be built.</param>
    /// <param name="script">The workload, for a shell.</param>
    /// <param name="daemon">Its daemon; one of its own when null.</param>
    /// <param name="config">Its configuration.</param>
    public static async Task<BoxGuest> StartAsync(string directory, string script, TestDaemon? daemon = null, string config = "{}")
    {
        Assert.SkipUnless(File.Exists(Busybox), "no static busybox: scripts/deps.sh run");
        var source = Directory.CreateDirectory(Path.Combine(directory, "box")).FullName;
        await File.WriteAllTextAsync(Path.Combine(source, "work"), $"#!/bin/busybox sh\n{script}\n", Cancel);
        File.SetUnixFileMode(Path.Combine(source, "work"), (UnixFileMode)0b111_101_101);
        await File.WriteAllTextAsync(
            Path.Combine(source, "fledge.toml"),
            $"""
            version = "1"
            strategy = "initramfs"

            [agent]
            source_strategy = "local"
            path = "{Workspace.Program("kestrel")}"

            [mappings]
            "{Busybox}" = "/bin/busybox"
            "work" = "/bin/work"
            """,
            Cancel);
        await File.WriteAllTextAsync(
            Path.Combine(source, "manifest.toml"),
            """
            schema_version = "1.0"
            name = "box"
            version = "1.0.0"
            runtime = "box"

            [resources]
            cpu_cores = 1
            memory_mb = 192

            [workload]
            type = "process"
            entrypoint = ["/bin/work"]
            user = "1000:1000"

            [network]
            mode = "vsock"

            [health_check]
            command = ["/bin/busybox", "true"]
            timeout_ms = 10000
            """,
            Cancel);
        var built = await Command.RunAsync([Workspace.Program("fledge"), "build", source, "--output", source + "/"]);
        Assert.True(built.ExitCode == 0, built.ToString());
        var guest = new BoxGuest(daemon ?? new TestDaemon());
        await guest.Daemon.StartAsync();
        await guest.Daemon.InstallAsync(Path.Combine(source, "box.manifest.json"));
        await guest.Daemon.CreateReadyAsync("box", "box", config);
        await guest.RunAsync("/bin/busybox --install -s /bin");
        return guest;
    }

    /// <summary>Runs a script, also in another VM of its plugin, and returns how it ended.</summary>
    public async Task<ExecResult> TryAsync(string script, string? user = null, string vm = "box")
    {
        using var response = await SendAsync(script, user, vm);
        var text = await response.Content.ReadAsStringAsync(Cancel);
        Assert.True(response.IsSuccessStatusCode, $"{script}: {(int)response.StatusCode} {text}\n{Daemon.Logs()}");
        return JsonSerializer.Deserialize(text, ContractsJson.Default.ExecResult)!;
    }

    /// <summary>Runs a script that must succeed and returns what it wrote.</summary>
    public async Task<string> RunAsync(string script)
    {
        var result = await TryAsync(script);
        Assert.True(result.ExitCode == 0, $"{script}: {result}");
        return result.Stdout;
    }

    /// <summary>Starts a script that goes on when the command that started it has ended: in a session of its own, which is there before that. It has no single quotes.</summary>
    public Task DetachAsync(string script) => RunAsync(
        $"rm -f /run/detached; setsid sh -c 'touch /run/detached; ({script}) </dev/null >/dev/null 2>&1 &' & until [ -e /run/detached ]; do sleep 0.05; done; wait");

    /// <summary>Asks for a script to be run.</summary>
    public Task<HttpResponseMessage> SendAsync(string script, string? user = null, string vm = "box") => Daemon.Client.PostAsJsonAsync(
        $"/api/v1/vms/{vm}/exec", new ExecRequest { Command = ["/bin/busybox", "sh", "-c", script], User = user, TimeoutMs = 120_000 }, ContractsJson.Default.ExecRequest, Cancel);

    /// <summary>What the agent counts.</summary>
    public async Task<GuestMetrics> MeasureAsync()
    {
        using var response = await Daemon.Client.GetAsync($"{Vm}/agent/v1/metrics", Cancel);
        var text = await response.Content.ReadAsStringAsync(Cancel);
        Assert.True(response.IsSuccessStatusCode, $"{(int)response.StatusCode} {text}\n{await Daemon.FindAsync("box")}\n{Daemon.Logs()}");
        return JsonSerializer.Deserialize(text, ContractsJson.Default.GuestMetrics)!;
    }

    /// <summary>Measures until it is as wanted.</summary>
    public async Task<GuestMetrics> UntilAsync(Func<GuestMetrics, bool> wanted)
    {
        var started = TimeProvider.System.GetTimestamp();
        while (true)
        {
            var metrics = await MeasureAsync();
            if (wanted(metrics))
            {
                return metrics;
            }

            Assert.True(TimeProvider.System.GetElapsedTime(started).TotalSeconds < 120, $"{metrics}\n{Daemon.Logs()}");
            await Task.Delay(TimeSpan.FromMilliseconds(500), TimeProvider.System, Cancel);
        }
    }

    /// <summary>Opens one of the VM's WebSockets.</summary>
    public async Task<ClientWebSocket> OpenAsync(string path)
    {
        var socket = new ClientWebSocket();
        using var invoker = new HttpMessageInvoker(new SocketsHttpHandler { ConnectCallback = (_, cancellationToken) => Daemon.ConnectAsync(cancellationToken) });
        await socket.ConnectAsync(new Uri($"ws://localhost/ws/v1/vms/box/{path}"), invoker, Cancel);
        return socket;
    }

    public ValueTask DisposeAsync() => Daemon.DisposeAsync();
}
