using System.Net;
using System.Security.Cryptography;
using System.Text.Json;
using Volant.Contracts;
using Volant.Contracts.Api;
using Volant.Daemon.Artifacts;
using Volant.Linux.Processes;

namespace Volant.EndToEnd;

/// <summary>VMs that the daemon boots from root images and gives disks (E01, S16).</summary>
public sealed class VmDiskTests : IAsyncLifetime
{
    private readonly TestDaemon _daemon = new();

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    private string Image => Path.Combine(_daemon.ImageDirectory, "root.img");

    private string Blank => Path.Combine(_daemon.ImageDirectory, "blank.img");

    public async ValueTask InitializeAsync()
    {
        Directory.CreateDirectory(_daemon.ImageDirectory);
        await RootImage.MakeAsync(Image, Path.Combine(_daemon.Directory, "tree"));
        await using (var blank = File.Create(Blank))
        {
            blank.SetLength(1 << 20);
        }

        await _daemon.StartAsync();
    }

    public ValueTask DisposeAsync() => _daemon.DisposeAsync();

    [Fact]
    public async Task What_a_guest_wrote_outlives_stop_crash_and_a_kill_of_the_daemon_and_the_file_system_is_clean()
    {
        await InstallAsync();
        var vm = await _daemon.CreateReadyAsync("a", "rooted");
        Assert.Equal("root\n", await ReadAsync("/sys/block/vda/serial"));
        await _daemon.CreateReadyAsync("b", "rooted");
        await AgentAsync("a", HttpMethod.Post, "/write/kept");

        await PostAsync("/api/v1/vms/a/restart?wait=ready");
        Assert.Equal("written by the guest\n", await ReadAsync("/kept"));

        await AgentAsync("a", HttpMethod.Post, "/write/synced");
        Assert.Equal(0, (await ExecAsync("a", "/bin/busybox", "sync")).ExitCode);
        using (var hypervisor = PidFd.TryOpen(ProcessIdentity.Find((await _daemon.FindAsync("a"))!.Pid!.Value)!))
        {
            hypervisor!.Signal(9);
        }

        await _daemon.UntilAsync("a", state => state.Status == VmStatus.Crashed);
        await PostAsync("/api/v1/vms/a/start?wait=ready");
        Assert.Equal("written by the guest\n", await ReadAsync("/synced"));

        await _daemon.EndAsync(9);
        await _daemon.StartAsync();
        await _daemon.UntilAsync("a", state => state.Ready);
        Assert.Equal("written by the guest\n", await ReadAsync("/kept"));
        await PostAsync("/api/v1/vms/a/stop");
        await RootImage.CheckAsync(Overlay(vm), _daemon.Directory);
        Assert.Contains("power off", _daemon.Logs(), StringComparison.Ordinal);

        // The other VM on the same image saw nothing of it.
        Assert.Equal(1, (await ExecAsync("b", "/bin/busybox", "test", "-e", "/kept")).ExitCode);
        using (var deleted = await _daemon.Client.DeleteAsync("/api/v1/vms/a", Cancel))
        {
            Assert.Equal(HttpStatusCode.NoContent, deleted.StatusCode);
        }

        Assert.False(Directory.Exists(Path.GetDirectoryName(Overlay(vm))));
    }

    [Fact]
    public async Task Disks_are_found_where_the_manifest_says_and_a_guest_that_writes_an_image_header_gains_nothing()
    {
        await InstallAsync($$"""
            , "disks": [ {"name": "data", "source": "{{Blank}}", "target": "vdc"}, {"name": "tools", "source": "{{Image}}", "readonly": true} ]
            """);
        using (var made = await _daemon.PostAsync("/api/v1/volumes", """{"name": "vol", "size_mb": 2}"""))
        {
            Assert.Equal(HttpStatusCode.Created, made.StatusCode);
        }

        await _daemon.CreateReadyAsync("a", "rooted", """{"volumes": [{"name": "vol"}]}""");
        string[] devices = ["vda", "vdb", "vdc", "vdd"];
        Assert.Equal(["root\n", "tools\n", "data\n", "vol\n"], await Task.WhenAll(devices.Select(device => ReadAsync($"/sys/block/{device}/serial"))));
        Assert.Equal(["0\n", "1\n", "0\n", "0\n"], await Task.WhenAll(devices.Select(device => ReadAsync($"/sys/block/{device}/ro"))));

        var canary = Path.Combine(_daemon.Directory, "canary");
        await File.WriteAllTextAsync(canary, new string('c', 1 << 20), Cancel);
        var header = Path.Combine(_daemon.Directory, "header");
        Qcow2Image.CreateOverlay(header, canary, "raw", 1 << 20);
        var bytes = await File.ReadAllBytesAsync(header, Cancel);
        using (var put = await _daemon.Client.PutAsync("/api/v1/vms/a/files?path=/evil", new ByteArrayContent(bytes), Cancel))
        {
            Assert.True(put.IsSuccessStatusCode, await put.Content.ReadAsStringAsync(Cancel));
        }

        foreach (var device in new[] { "/dev/vdc", "/dev/vdd" })
        {
            Assert.Equal(0, (await ExecAsync("a", "/bin/busybox", "dd", "if=/evil", $"of={device}", "conv=fsync")).ExitCode);
        }

        await PostAsync("/api/v1/vms/a/restart?wait=ready");
        foreach (var device in new[] { "/dev/vdc", "/dev/vdd" })
        {
            var read = await ExecAsync("a", "/bin/busybox", "sh", "-c", $"/bin/busybox head -c {bytes.Length} {device} | /bin/busybox sha256sum");
            Assert.StartsWith(Convert.ToHexStringLower(SHA256.HashData(bytes)), read.Stdout, StringComparison.Ordinal);
        }

        Assert.Equal(new byte[1 << 20], await File.ReadAllBytesAsync(Blank, Cancel));
        using var taken = await _daemon.PostAsync("/api/v1/vms", """{"name": "b", "plugin": "rooted", "config": {"volumes": [{"name": "vol"}]}}""");
        Assert.Equal(ErrorCodes.VolumeInUse, (await _daemon.ProblemAsync(taken, 409)).Code);
    }

    private string Overlay(Vm vm) => Path.Combine(_daemon.Directory, "disks", vm.Uid.ToString("D"), "root.qcow2");

    private async Task InstallAsync(string more = "")
    {
        var path = Path.Combine(_daemon.Directory, "rooted.json");
        await File.WriteAllTextAsync(path, RootImage.Manifest(Image, more), Cancel);
        await _daemon.InstallAsync(path);
    }

    private Task<string> ReadAsync(string path) => AgentAsync("a", HttpMethod.Get, $"/read{path}");

    private async Task<string> AgentAsync(string vm, HttpMethod method, string path)
    {
        using var request = new HttpRequestMessage(method, $"/api/v1/vms/{vm}/agent{path}");
        using var response = await _daemon.Client.SendAsync(request, Cancel);
        var text = await response.Content.ReadAsStringAsync(Cancel);
        Assert.True(response.IsSuccessStatusCode, $"{method} {path}: {text}\n{_daemon.Logs()}");
        return text;
    }

    private async Task<ExecResult> ExecAsync(string vm, params string[] command)
    {
        using var response = await _daemon.PostAsync($"/api/v1/vms/{vm}/exec", JsonSerializer.Serialize(new ExecRequest { Command = command }, ContractsJson.Default.ExecRequest));
        var text = await response.Content.ReadAsStringAsync(Cancel);
        Assert.True(response.IsSuccessStatusCode, $"{text}\n{_daemon.Logs()}");
        return JsonSerializer.Deserialize(text, ContractsJson.Default.ExecResult)!;
    }

    private async Task PostAsync(string path)
    {
        using var response = await _daemon.PostAsync(path);
        Assert.True(response.IsSuccessStatusCode, $"{path}: {await response.Content.ReadAsStringAsync(Cancel)}\n{_daemon.Logs()}");
    }
}
