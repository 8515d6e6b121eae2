using System.Net.Http.Headers;
using System.Text;
using System.Text.Json;
using System.Text.Json.Nodes;
using Volant.Contracts;
using Volant.Contracts.Api;
using Volant.EndToEnd.Component;

namespace Volant.EndToEnd;

/// <summary>A root image of the real distribution, made by <c>scripts/debian-root.sh</c>: its workload, its data over many starts (E01), its cloud-init (E09).</summary>
public sealed class DebianTests : IAsyncLifetime
{
    private const string Count = "n=$(cat /var/count 2>/dev/null || echo 0); echo $((n+1)) >/var/count; [ -e /var/data ] || { head -c 20000000 /dev/urandom >/var/data; sha256sum /var/data >/var/sum; }; sha256sum -c /var/sum && touch /run/ok; exec sleep infinity";

    /// <summary>What systemd would start, one stage after the other.</summary>
    private const string CloudInit = "cloud-init init --local; cloud-init init; cloud-init modules --mode=config; cloud-init modules --mode=final; touch /run/ok; exec sleep infinity";

    private const string UserData = """
        #cloud-config
        hostname: from-the-seed
        users:
          - name: pilot
            shell: /bin/bash
            ssh_authorized_keys: ["ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIDExampleExampleExampleExampleExampleExam pilot@test"]
        write_files:
          - path: /etc/marker
            content: "größe\n"
            permissions: "0640"
        """;

    private readonly string _namespace = $"vt-{Guid.NewGuid().ToString("N")[..8]}";
    private TestDaemon _daemon = null!;

    private static string Image => Path.Combine(Workspace.Root, ".cache", "debian", "root.img");

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    public async ValueTask InitializeAsync()
    {
        Assert.SkipUnless(File.Exists(Image), $"{Image} is missing: run scripts/debian-root.sh {Image}");
        Assert.SkipUnless(Environment.UserName == "root", "making network namespaces and taps needs root");
        var added = await Command.RunAsync(["ip", "netns", "add", _namespace]);
        Assert.SkipUnless(added.ExitCode == 0, $"this machine refuses network namespaces: {added.Error}");
        Leftovers.Add(this, RemoveNamespaceAsync);
        await Command.RunAsync(["ip", "-n", _namespace, "link", "set", "lo", "up"]);
        _daemon = new TestDaemon(prefix: ["ip", "netns", "exec", _namespace]);
        Directory.CreateDirectory(_daemon.ImageDirectory);
        File.CreateSymbolicLink(Path.Combine(_daemon.ImageDirectory, "debian.img"), Path.Combine(_daemon.ImageDirectory, "root.img"));
        await Command.RunAsync(["cp", "--sparse=always", "--reflink=auto", Image, Path.Combine(_daemon.ImageDirectory, "root.img")], TimeSpan.FromMinutes(3));
        await _daemon.StartAsync();
    }

    public async ValueTask DisposeAsync()
    {
        if (_daemon is not null)
        {
            await _daemon.DisposeAsync();
        }

        Leftovers.Forget(this);
        await RemoveNamespaceAsync();
    }

    [Fact]
    public async Task Its_data_is_intact_after_every_stop_and_start_and_its_file_system_is_clean()
    {
        await InstallAsync(Count);
        var vm = await _daemon.CreateReadyAsync("deb", "debian", """{"network": {"mode": "vsock"}}""");
        var cycles = StandIn.Extent(2, 10);
        for (var cycle = 2; cycle <= cycles + 1; cycle++)
        {
            await PostAsync("/api/v1/vms/deb/stop?grace_seconds=60");
            await PostAsync("/api/v1/vms/deb/start?wait=ready&timeout=150");
            Assert.Equal($"{cycle}\n", await RunAsync("cat", "/var/count"));
        }

        await PostAsync("/api/v1/vms/deb/stop?grace_seconds=60");
        Assert.Equal("stopped on request; the guest powered off", (await _daemon.FindAsync("deb"))!.Exit!.Reason);
        await RootImage.CheckAsync(Path.Combine(_daemon.Directory, "disks", vm.Uid.ToString("D"), "root.qcow2"), _daemon.Directory);
    }

    [Fact]
    public async Task Its_cloud_init_applies_host_name_user_key_files_and_network()
    {
        await InstallAsync(CloudInit);
        var config = new JsonObject { ["network"] = new JsonObject { ["mode"] = "bridged" }, ["cloud_init"] = new JsonObject { ["user_data"] = new JsonObject { ["inline"] = true, ["content"] = UserData } } };
        var vm = await _daemon.CreateReadyAsync("deb", "debian", config.ToJsonString());

        Assert.Equal("from-the-seed\n", await RunAsync("hostname"));
        Assert.StartsWith("pilot:x:1000:", await RunAsync("getent", "passwd", "pilot"), StringComparison.Ordinal);
        Assert.Contains("pilot@test", await RunAsync("cat", "/home/pilot/.ssh/authorized_keys"), StringComparison.Ordinal);
        Assert.Equal("größe\n", await RunAsync("cat", "/etc/marker"));
        Assert.Equal("640\n", await RunAsync("stat", "-c", "%a", "/etc/marker"));
        Assert.Equal(vm.Uid.ToString("D") + "\n", await RunAsync("cat", "/run/cloud-init/.instance-id"));
        Assert.Contains(vm.IpAddress, await RunAsync("cat", "/etc/network/interfaces.d/50-cloud-init"), StringComparison.Ordinal);
        Assert.Contains(vm.IpAddress, await RunAsync("ip", "-4", "addr", "show", "dev", "eth0"), StringComparison.Ordinal);
        Assert.Contains("\"datasource\": \"DataSourceNoCloud [seed=/dev/vdb]", await RunAsync("cat", "/run/cloud-init/result.json"), StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(512 << 10)]
    [InlineData(1)]
    public async Task What_is_no_text_reaches_it_byte_for_byte(int length)
    {
        await InstallAsync("mount -o ro LABEL=CIDATA /mnt && touch /run/ok; exec sleep infinity");
        var content = new byte[length];
        new Random(length).NextBytes(content);
        var config = $$$"""{"network": {"mode": "vsock"}, "cloud_init": {"user_data": {"content": "{{{Convert.ToBase64String(content)}}}", "encoding": "base64"} } }""";

        await _daemon.CreateReadyAsync("deb", "debian", config);

        Assert.Equal($"{Convert.ToHexStringLower(System.Security.Cryptography.SHA256.HashData(content))}  /mnt/user-data\n", await RunAsync("sha256sum", "/mnt/user-data"));
        Assert.Equal("meta-data\nuser-data\n", await RunAsync("ls", "/mnt"));
    }

    private async Task InstallAsync(string script)
    {
        var manifest = new JsonObject
        {
            ["schema_version"] = "1.0",
            ["name"] = "debian",
            ["version"] = "1",
            ["resources"] = new JsonObject { ["cpu_cores"] = 1, ["memory_mb"] = 512 },
            ["workload"] = new JsonObject { ["type"] = "process", ["entrypoint"] = new JsonArray("/bin/sh", "-c", script) },
            ["health_check"] = new JsonObject { ["command"] = new JsonArray("/usr/bin/test", "-e", "/run/ok"), ["timeout_ms"] = 10_000 },
            ["rootfs"] = new JsonObject { ["url"] = Path.Combine(_daemon.ImageDirectory, "debian.img") },
        };
        using var content = new StringContent(manifest.ToJsonString(), Encoding.UTF8, new MediaTypeHeaderValue("application/json"));
        using var response = await _daemon.Client.PostAsync("/api/v1/plugins", content, Cancel);
        Assert.True(response.IsSuccessStatusCode, await response.Content.ReadAsStringAsync(Cancel));
    }

    private async Task<string> RunAsync(params string[] command)
    {
        using var response = await _daemon.PostAsync("/api/v1/vms/deb/exec", JsonSerializer.Serialize(new ExecRequest { Command = command }, ContractsJson.Default.ExecRequest));
        var text = await response.Content.ReadAsStringAsync(Cancel);
        Assert.True(response.IsSuccessStatusCode, $"{text}\n{_daemon.Logs()}");
        var result = JsonSerializer.Deserialize(text, ContractsJson.Default.ExecResult)!;
        Assert.True(result.ExitCode == 0, $"{string.Join(' ', command)}: {result}\n{_daemon.Logs()}");
        return result.Stdout;
    }

    private async Task PostAsync(string path)
    {
        using var response = await _daemon.PostAsync(path);
        Assert.True(response.IsSuccessStatusCode, $"{path}: {await response.Content.ReadAsStringAsync(Cancel)}\n{_daemon.Logs()}");
    }

    private async Task RemoveNamespaceAsync() => await Command.RunAsync(["ip", "netns", "delete", _namespace]);
}
