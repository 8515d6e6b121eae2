using System.Net;
using System.Text;
using Microsoft.Extensions.Time.Testing;
using Volant.Contracts.Api;
using Volant.Contracts.Manifests;
using Volant.Daemon;
using Volant.Daemon.Store;
using Volant.Linux.Processes;

namespace Volant.Tests.Store;

public sealed class StoreTests : IAsyncLifetime
{
    private readonly string _directory = Directory.CreateTempSubdirectory("volant-store-").FullName;
    private readonly FakeTimeProvider _clock = new();
    private Database _database = null!;
    private VolantStore _store = null!;

    public static MatrixTheoryData<VmStatus, VmStatus> EveryPair => new(Enum.GetValues<VmStatus>(), Enum.GetValues<VmStatus>());

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    private string Path => System.IO.Path.Combine(_directory, "state.db");

    public async ValueTask InitializeAsync()
    {
        Open();
        await _store.PutPluginAsync(Manifest("hello"), Cancel);
    }

    [Fact]
    public async Task What_was_written_is_there_after_reopening()
    {
        var vm = await _store.InsertVmAsync(New("web"), Cancel);
        await _store.SetProcessAsync(vm.Id, new ProcessIdentity(7, 42, "boot"), Cancel);
        await _database.DisposeAsync();
        Open();

        var read = _store.FindVm("web")!;

        Assert.Equal(VmStatus.Starting, read.Vm.Status);
        Assert.Equal(new ProcessIdentity(7, 42, "boot"), read.Process);
        Assert.Equal(vm.LinkKey, read.LinkKey);
        Assert.Equal([new HostResource("directory", "/run/x"), new HostResource("process", "x")], _store.ListResources(vm.Id).OrderBy(resource => resource.Kind, StringComparer.Ordinal));
        Assert.Equal("hello", _store.GetConfig(vm.Id).Plugin);
    }

    [Fact]
    public async Task A_reader_sees_every_change_of_a_vm_that_was_read_before()
    {
        var vm = await _store.InsertVmAsync(New("web"), Cancel);
        Assert.Equal(VmStatus.Starting, _store.FindVm("web")!.Vm.Status);
        await _store.SetStatusAsync(vm.Id, VmStatus.Running, null, Cancel);
        Assert.Equal(VmStatus.Running, Assert.Single(_store.ListVms(new VmFilter()).Vms).Status);
        Assert.Equal(VmStatus.Running, _store.FindVm(vm.Id)!.Vm.Status);
        await _store.SetReadyAsync(vm.Id, ready: true, 7, null, Cancel);
        Assert.True(_store.FindVm("web")!.Vm.Ready);
        await _store.BeginDeleteAsync(vm.Id, Cancel);
        Assert.Empty(_store.ListVms(new VmFilter()).Vms);
        Assert.True(_store.FindVm("web")!.Deleting);
        await _store.DeleteResourcesAsync(vm.Id, ["process", "directory"], Cancel);
        await _store.DeleteVmAsync(vm.Id, null, Cancel);
        Assert.Null(_store.FindVm("web"));
        Assert.Null(_store.FindVm(vm.Id));
    }

    [Fact]
    public async Task Readiness_that_is_known_already_is_no_event()
    {
        var vm = await _store.InsertVmAsync(New("web"), Cancel);
        await _store.SetStatusAsync(vm.Id, VmStatus.Running, null, Cancel);
        var events = new List<string>();
        _store.Follow(occurrence => events.Add(occurrence.Event.Type));
        foreach (var (ready, message) in new[] { (true, null), (true, null), (false, "sick"), (false, "sick"), (false, "worse"), (true, null) })
        {
            Assert.NotNull(await _store.SetReadyAsync(vm.Id, ready, null, message, Cancel));
        }

        Assert.Equal([VmEventTypes.Ready, VmEventTypes.NotReady, VmEventTypes.NotReady, VmEventTypes.Ready], events);
    }

    [Fact]
    public async Task A_taken_name_is_refused_and_records_nothing()
    {
        await _store.InsertVmAsync(New("web"), Cancel);

        var failure = await Assert.ThrowsAsync<VolantException>(() => _store.InsertVmAsync(New("web"), Cancel));

        Assert.Equal(ErrorCodes.VmExists, failure.Code);
        Assert.Single(_store.AllVms());
    }

    [Fact]
    public async Task An_unknown_plugin_is_refused() =>
        Assert.Equal(ErrorCodes.PluginNotFound, (await Assert.ThrowsAsync<VolantException>(() => _store.InsertVmAsync(New("web") with { Plugin = "nope" }, Cancel))).Code);

    [Fact]
    public async Task A_plugin_in_use_cannot_be_removed()
    {
        await _store.InsertVmAsync(New("web"), Cancel);

        var failure = await Assert.ThrowsAsync<VolantException>(() => _store.DeletePluginAsync("hello", Cancel));

        Assert.Equal(ErrorCodes.PluginInUse, failure.Code);
        Assert.Contains("web", failure.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_vm_that_holds_resources_cannot_be_forgotten()
    {
        var vm = await _store.InsertVmAsync(New("web"), Cancel);

        await Assert.ThrowsAsync<Microsoft.Data.Sqlite.SqliteException>(() => _store.DeleteVmAsync(vm.Id, null, Cancel));

        await _store.DeleteResourcesAsync(vm.Id, ["process", "directory"], Cancel);
        await _store.DeleteVmAsync(vm.Id, null, Cancel);
        Assert.Empty(_store.AllVms());
    }

    [Fact]
    public async Task An_IPv6_address_goes_with_the_lease_and_is_that_of_the_last_start()
    {
        var range = new AddressRange(0x0a000001, 0x0a000005, []) { IPv6Of = ipv4 => IPAddress.Parse($"fd77::{ipv4}") };
        var vm = await _store.InsertVmAsync(New("web") with { Addresses = range, Resources = [] }, Cancel);
        Assert.Equal(("10.0.0.1", "fd77::a00:1"), (vm.Vm.IpAddress, vm.Vm.Ipv6Address));

        Assert.Equal("fd88::a00:1", (await StartAsync(range with { IPv6Of = ipv4 => IPAddress.Parse($"fd88::{ipv4}") })).Vm.Ipv6Address);
        var without = await StartAsync(range with { IPv6Of = null });
        Assert.Equal(("10.0.0.1", null), (without.Vm.IpAddress, without.Vm.Ipv6Address));

        async Task<VmRecord> StartAsync(AddressRange addresses)
        {
            await _store.SetStatusAsync(vm.Id, VmStatus.Crashed, null, Cancel);
            return await _store.BeginStartAsync(
                vm.Id, new NewStart { Plugin = "hello", Runtime = "r", NetworkMode = NetworkModes.Bridged, MacAddress = "", CpuCores = 1, MemoryMib = 128, KernelCmdline = "", Addresses = addresses, Resources = [], Automatic = false }, Cancel);
        }
    }

    [Fact]
    public async Task An_address_is_leased_once_and_the_lowest_that_has_rested_comes_first()
    {
        var range = new AddressRange(0x0a000001, 0x0a000005, [(0x0a000001, 0x0a000001), (0x0a000003, 0x0a000003)]);
        var vms = new List<VmRecord>();
        foreach (var name in new[] { "a", "b", "c" })
        {
            vms.Add(await _store.InsertVmAsync(New(name) with { Addresses = range, Resources = [] }, Cancel));
        }

        Assert.Equal(["10.0.0.2", "10.0.0.4", "10.0.0.5"], vms.Select(vm => vm.Vm.IpAddress));
        var full = await Assert.ThrowsAsync<VolantException>(() => _store.InsertVmAsync(New("d") with { Addresses = range }, Cancel));
        Assert.Equal(ErrorCodes.IpPoolExhausted, full.Code);
        await _store.DeleteVmAsync(vms[2].Id, null, Cancel);
        _clock.Advance(TimeSpan.FromSeconds(1));
        await _store.DeleteVmAsync(vms[0].Id, null, Cancel);
        full = await Assert.ThrowsAsync<VolantException>(() => _store.InsertVmAsync(New("d") with { Addresses = range }, Cancel));
        Assert.Contains("less than 60 s ago", full.Message, StringComparison.Ordinal);
        _clock.Advance(VolantStore.AddressRest);
        Assert.Equal("10.0.0.2", (await _store.InsertVmAsync(New("e") with { Addresses = range }, Cancel)).Vm.IpAddress);
    }

    [Fact]
    public async Task Several_vms_without_an_address_may_exist()
    {
        await _store.InsertVmAsync(New("a"), Cancel);
        await _store.InsertVmAsync(New("b"), Cancel);

        Assert.All(_store.AllVms(), vm => Assert.Equal(string.Empty, vm.Vm.IpAddress));
    }

    [Theory]
    [MemberData(nameof(EveryPair))]
    public async Task The_store_allows_exactly_the_transitions_of_the_table(VmStatus from, VmStatus to)
    {
        var vm = await _store.InsertVmAsync(New("web"), Cancel);
        await _database.WriteAsync(c => c.Execute("UPDATE vms SET status = $status", ("$status", from.ToText())), Cancel);

        var failure = await Record.ExceptionAsync(() => _store.SetStatusAsync(vm.Id, to, desired: null, Cancel));

        Assert.Equal(from.CanBecome(to), failure is null);
        Assert.Equal(from.CanBecome(to) ? to : from, _store.FindVm("web")!.Vm.Status);
    }

    [Fact]
    public async Task One_failing_job_of_a_group_undoes_only_itself()
    {
        var jobs = Enumerable.Range(0, 200).Select(i => _store.InsertVmAsync(New($"vm-{i / 2}"), Cancel)).ToArray();

        await Task.WhenAll(jobs.Select(async job => await Record.ExceptionAsync(() => job)));

        Assert.Equal(100, jobs.Count(job => job.IsCompletedSuccessfully));
        Assert.Equal(100, _store.AllVms().Count);
    }

    [Fact]
    public async Task Listing_filters_sorts_and_pages_in_the_database()
    {
        foreach (var name in new[] { "c", "a", "b" })
        {
            await _store.InsertVmAsync(New(name), Cancel);
        }

        var (vms, total) = _store.ListVms(new VmFilter { Sort = "name", Descending = true, Limit = 2 });

        Assert.Equal(["c", "b"], vms.Select(vm => vm.Name));
        Assert.Equal(3, total);
        Assert.Empty(_store.ListVms(new VmFilter { Statuses = [VmStatus.Running] }).Vms);
        Assert.Equal("a", Assert.Single(_store.ListVms(new VmFilter { Contains = "a" }).Vms).Name);
    }

    [Fact]
    public async Task Damage_never_opens_silently()
    {
        await _database.DisposeAsync();
        var whole = await File.ReadAllBytesAsync(Path, Cancel);
        var random = new Random(11);
        for (var round = 0; round < 50; round++)
        {
            var damaged = (byte[])whole.Clone();
            var at = random.Next(damaged.Length);
            damaged.AsSpan(at, Math.Min(random.Next(1, 4000), damaged.Length - at)).Fill((byte)random.Next(256));
            var path = System.IO.Path.Combine(_directory, $"damaged-{round}.db");
            await File.WriteAllBytesAsync(path, damaged, Cancel);
            try
            {
                await using var opened = new Database(path);
                Assert.Equal("ok", opened.Read(c => c.Scalar("PRAGMA integrity_check(1)")));
            }
            catch (ConfigurationException e)
            {
                Assert.Contains(path, e.Message, StringComparison.Ordinal);
            }
        }

        Open();
    }

    [Fact]
    public async Task A_newer_database_is_refused_untouched()
    {
        await _database.WriteAsync(c => c.Execute("INSERT INTO migrations (version, name, sha256) VALUES (999, 'future', 'x')"), Cancel);
        await _database.DisposeAsync();

        var failure = Assert.Throws<ConfigurationException>(() => new Database(Path));

        Assert.Contains("999", failure.Message, StringComparison.Ordinal);
        File.Delete(Path);
        Open();
    }

    public async ValueTask DisposeAsync()
    {
        await _database.DisposeAsync();
        Directory.Delete(_directory, recursive: true);
    }

    internal static PluginManifest Manifest(string name) => ManifestReader.Read(Encoding.UTF8.GetBytes($$"""
        { "schema_version": "1.0", "name": "{{name}}", "version": "1", "resources": { "cpu_cores": 1, "memory_mb": 256 },
          "workload": { "type": "http", "entrypoint": ["/bin/x"], "base_url": "http://127.0.0.1:8080" }, "initramfs": { "url": "/images/x" } }
        """));

    internal static NewVm New(string name) => new()
    {
        Uid = Guid.CreateVersion7(),
        Name = name,
        Plugin = "hello",
        Runtime = "hello",
        Hypervisor = "qemu",
        NetworkMode = NetworkModes.Vsock,
        CpuCores = 1,
        MemoryMib = 256,
        KernelCmdline = string.Empty,
        LinkKey = new byte[16],
        Directory = "/run/x",
        SerialSocket = "/run/x/serial.sock",
        Config = new VmConfig { Plugin = "hello" },
        Resources = [new HostResource("process", "x"), new HostResource("directory", "/run/x")],
    };

    private void Open()
    {
        _database = new Database(Path);
        _store = new VolantStore(_database, _clock);
    }
}
