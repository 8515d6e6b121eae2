using System.Security.Cryptography;
using System.Text;
using System.Text.Json;
using Volant.Contracts;
using Volant.Contracts.Api;
using Volant.Contracts.Boot;
using Volant.Contracts.Manifests;
using Volant.Daemon;
using Volant.Daemon.Artifacts;
using Volant.Daemon.Hypervisors;

namespace Volant.Tests.Orchestration;

/// <summary>Disks of VMs: made once, kept as long as the VM, and never shared for writing.</summary>
public sealed class DiskTests : IAsyncLifetime
{
    private readonly OrchestratorFixture _host = new();

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    private string Image => Path.Combine(_host.Root, "images", "root.img");

    public async ValueTask InitializeAsync()
    {
        await File.WriteAllTextAsync(Image, "the content of the root image", Cancel);
        await InstallAsync($$"""  "rootfs": { "url": "{{Image}}" } """);
    }

    public async ValueTask DisposeAsync()
    {
        foreach (var vm in _host.Store.AllVms())
        {
            await _host.Orchestrator.DeleteAsync(vm.Name, Cancel);
        }

        Assert.Empty(Entries(_host.Options.DiskDirectory));
        await _host.DisposeAsync();
    }

    [Fact]
    public async Task A_root_disk_is_an_overlay_on_the_image_and_kept_until_the_VM_is_deleted()
    {
        var vm = await CreateAsync("a");
        var disk = Assert.Single(Spec(vm).Disks);
        Assert.Equal(("qcow2", false, "root", "raw"), (disk.Format, disk.ReadOnly, disk.Serial, disk.Backing!.Format));
        Assert.Equal("the content of the root image", await File.ReadAllTextAsync(disk.Backing.Path, Cancel));
        Assert.Contains("volant.rootfs_device=vda", Spec(vm).KernelArguments, StringComparison.Ordinal);
        await File.AppendAllTextAsync(disk.Path, "written by the guest", Cancel);
        var written = await HashAsync(disk.Path);

        await _host.Orchestrator.StopAsync("a", TimeSpan.Zero, Cancel);
        await _host.Orchestrator.StartAsync("a", Cancel);
        Assert.Equal(written, await HashAsync(disk.Path));
        await _host.Launcher.KillAsync(vm.Uid);
        await UntilAsync(() => _host.Store.FindVm("a")!.Vm.Status == VmStatus.Crashed);
        await _host.RestartAsync();
        await _host.Orchestrator.StartAsync("a", Cancel);

        Assert.Equal(written, await HashAsync(disk.Path));
        Assert.Equal(disk, Assert.Single(Spec(vm).Disks));
        await _host.Orchestrator.DeleteAsync("a", Cancel);
        Assert.Empty(Entries(_host.Options.DiskDirectory));
        Assert.True(File.Exists(disk.Backing.Path));
    }

    [Fact]
    public async Task A_start_reads_no_image_again_and_an_image_that_changes_changes_no_disk()
    {
        var vm = await CreateAsync("a");
        var before = Spec(vm).Disks;
        await _host.Orchestrator.StopAsync("a", TimeSpan.Zero, Cancel);
        await File.WriteAllTextAsync(Image, "another image", Cancel);
        await InstallAsync($$"""  "rootfs": { "url": "{{Image}}", "checksum": "{{new string('0', 64)}}" } """);

        await _host.Orchestrator.StartAsync("a", Cancel);

        Assert.Equal(before, Spec(vm).Disks);
    }

    [Fact]
    public async Task A_disk_that_is_gone_is_told_and_not_made_again()
    {
        var vm = await CreateAsync("a");
        await _host.Orchestrator.StopAsync("a", TimeSpan.Zero, Cancel);
        File.Delete(Spec(vm).Disks[0].Path);

        var failure = await Assert.ThrowsAsync<VolantException>(() => _host.Orchestrator.StartAsync("a", Cancel));

        Assert.Equal(ErrorCodes.DiskMissing, failure.Code);
        Assert.False(File.Exists(Spec(vm).Disks[0].Path));
    }

    [Fact]
    public async Task An_image_that_is_gone_is_told_and_the_disk_is_kept()
    {
        var vm = await CreateAsync("a");
        await _host.Orchestrator.StopAsync("a", TimeSpan.Zero, Cancel);
        File.Delete(Spec(vm).Disks[0].Backing!.Path);

        var failure = await Assert.ThrowsAsync<VolantException>(() => _host.Orchestrator.StartAsync("a", Cancel));

        Assert.Equal(ErrorCodes.ArtifactNotFound, failure.Code);
        Assert.True(File.Exists(Spec(vm).Disks[0].Path));
    }

    [Fact]
    public async Task A_first_launch_that_fails_leaves_no_disk_and_a_later_one_keeps_it()
    {
        _host.Launcher.FailBefore = new VolantException(ErrorCodes.HypervisorUnavailable, "No such program.");
        await Assert.ThrowsAsync<VolantException>(() => CreateAsync("a"));
        Assert.Empty(Entries(_host.Options.DiskDirectory));

        _host.Launcher.FailBefore = null;
        var vm = await CreateAsync("a");
        await _host.Orchestrator.StopAsync("a", TimeSpan.Zero, Cancel);
        _host.Launcher.FailBefore = new VolantException(ErrorCodes.HypervisorUnavailable, "No such program.");
        await Assert.ThrowsAsync<VolantException>(() => _host.Orchestrator.StartAsync("a", Cancel));

        Assert.True(File.Exists(Spec(vm).Disks[0].Path));
    }

    [Fact]
    public async Task What_an_attempt_left_that_was_never_launched_is_made_anew()
    {
        await InstallAsync($$"""  "initramfs": { "url": "{{_host.Root}}/images/initramfs" } """);
        var vm = await CreateAsync("a");
        await _host.Orchestrator.StopAsync("a", TimeSpan.Zero, Cancel);
        await InstallAsync($$"""  "rootfs": { "url": "{{Image}}" } """);
        var half = Path.Combine(Directory.CreateDirectory(Path.Combine(_host.Options.DiskDirectory, vm.Uid.ToString("D"))).FullName, "root.qcow2");
        await File.WriteAllTextAsync(half, "half", Cancel);

        await _host.Orchestrator.StartAsync("a", Cancel);

        Assert.True(new FileInfo(half).Length > 4);
    }

    [Fact]
    public async Task Disks_stand_where_they_want_to_and_no_two_VMs_write_to_one_file()
    {
        await InstallAsync($$"""
            "rootfs": { "url": "{{Image}}" },
            "disks": [ { "name": "data", "source": "{{Image}}", "readonly": false }, { "name": "tools", "source": "{{Image}}", "readonly": true, "target": "vdb" } ]
            """);
        var (a, b) = (await CreateAsync("a"), await CreateAsync("b"));

        Assert.Equal(["root", "tools", "data"], Spec(a).Disks.Select(disk => disk.Serial));
        Assert.Equal([false, true, false], Spec(a).Disks.Select(disk => disk.ReadOnly));
        Assert.Equal(["qcow2", "raw", "qcow2"], Spec(a).Disks.Select(disk => disk.Format));
        var shared = Spec(a).Disks.Select(disk => disk.Path).Intersect(Spec(b).Disks.Select(disk => disk.Path), StringComparer.Ordinal).ToArray();
        Assert.Equal([Spec(a).Disks[1].Path], shared);
    }

    [Theory]
    [InlineData("\"target\": \"vdd\"", "config.manifest.disks[0].target", "must be one of vda to vdb")]
    [InlineData("\"target\": \"vda\"", "config.manifest.disks[0].target", "is the device of disk 'root'")]
    public async Task A_device_that_no_disk_can_have_is_named(string member, string path, string words)
    {
        await InstallAsync($$"""  "rootfs": { "url": "{{Image}}" }, "disks": [ { "name": "data", "source": "{{Image}}", {{member}} } ] """);

        var failure = await Assert.ThrowsAsync<VolantException>(() => CreateAsync("a"));

        Assert.Equal((ErrorCodes.InvalidRequest, path), (failure.Code, Assert.Single(failure.Fields).Path));
        Assert.Contains(words, failure.Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("raw", "a qcow2 image")]
    [InlineData("qcow2", "backing file")]
    public async Task An_image_that_would_read_a_file_of_the_host_is_refused(string format, string words)
    {
        Qcow2Image.CreateOverlay(Path.Combine(_host.Root, "images", "evil"), "/etc/passwd", "raw", 1 << 20);
        await InstallAsync($$"""  "rootfs": { "url": "{{_host.Root}}/images/evil", "format": "{{format}}" } """);

        var failure = await Assert.ThrowsAsync<VolantException>(() => CreateAsync("a"));

        Assert.Equal(ErrorCodes.InvalidMedia, failure.Code);
        Assert.Contains(words, failure.Message, StringComparison.Ordinal);
        Assert.Empty(_host.Store.AllVms());
    }

    [Fact]
    public async Task Disks_that_no_VM_of_the_database_has_are_left_alone()
    {
        var foreign = Directory.CreateDirectory(Path.Combine(_host.Options.DiskDirectory, Guid.NewGuid().ToString("D"))).FullName;
        await File.WriteAllTextAsync(Path.Combine(foreign, "root.qcow2"), "of a VM that a restored database forgot", Cancel);

        await _host.RestartAsync();
        _host.Clock.Advance(TimeSpan.FromMinutes(2));
        await CreateAsync("a");

        Assert.True(File.Exists(Path.Combine(foreign, "root.qcow2")));
        Directory.Delete(foreign, recursive: true);
    }

    [Fact]
    public async Task What_a_disk_lies_on_is_kept_and_what_nobody_names_or_uses_is_removed_in_time()
    {
        var vm = await CreateAsync("a");
        await _host.Orchestrator.StopAsync("a", TimeSpan.Zero, Cancel);
        var named = await AddAsync("named by a plugin");
        var unused = await AddAsync("named by nothing");
        await InstallAsync($$"""  "rootfs": { "url": "volant://sha256/{{Path.GetFileName(named).ToUpperInvariant()}}" } """);

        await _host.Collector.CollectAsync();
        Assert.True(File.Exists(unused));
        _host.Clock.Advance(_host.Options.KeepArtifacts + TimeSpan.FromMinutes(1));
        await _host.Collector.CollectAsync();

        Assert.False(File.Exists(unused));
        Assert.True(File.Exists(named));
        Assert.True(File.Exists(Spec(vm).Disks[0].Backing!.Path));
        await _host.Orchestrator.StartAsync("a", Cancel);

        async Task<string> AddAsync(string text)
        {
            using var content = new MemoryStream(Encoding.UTF8.GetBytes(text));
            return _host.Cache.PathOf((await _host.Cache.AddAsync(content, null, Cancel)).Sha256);
        }
    }

    [Fact]
    public async Task A_seed_is_rebuilt_at_every_start_goes_with_its_configuration_and_its_secrets_stand_nowhere_else()
    {
        await InstallAsync($$"""  "rootfs": { "url": "{{Image}}" }, "cloud_init": { "datasource": "nocloud", "user_data": { "inline": true, "content": "#cloud-config of the manifest" } } """);
        var vm = await CreateAsync("a");
        var seed = Spec(vm).Disks[^1];
        Assert.Equal(("cidata", "raw", true, Path.Combine(_host.Options.DiskDirectory, vm.Uid.ToString("D"), "seed.img")), (seed.Serial, seed.Format, seed.ReadOnly, seed.Path));
        Assert.Equal(UnixFileMode.UserRead | UnixFileMode.UserWrite, File.GetUnixFileMode(seed.Path));
        Assert.Contains("of the manifest", await File.ReadAllTextAsync(seed.Path, Cancel), StringComparison.Ordinal);
        Assert.Contains($"instance-id: {vm.Uid:D}\nlocal-hostname: a\n", await File.ReadAllTextAsync(seed.Path, Cancel), StringComparison.Ordinal);
        var manifest = KernelCommandLine.Parse(Spec(vm).KernelArguments)[BootKeys.Manifest];
        Assert.Null(ManifestCodec.Decode(manifest).CloudInit);

        await ConfigureAsync(new CloudInit { UserData = new CloudInitDocument { Content = "#cloud-config of the configuration" } });
        Assert.Contains("of the configuration", await File.ReadAllTextAsync(seed.Path, Cancel), StringComparison.Ordinal);
        await InstallAsync($$"""  "rootfs": { "url": "{{Image}}" } """);
        await ConfigureAsync(null);

        Assert.False(File.Exists(seed.Path));
        Assert.DoesNotContain(Spec(vm).Disks, disk => disk.Serial == "cidata");

        async Task ConfigureAsync(CloudInit? documents)
        {
            await _host.Orchestrator.StopAsync("a", TimeSpan.Zero, Cancel);
            await _host.Orchestrator.ChangeConfigAsync("a", _ => true, config => config with { CloudInit = documents }, Cancel);
            await _host.Orchestrator.StartAsync("a", Cancel);
        }
    }

    [Theory]
    [InlineData("{ \"user_data\": { \"path\": \"/etc/passwd\" } }", "config.cloud_init.user_data.path")]
    [InlineData("{ \"user_data\": { \"content\": \"a\", \"path\": \"b\" } }", "config.cloud_init.user_data")]
    [InlineData("{ \"user_data\": { } }", "config.cloud_init.user_data")]
    [InlineData("{ \"meta_data\": { \"content\": \"*\", \"encoding\": \"base64\" } }", "config.cloud_init.meta_data.content")]
    [InlineData("{ \"datasource\": \"EC2\" }", "config.cloud_init.datasource")]
    public async Task Documents_that_cannot_be_written_are_named(string documents, string path)
    {
        var config = JsonSerializer.Deserialize($$"""{ "cloud_init": {{documents}} }""", ContractsJson.Strict.VmConfig)!;

        var failure = await Assert.ThrowsAsync<VolantException>(() => _host.Orchestrator.CreateAsync(new CreateVmRequest { Name = "a", Plugin = "hello", Config = config }, Cancel));

        Assert.Equal((ErrorCodes.InvalidRequest, path), (failure.Code, Assert.Single(failure.Fields).Path));
    }

    [Fact]
    public async Task Another_root_image_is_refused_once_the_disk_is_made()
    {
        await CreateAsync("a");

        var failure = await Assert.ThrowsAsync<VolantException>(() =>
            _host.Orchestrator.ChangeConfigAsync("a", _ => true, config => config with { Rootfs = new RootfsMedia { Url = "/another" } }, Cancel));

        Assert.Equal((ErrorCodes.Unsupported, "config.rootfs"), (failure.Code, Assert.Single(failure.Fields).Path));
        await _host.Orchestrator.ChangeConfigAsync("a", _ => true, config => config with { KernelCmdline = "quiet" }, Cancel);
    }

    private Task InstallAsync(string media) => _host.Plugins.InstallAsync(
        ManifestReader.Read(Encoding.UTF8.GetBytes($$"""
            { "schema_version": "1.0", "name": "hello", "version": "1", "resources": { "cpu_cores": 1, "memory_mb": 256 }, "network": { "mode": "vsock" },
              "workload": { "type": "http", "entrypoint": ["/bin/x"], "base_url": "http://127.0.0.1:8080" }, {{media}} }
            """)), Cancel);

    private Task<Vm> CreateAsync(string name) => _host.Orchestrator.CreateAsync(new CreateVmRequest { Name = name, Plugin = "hello" }, Cancel);

    private LaunchSpec Spec(Vm vm) => _host.Launcher.Specs[vm.Uid];

    private static async Task<string> HashAsync(string path) => Convert.ToHexString(SHA256.HashData(await File.ReadAllBytesAsync(path, Cancel)));

    private static string[] Entries(string directory) => Directory.Exists(directory) ? Directory.GetFileSystemEntries(directory) : [];

    private static async Task UntilAsync(Func<bool> condition)
    {
        while (!condition())
        {
            await Task.Delay(TimeSpan.FromMilliseconds(20), TimeProvider.System, Cancel);
        }
    }
}
