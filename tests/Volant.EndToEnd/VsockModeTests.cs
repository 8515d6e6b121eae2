using System.Net;
using System.Net.WebSockets;
using System.Text;
using Volant.Contracts.Api;

namespace Volant.EndToEnd;

/// <summary>One VM without Ethernet, from creation to deletion, through the guest channel.</summary>
public sealed class VsockModeTests(Workspace workspace) : IAsyncLifetime
{
    private readonly TestDaemon _daemon = new();

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    public async ValueTask InitializeAsync()
    {
        await _daemon.StartAsync();
        await _daemon.InstallAsync(workspace.ProbeManifest);
    }

    [Fact]
    public async Task A_vm_lives_through_create_stop_start_restart_and_delete()
    {
        var created = await _daemon.CreateReadyAsync("web");
        Assert.Equal(VmStatus.Running, created.Status);
        Assert.True(created.Ready);
        Assert.True(created.BootMs > 0);
        Assert.Equal(string.Empty, created.IpAddress);
        Assert.Equal("hello from web", await _daemon.Client.GetStringAsync("/api/v1/vms/web/agent/", Cancel));
        Assert.Contains("test-workload listens", await _daemon.Client.GetStringAsync("/api/v1/vms/web/logs", Cancel), StringComparison.Ordinal);

        using (var stopped = await _daemon.PostAsync("/api/v1/vms/web/stop"))
        {
            Assert.Equal(HttpStatusCode.OK, stopped.StatusCode);
        }

        var vm = (await _daemon.FindAsync("web"))!;
        Assert.Equal((VmStatus.Stopped, DesiredState.Stopped, false), (vm.Status, vm.Desired, vm.Ready));
        Assert.Equal("stopped on request; the guest powered off", vm.Exit!.Reason);
        Assert.Null(vm.Pid);
        Assert.Empty(_daemon.Hypervisors());
        using (var refused = await _daemon.Client.GetAsync("/api/v1/vms/web/agent/", Cancel))
        {
            Assert.Equal(ErrorCodes.VmNotRunning, (await _daemon.ProblemAsync(refused, 409)).Code);
        }

        using (var started = await _daemon.PostAsync("/api/v1/vms/web/start?wait=ready"))
        {
            Assert.True(started.IsSuccessStatusCode, _daemon.Logs());
        }

        var before = (await _daemon.FindAsync("web"))!;
        using (var restarted = await _daemon.PostAsync("/api/v1/vms/web/restart?wait=ready"))
        {
            Assert.True(restarted.IsSuccessStatusCode, _daemon.Logs());
        }

        Assert.NotEqual(before.Pid, (await _daemon.FindAsync("web"))!.Pid);
        using (var deleted = await _daemon.Client.DeleteAsync("/api/v1/vms/web", Cancel))
        {
            Assert.Equal(HttpStatusCode.NoContent, deleted.StatusCode);
        }

        Assert.Null(await _daemon.FindAsync("web"));
        Assert.Empty(_daemon.Hypervisors());
    }

    [Fact]
    public async Task Every_shape_of_http_passes_through_the_channel()
    {
        await _daemon.CreateReadyAsync("web");
        const string Agent = "/api/v1/vms/web/agent";

        var payload = new byte[3 << 20];
        new Random(1).NextBytes(payload);
        using (var echo = await _daemon.Client.PostAsync($"{Agent}/echo", new ByteArrayContent(payload), Cancel))
        {
            Assert.Equal(payload, await echo.Content.ReadAsByteArrayAsync(Cancel));
        }

        using (var chunked = new HttpRequestMessage(HttpMethod.Put, $"{Agent}/echo") { Content = new StreamContent(new MemoryStream(payload)) })
        {
            chunked.Headers.TransferEncodingChunked = true;
            using var echo = await _daemon.Client.SendAsync(chunked, Cancel);
            Assert.Equal(payload, await echo.Content.ReadAsByteArrayAsync(Cancel));
        }

        using (var request = new HttpRequestMessage(HttpMethod.Get, $"{Agent}/request/path?q=a%20b"))
        {
            request.Headers.Add("X-Volant-API-Key", "secret-key-1");
            request.Headers.Add("Authorization", "Bearer secret-key-2");
            request.Headers.Add("Cookie", "session=secret-key-3");
            request.Headers.Add("X-Custom", "kept");
            using var response = await _daemon.Client.SendAsync(request, Cancel);
            var seen = await response.Content.ReadAsStringAsync(Cancel);
            Assert.StartsWith("GET /request/path?q=a%20b HTTP/1.1", seen, StringComparison.Ordinal);
            Assert.Contains("X-Custom: kept", seen, StringComparison.OrdinalIgnoreCase);
            Assert.DoesNotContain("secret-key", seen, StringComparison.Ordinal);
        }

        using (var redirect = await _daemon.Client.GetAsync($"{Agent}/redirect", Cancel))
        {
            Assert.Equal(HttpStatusCode.Found, redirect.StatusCode);
            Assert.False(redirect.Headers.Contains("Set-Cookie"));
        }

        using (var garbage = await _daemon.Client.GetAsync($"{Agent}/garbage", Cancel))
        {
            Assert.Equal(HttpStatusCode.BadGateway, garbage.StatusCode);
        }

        using var head = await _daemon.Client.SendAsync(new HttpRequestMessage(HttpMethod.Head, $"{Agent}/"), Cancel);
        Assert.Equal(HttpStatusCode.OK, head.StatusCode);
        await ReadEventsAsync($"{Agent}/events/10");
        await EchoWebSocketAsync("web");
    }

    [Fact]
    public async Task A_stalled_stream_does_not_block_two_hundred_others()
    {
        await _daemon.CreateReadyAsync("web");
        const string Agent = "/api/v1/vms/web/agent";

        // A download that nobody reads, and an upload that never ends.
        using var stalled = await _daemon.Client.GetAsync($"{Agent}/bytes/500000000", HttpCompletionOption.ResponseHeadersRead, Cancel);
        var never = new TaskCompletionSource();
        using var upload = new HttpRequestMessage(HttpMethod.Post, $"{Agent}/echo") { Content = new StalledContent(never.Task) };
        var uploading = _daemon.Client.SendAsync(upload, HttpCompletionOption.ResponseHeadersRead, Cancel);

        var answers = await Task.WhenAll(Enumerable.Range(0, 200).Select(_ => _daemon.Client.GetStringAsync($"{Agent}/slow/300", Cancel)));

        Assert.All(answers, answer => Assert.Equal("slow", answer));
        never.SetException(new IOException("enough"));
        await Assert.ThrowsAnyAsync<Exception>(async () =>
        {
            using var response = await uploading;
            await response.Content.CopyToAsync(Stream.Null, Cancel);
        });
    }

    [Fact]
    public async Task Environment_values_reach_the_workload_and_no_command_line()
    {
        var secret = $"S3CR3T-{Guid.NewGuid():N}";
        var path = Path.Combine(_daemon.Directory, "secret.json");
        await File.WriteAllTextAsync(path, await workspace.ManifestAsync(manifest =>
        {
            manifest["name"] = "secret";
            manifest["workload"]!["env"] = new System.Text.Json.Nodes.JsonObject { ["TOKEN"] = secret, ["LONG"] = new string('x', 5000) };
        }), Cancel);
        await _daemon.InstallAsync(path);
        var vm = await _daemon.CreateReadyAsync("web", "secret");

        Assert.Equal(secret, await _daemon.Client.GetStringAsync("/api/v1/vms/web/agent/env/TOKEN", Cancel));
        Assert.Equal(5000, (await _daemon.Client.GetStringAsync("/api/v1/vms/web/agent/env/LONG", Cancel)).Length);
        Assert.DoesNotContain(secret, await File.ReadAllTextAsync($"/proc/{vm.Pid}/cmdline", Cancel), StringComparison.Ordinal);
        Assert.DoesNotContain(secret, await File.ReadAllTextAsync($"/proc/{vm.Pid}/environ", Cancel), StringComparison.Ordinal);
        Assert.DoesNotContain(secret, _daemon.Logs(), StringComparison.Ordinal);
    }

    [Fact]
    public async Task Concurrent_starts_launch_once()
    {
        await _daemon.CreateReadyAsync("web");
        using (await _daemon.PostAsync("/api/v1/vms/web/stop?grace_seconds=0"))
        {
        }

        var answers = await Task.WhenAll(Enumerable.Range(0, 8).Select(_ => _daemon.PostAsync("/api/v1/vms/web/start")));

        Assert.All(answers, answer => Assert.Equal(HttpStatusCode.OK, answer.StatusCode));
        Assert.Single(_daemon.Hypervisors());
    }

    [Fact]
    public async Task No_root_is_needed()
    {
        const string Nobody = "65534";
        Assert.SkipUnless(Environment.UserName == "root", "the other tests run without root here");
        await using var daemon = new TestDaemon(prefix: ["setpriv", $"--reuid={Nobody}", $"--regid={Nobody}", "--clear-groups", "--no-new-privs", "--bounding-set=-all"]);
        var owned = await Command.RunAsync(["chown", Nobody, daemon.Directory]);
        Assert.True(owned.ExitCode == 0, owned.ToString());
        await daemon.StartAsync();
        await daemon.InstallAsync(workspace.ProbeManifest);

        var vm = await daemon.CreateReadyAsync("web");

        Assert.Contains($"Uid:\t{Nobody}\t{Nobody}", await File.ReadAllTextAsync($"/proc/{vm.Pid}/status", Cancel), StringComparison.Ordinal);
        Assert.Equal("hello from web", await daemon.Client.GetStringAsync("/api/v1/vms/web/agent/", Cancel));
        using var bridged = await daemon.PostAsync("/api/v1/vms", """{"name": "b", "plugin": "probe", "config": {"network": {"mode": "bridged"}}}""");
        Assert.Equal(ErrorCodes.NetworkUnavailable, (await daemon.ProblemAsync(bridged, 503)).Code);
    }

    public ValueTask DisposeAsync() => _daemon.DisposeAsync();

    private async Task ReadEventsAsync(string path)
    {
        using var response = await _daemon.Client.GetAsync(path, HttpCompletionOption.ResponseHeadersRead, Cancel);
        using var reader = new StreamReader(await response.Content.ReadAsStreamAsync(Cancel));
        Assert.Equal("text/event-stream", response.Content.Headers.ContentType!.MediaType);
        Assert.Equal("id: 0", await reader.ReadLineAsync(Cancel));
        Assert.Contains("data: event 9", await reader.ReadToEndAsync(Cancel), StringComparison.Ordinal);
    }

    private async Task EchoWebSocketAsync(string name)
    {
        using var socket = new ClientWebSocket();
        using var invoker = new HttpMessageInvoker(new SocketsHttpHandler { ConnectCallback = (_, cancellationToken) => _daemon.ConnectAsync(cancellationToken) });
        await socket.ConnectAsync(new Uri($"ws://localhost/api/v1/vms/{name}/agent/ws"), invoker, Cancel);
        var buffer = new byte[128];
        for (var i = 0; i < 20; i++)
        {
            await socket.SendAsync(Encoding.UTF8.GetBytes($"message {i}"), WebSocketMessageType.Text, endOfMessage: true, Cancel);
            var received = await socket.ReceiveAsync(buffer, Cancel);
            Assert.Equal($"message {i}", Encoding.UTF8.GetString(buffer, 0, received.Count));
        }

        await socket.CloseAsync(WebSocketCloseStatus.NormalClosure, null, Cancel);
    }

    private sealed class StalledContent(Task until) : HttpContent
    {
        protected override async Task SerializeToStreamAsync(Stream stream, TransportContext? context)
        {
            await stream.WriteAsync("5\r\nhello\r\n"u8.ToArray());
            await stream.FlushAsync();
            await until;
        }

        protected override bool TryComputeLength(out long length)
        {
            length = 0;
            return false;
        }
    }
}
