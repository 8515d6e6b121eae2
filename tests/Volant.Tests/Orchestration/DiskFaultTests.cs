using System.Text;
using Volant.Contracts.Api;
using Volant.Contracts.Manifests;

namespace Volant.Tests.Orchestration;

/// <summary>The store fails at every write of every operation on a VM with a disk and a volume: what was written stays, and nothing is held by nobody.</summary>
public sealed class DiskFaultTests : IAsyncLifetime
{
    private const string Written = "written by the guest";

    private readonly OrchestratorFixture _host = new();

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    public static MatrixTheoryData<string, int> WritesOfOperations => new(["create", "start", "stop", "restart", "delete"], Enumerable.Range(1, 10));

    public async ValueTask InitializeAsync()
    {
        await File.WriteAllTextAsync(Path.Combine(_host.Root, "images", "root.img"), "a root image", Cancel);
        await _host.Plugins.InstallAsync(
            ManifestReader.Read(Encoding.UTF8.GetBytes($$"""
                { "schema_version": "1.0", "name": "hello", "version": "1", "resources": { "cpu_cores": 1, "memory_mb": 256 }, "network": { "mode": "vsock" },
                  "workload": { "type": "process", "entrypoint": ["/bin/x"] }, "rootfs": { "url": "{{_host.Root}}/images/root.img" }, "cloud_init": { "user_data": { "content": "x" } } }
                """)), Cancel);
        await _host.Volumes.CreateAsync(new CreateVolumeRequest { Name = "data", SizeMb = 1 }, Cancel);
    }

    public ValueTask DisposeAsync() => _host.DisposeAsync();

    [Theory]
    [MemberData(nameof(WritesOfOperations))]
    public async Task Whatever_the_store_does_a_disk_is_kept_with_its_VM_and_a_volume_is_free_without_it(string operation, int nth)
    {
        string? disk = null;
        if (operation != "create")
        {
            disk = _host.Launcher.Specs[(await CreateAsync()).Uid].Disks[0].Path;
            await File.AppendAllTextAsync(disk, Written, Cancel);
        }

        if (operation == "start")
        {
            await _host.Orchestrator.StopAsync("web", TimeSpan.Zero, Cancel);
        }

        _host.Database.FailAt(nth);
        await Record.ExceptionAsync(() => RunAsync(operation));
        _host.Database.FailAt(null);
        await _host.RestartAsync();

        if (_host.Store.FindVm("web") is { Deleting: false } vm)
        {
            await _host.Orchestrator.StopAsync("web", TimeSpan.Zero, Cancel);
            await _host.Volumes.ResizeAsync("data", new ResizeVolumeRequest { SizeMb = 2 }, Cancel);
            await _host.Orchestrator.StartAsync("web", Cancel);
            if (disk is not null)
            {
                Assert.Equal(disk, _host.Launcher.Specs[vm.Vm.Uid].Disks[0].Path);
                Assert.EndsWith(Written, await File.ReadAllTextAsync(disk, Cancel), StringComparison.Ordinal);
            }

            await _host.Orchestrator.DeleteAsync("web", Cancel);
        }

        while (_host.Store.AllVms().Count > 0)
        {
            await Task.Delay(TimeSpan.FromMilliseconds(20), TimeProvider.System, Cancel);
        }

        Assert.Empty(Directory.Exists(_host.Options.DiskDirectory) ? Directory.GetFileSystemEntries(_host.Options.DiskDirectory) : []);
        await _host.Volumes.DeleteAsync("data", Cancel);
        Assert.Empty(Directory.GetFiles(_host.Options.VolumeDirectory));
        _host.AssertNothingIsHeld();
    }

    private Task<Vm> CreateAsync() => _host.Orchestrator.CreateAsync(
        new CreateVmRequest { Name = "web", Plugin = "hello", Config = new VmConfig { Volumes = [new VolumeAttachment { Name = "data" }] } }, Cancel);

    private Task RunAsync(string operation) => operation switch
    {
        "create" => CreateAsync(),
        "start" => _host.Orchestrator.StartAsync("web", Cancel),
        "stop" => _host.Orchestrator.StopAsync("web", TimeSpan.Zero, Cancel),
        "restart" => _host.Orchestrator.RestartAsync("web", TimeSpan.Zero, Cancel),
        _ => _host.Orchestrator.DeleteAsync("web", Cancel),
    };
}
