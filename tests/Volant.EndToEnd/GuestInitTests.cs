using System.Globalization;
using System.Text;
using System.Text.Json;
using Volant.Contracts;
using Volant.Contracts.Api;
using Volant.EndToEnd.Component;

namespace Volant.EndToEnd;

/// <summary>What the agent does as PID 1. The workload of these guests runs what it is told to by a shell.</summary>
public sealed class GuestInitTests : IAsyncLifetime
{
    private readonly TestDaemon _daemon = new();
    private readonly string _plugin = Directory.CreateTempSubdirectory("vt-init-").FullName;

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    public async ValueTask InitializeAsync()
    {
        Directory.CreateDirectory(Path.Combine(_plugin, "www", "cgi-bin"));
        await File.WriteAllTextAsync(Path.Combine(_plugin, "run"), "#!/bin/busybox sh\nprintf 'Content-Type: text/plain\\r\\n\\r\\n'\n/bin/busybox sh 2>&1\n", Cancel);

        // Ends as it is told to: with a code, or by a signal.
        await File.WriteAllTextAsync(
            Path.Combine(_plugin, "serve"),
            "#!/bin/busybox sh\n/bin/busybox rm -f /tmp/end\n/bin/busybox httpd -f -p 127.0.0.1:8080 -h /www &\nwhile ! [ -s /tmp/end ]; do /bin/busybox sleep 0.05; done\n. /tmp/end\n",
            Cancel);
        foreach (var script in new[] { "run", "serve" })
        {
            File.SetUnixFileMode(Path.Combine(_plugin, script), (UnixFileMode)0b111_101_101);
        }

        await File.WriteAllTextAsync(
            Path.Combine(_plugin, "fledge.toml"),
            $"""
            version = "1"
            strategy = "initramfs"

            [agent]
            source_strategy = "local"
            path = "{Workspace.Program("kestrel")}"

            [mappings]
            "run" = "/www/cgi-bin/run"
            "serve" = "/bin/serve"
            """,
            Cancel);
        await File.WriteAllTextAsync(
            Path.Combine(_plugin, "manifest.toml"),
            """
            schema_version = "1.0"
            name = "shell"
            version = "1.0.0"
            runtime = "shell"

            [resources]
            cpu_cores = 1
            memory_mb = 128

            [workload]
            type = "http"
            entrypoint = ["/bin/serve"]
            base_url = "http://127.0.0.1:8080"

            [network]
            mode = "vsock"
            """,
            Cancel);
        var built = await Command.RunAsync([Workspace.Program("fledge"), "build", _plugin, "--output", _plugin + "/"]);
        Assert.True(built.ExitCode == 0, built.ToString());
        await _daemon.StartAsync();
        await _daemon.InstallAsync(Path.Combine(_plugin, "shell.manifest.json"));
    }

    [Fact]
    public async Task Orphans_are_reaped_exits_are_exact_and_the_agent_answers_throughout()
    {
        await _daemon.CreateReadyAsync("a", "shell");

        // Each grandchild outlives its parent and becomes PID 1's; two seconds of the guest later none is left.
        await RunAsync($"(for i in $(busybox seq {StandIn.Extent(250, 1000)}); do ( : & ); done; busybox sleep 2; busybox grep -l '^State:.Z' /proc/[0-9]*/status 2>/dev/null | busybox wc -l > /tmp/counted; busybox mv /tmp/counted /tmp/zombies) >/dev/null 2>&1 &");
        string zombies;
        var started = TimeProvider.System.GetTimestamp();
        while ((zombies = await RunAsync("busybox cat /tmp/zombies 2>/dev/null")).Length == 0)
        {
            Assert.True(TimeProvider.System.GetElapsedTime(started).TotalSeconds < 90, _daemon.Logs());
            await Task.Delay(TimeSpan.FromMilliseconds(200), TimeProvider.System, Cancel);
        }

        Assert.Equal("0", zombies.Trim());

        // The clock is the host's.
        var asked = TimeProvider.System.GetUtcNow().ToUnixTimeSeconds();
        var guestTime = long.Parse(await RunAsync("busybox date +%s"), CultureInfo.InvariantCulture);
        Assert.InRange(guestTime, asked - 1, TimeProvider.System.GetUtcNow().ToUnixTimeSeconds() + 1);

        var restarts = 0;
        foreach (var (end, code, signal) in new (string, int?, int?)[] { ("exit 0", 0, null), ("exit 1", 1, null), ("kill -SEGV $$", null, 11), ("kill -KILL $$", null, 9) })
        {
            await RunAsync($"echo '{end}' > /tmp/end");
            var after = await UntilAsync(state => state.Workload.Restarts >= restarts && (state.Workload.ExitCode, state.Workload.Signal) == (code, signal) && state.Workload.Status == "backoff");
            Assert.False(after.Ready);
            restarts++;
            await UntilAsync(state => state.Ready && state.Workload.Restarts == restarts);
        }
    }

    [Theory]
    [InlineData("echo c > /proc/sysrq-trigger", VmStatus.Crashed, "the guest's kernel panicked")]
    [InlineData("busybox reboot -f", VmStatus.Crashed, "the guest rebooted")]
    [InlineData("kill -INT 1", VmStatus.Crashed, "the guest rebooted")]
    [InlineData("busybox poweroff", VmStatus.Stopped, "the guest powered off")]
    public async Task An_end_from_inside_is_known_for_what_it_was(string command, VmStatus status, string reason)
    {
        await _daemon.CreateReadyAsync("a", "shell");

        // The command may end the guest before it is answered.
        using var sent = await _daemon.Client.PostAsync("/api/v1/vms/a/agent/cgi-bin/run", new StringContent($"({command}) & exit"), Cancel);

        var vm = await _daemon.UntilAsync("a", vm => vm.Status != VmStatus.Running);
        Assert.Equal(status, vm.Status);
        Assert.StartsWith(reason, vm.Exit!.Reason, StringComparison.Ordinal);
    }

    [Fact]
    public async Task The_serial_port_has_no_shell()
    {
        var vm = await _daemon.CreateReadyAsync("a", "shell");
        await using var serial = await ConnectAsync(vm.SerialSocket);

        await serial.WriteAsync(Encoding.ASCII.GetBytes("\r\nid\r\necho $((6*7))\r\n"), Cancel);
        await RunAsync("echo over > /dev/console");

        // Nobody answers; the terminal itself may echo what was typed.
        var log = Directory.GetFiles(_daemon.LogDirectory, "console.log", SearchOption.AllDirectories).Single();
        await UntilTextAsync(log, "over");
        var text = await File.ReadAllTextAsync(log, Cancel);
        Assert.DoesNotContain("uid=", text, StringComparison.Ordinal);
        Assert.DoesNotContain("42", text.Split('\n', StringSplitOptions.TrimEntries));

        // No process has a terminal: without one there is no shell that a person could use.
        Assert.Equal("0", (await RunAsync("busybox sed 's/.*) //' /proc/[0-9]*/stat 2>/dev/null | busybox awk '$5 != 0' | busybox wc -l")).Trim());
    }

    [Fact]
    public async Task A_guest_that_cannot_boot_is_a_crash_with_its_own_words()
    {
        using var created = await _daemon.PostAsync("/api/v1/vms", """{"name": "a", "plugin": "shell", "kernel_cmdline": "volant.boot=rootfs"}""");
        Assert.True(created.IsSuccessStatusCode, await created.Content.ReadAsStringAsync(Cancel));

        var vm = await _daemon.UntilAsync("a", vm => vm.Status == VmStatus.Crashed);

        Assert.Equal("the guest could not boot: The root device /dev/vda did not appear within 10 s; this guest's disks are: none.", vm.Exit!.Reason);
        Assert.Contains(vm.Exit.LastLines!, line => line.StartsWith("volant: boot failed: ", StringComparison.Ordinal));
    }

    public async ValueTask DisposeAsync()
    {
        await _daemon.DisposeAsync();
        Directory.Delete(_plugin, recursive: true);
    }

    /// <summary>Runs a script in the guest and returns what it wrote.</summary>
    private async Task<string> RunAsync(string script)
    {
        using var response = await _daemon.Client.PostAsync("/api/v1/vms/a/agent/cgi-bin/run", new StringContent(script), Cancel);
        var text = await response.Content.ReadAsStringAsync(Cancel);
        Assert.True(response.IsSuccessStatusCode, $"{script}: {(int)response.StatusCode} {text}\n{_daemon.Logs()}");
        return text;
    }

    private async Task<AgentState> UntilAsync(Func<AgentState, bool> wanted)
    {
        var started = TimeProvider.System.GetTimestamp();
        var revision = 0L;
        while (true)
        {
            var text = await _daemon.Client.GetStringAsync($"/api/v1/vms/a/agent/v1/agent/state?since={revision}&timeout_ms=5000", Cancel);
            var state = JsonSerializer.Deserialize(text, ContractsJson.Default.AgentState)!;
            if (wanted(state))
            {
                return state;
            }

            Assert.True(TimeProvider.System.GetElapsedTime(started).TotalSeconds < 60, $"{text}\n{_daemon.Logs()}");
            revision = state.Revision;
        }
    }

    private static async Task UntilTextAsync(string file, string text)
    {
        var started = TimeProvider.System.GetTimestamp();
        while (!(await File.ReadAllTextAsync(file, Cancel)).Contains(text, StringComparison.Ordinal))
        {
            Assert.True(TimeProvider.System.GetElapsedTime(started).TotalSeconds < 20, $"'{text}' never came to {file}");
            await Task.Delay(TimeSpan.FromMilliseconds(20), TimeProvider.System, Cancel);
        }
    }

    private static async Task<Stream> ConnectAsync(string path)
    {
        var socket = new System.Net.Sockets.Socket(System.Net.Sockets.AddressFamily.Unix, System.Net.Sockets.SocketType.Stream, System.Net.Sockets.ProtocolType.Unspecified);
        await socket.ConnectAsync(new System.Net.Sockets.UnixDomainSocketEndPoint(path), Cancel);
        return new System.Net.Sockets.NetworkStream(socket, ownsSocket: true);
    }
}
