using Volant.Contracts.Api;
using Volant.Daemon;

namespace Volant.Tests.Orchestration;

/// <summary>Volumes outlive VMs; many VMs read one, or one writes to it.</summary>
public sealed class VolumeTests : IAsyncLifetime
{
    private readonly OrchestratorFixture _host = new();

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    public ValueTask InitializeAsync() => new(_host.InstallAsync("vsock"));

    public async ValueTask DisposeAsync()
    {
        foreach (var vm in _host.Store.AllVms())
        {
            await _host.Orchestrator.DeleteAsync(vm.Name, Cancel);
        }

        await _host.DisposeAsync();
    }

    [Fact]
    public async Task A_volume_is_a_file_of_its_size_and_goes_with_its_deletion()
    {
        var volume = await MakeAsync("data", 8);
        var file = Assert.Single(Files());
        Assert.Equal(8 << 20, new FileInfo(file).Length);

        // Hypervisors of other users read it; nobody else gets as far.
        Assert.Equal((UnixFileMode)0b110_100_100, File.GetUnixFileMode(file));
        Assert.Equal((UnixFileMode)0b111_000_000, File.GetUnixFileMode(Path.GetDirectoryName(file)!));
        Assert.Equal(volume, Assert.Single(_host.Store.ListVolumes()) with { AttachedTo = volume.AttachedTo });
        Assert.Equal(ErrorCodes.VolumeExists, (await FailAsync(() => MakeAsync("data", 1))).Code);

        await _host.Volumes.DeleteAsync("data", Cancel);

        Assert.Empty(Files());
        Assert.Equal(ErrorCodes.VolumeNotFound, (await FailAsync(() => _host.Volumes.DeleteAsync("data", Cancel))).Code);
    }

    [Fact]
    public async Task What_was_written_is_kept_over_every_VM_that_had_it()
    {
        await MakeAsync("data", 1);
        var vm = await CreateAsync("a", new VolumeAttachment { Name = "data" });
        var disk = Assert.Single(_host.Launcher.Specs[vm.Uid].Disks);
        Assert.Equal(("raw", false, "data"), (disk.Format, disk.ReadOnly, disk.Serial));
        Assert.Null(disk.Backing);
        await WriteAsync(disk.Path, "written");

        await _host.Orchestrator.DeleteAsync("a", Cancel);
        var next = await CreateAsync("b", new VolumeAttachment { Name = "data", Readonly = true });

        Assert.True(Assert.Single(_host.Launcher.Specs[next.Uid].Disks).ReadOnly);
        Assert.StartsWith("written", await File.ReadAllTextAsync(disk.Path, Cancel), StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(false, false)]
    [InlineData(false, true)]
    [InlineData(true, false)]
    public async Task Two_VMs_never_have_a_volume_that_one_writes_to(bool firstReads, bool secondReads)
    {
        await MakeAsync("data", 1);
        await CreateAsync("a", new VolumeAttachment { Name = "data", Readonly = firstReads });

        var failure = await FailAsync(() => CreateAsync("b", new VolumeAttachment { Name = "data", Readonly = secondReads }));

        Assert.Equal(ErrorCodes.VolumeInUse, failure.Code);
        Assert.Contains("VM 'a'", failure.Message, StringComparison.Ordinal);
        Assert.Null(_host.Store.FindVm("b"));
        await _host.Orchestrator.StopAsync("a", TimeSpan.Zero, Cancel);
        await CreateAsync("b", new VolumeAttachment { Name = "data", Readonly = secondReads });
        Assert.Equal(ErrorCodes.VolumeInUse, (await FailAsync(() => _host.Orchestrator.StartAsync("a", Cancel))).Code);
    }

    [Fact]
    public async Task Of_twenty_VMs_that_want_to_write_at_once_one_does_and_twenty_may_read()
    {
        await MakeAsync("data", 1);
        var outcomes = await Task.WhenAll(Enumerable.Range(0, 20).Select(async i =>
        {
            try
            {
                await CreateAsync($"w{i}", new VolumeAttachment { Name = "data" });
                return true;
            }
            catch (VolantException e) when (e.Code == ErrorCodes.VolumeInUse)
            {
                return false;
            }
        }));
        Assert.Single(outcomes, won => won);
        await _host.Orchestrator.DeleteAsync(_host.Store.AllVms()[0].Name, Cancel);

        await Task.WhenAll(Enumerable.Range(0, 20).Select(i => CreateAsync($"r{i}", new VolumeAttachment { Name = "data", Readonly = true })));

        Assert.Equal(20, _host.Store.GetVolume("data").AttachedTo.Count);
    }

    [Fact]
    public async Task It_is_not_deleted_while_a_configuration_names_it_and_detached_by_one_that_does_not()
    {
        await MakeAsync("data", 1);
        await CreateAsync("a", new VolumeAttachment { Name = "data" });
        await _host.Orchestrator.StopAsync("a", TimeSpan.Zero, Cancel);
        Assert.Equal(["a"], _host.Store.GetVolume("data").AttachedTo);
        var failure = await FailAsync(() => _host.Volumes.DeleteAsync("data", Cancel));
        Assert.Equal(ErrorCodes.VolumeInUse, failure.Code);

        await _host.Orchestrator.ChangeConfigAsync("a", _ => true, config => config with { Volumes = null }, Cancel);

        await _host.Volumes.DeleteAsync("data", Cancel);
        Assert.Empty(Files());
        var unknown = await FailAsync(() => _host.Orchestrator.ChangeConfigAsync("a", _ => true, config => config with { Volumes = [new VolumeAttachment { Name = "data" }] }, Cancel));
        Assert.Equal(ErrorCodes.VolumeNotFound, unknown.Code);
    }

    [Fact]
    public async Task It_is_not_deleted_while_a_run_has_it_that_began_before_it_was_detached()
    {
        await MakeAsync("data", 1);
        await CreateAsync("a", new VolumeAttachment { Name = "data" });
        await _host.Orchestrator.ChangeConfigAsync("a", _ => true, config => config with { Volumes = null }, Cancel);

        Assert.Equal(ErrorCodes.VolumeInUse, (await FailAsync(() => _host.Volumes.DeleteAsync("data", Cancel))).Code);
        await _host.Orchestrator.StopAsync("a", TimeSpan.Zero, Cancel);
        await _host.Volumes.DeleteAsync("data", Cancel);
    }

    [Fact]
    public async Task It_grows_while_no_run_has_it_and_never_shrinks()
    {
        await MakeAsync("data", 2);
        await WriteAsync(Files()[0], "written");
        await CreateAsync("a", new VolumeAttachment { Name = "data" });
        Assert.Equal(ErrorCodes.VolumeInUse, (await FailAsync(() => ResizeAsync(4))).Code);
        await _host.Orchestrator.StopAsync("a", TimeSpan.Zero, Cancel);

        Assert.Equal(4, (await ResizeAsync(4)).SizeMb);

        Assert.Equal(4 << 20, new FileInfo(Files()[0]).Length);
        Assert.StartsWith("written", await File.ReadAllTextAsync(Files()[0], Cancel), StringComparison.Ordinal);
        Assert.Equal(ErrorCodes.Unsupported, (await FailAsync(() => ResizeAsync(3))).Code);
        Assert.Equal(ErrorCodes.InvalidRequest, (await FailAsync(() => ResizeAsync(0))).Code);
    }

    [Fact]
    public async Task A_file_that_is_gone_is_told_and_not_made_again()
    {
        await MakeAsync("data", 1);
        File.Delete(Files()[0]);

        Assert.Equal(ErrorCodes.DiskMissing, (await FailAsync(() => CreateAsync("a", new VolumeAttachment { Name = "data" }))).Code);

        Assert.Empty(Files());
        Assert.Empty(_host.Store.AllVms());
    }

    [Fact]
    public async Task What_a_daemon_did_not_finish_is_finished_by_the_next_and_leases_of_the_dead_are_released()
    {
        await MakeAsync("data", 1);
        var vm = await CreateAsync("a", new VolumeAttachment { Name = "data" });
        var unfinished = Guid.NewGuid();
        await _host.Store.InsertVolumeAsync("half", unfinished, 1, Cancel);
        await File.WriteAllTextAsync(Path.Combine(_host.Options.VolumeDirectory, $"{unfinished:D}.raw"), "half", Cancel);
        await _host.Launcher.KillAsync(vm.Uid);

        await _host.RestartAsync();

        Assert.Equal(["data"], _host.Store.ListVolumes().Select(volume => volume.Name));
        Assert.Single(Files());
        await CreateAsync("b", new VolumeAttachment { Name = "data" });
    }

    [Fact]
    public async Task Every_store_failure_of_a_creation_leaves_no_file()
    {
        for (var step = 1; step <= 2; step++)
        {
            _host.Database.FailAt(step);
            await Assert.ThrowsAsync<VolantException>(() => MakeAsync("data", 1));
            _host.Database.FailAt(null);
            await _host.Volumes.RecoverAsync();
            Assert.Empty(Files());
            Assert.Empty(_host.Store.ListVolumes());
        }
    }

    [Theory]
    [InlineData("Data", 1, "name")]
    [InlineData("root", 1, "name")]
    [InlineData("a-name-of-21-letters-", 1, "name")]
    [InlineData("abcdefghijklmnopqrstu", 1, "name")]
    [InlineData("../data", 1, "name")]
    [InlineData("data", 0, "size_mb")]
    [InlineData("data", int.MaxValue, "size_mb")]
    public async Task A_request_that_breaks_a_rule_is_refused(string name, int size, string path) =>
        Assert.Equal(path, Assert.Single((await FailAsync(() => MakeAsync(name, size))).Fields).Path);

    private Task<Volume> MakeAsync(string name, int size) => _host.Volumes.CreateAsync(new CreateVolumeRequest { Name = name, SizeMb = size }, Cancel);

    private Task<Volume> ResizeAsync(int size) => _host.Volumes.ResizeAsync("data", new ResizeVolumeRequest { SizeMb = size }, Cancel);

    private Task<Vm> CreateAsync(string name, params VolumeAttachment[] volumes) =>
        _host.Orchestrator.CreateAsync(new CreateVmRequest { Name = name, Plugin = "hello", Config = new VmConfig { Volumes = volumes } }, Cancel);

    private static Task<VolantException> FailAsync(Func<Task> action) => Assert.ThrowsAsync<VolantException>(action);

    private string[] Files() => Directory.Exists(_host.Options.VolumeDirectory) ? Directory.GetFiles(_host.Options.VolumeDirectory) : [];

    private static async Task WriteAsync(string path, string text)
    {
        await using var file = new FileStream(path, FileMode.Open, FileAccess.Write);
        await file.WriteAsync(System.Text.Encoding.UTF8.GetBytes(text), Cancel);
    }
}
