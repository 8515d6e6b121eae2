using Volant.Contracts.Api;
using Volant.Contracts.Manifests;
using Volant.Daemon;
using Volant.Daemon.Devices;
using Volant.Daemon.Hypervisors;

namespace Volant.Tests.Orchestration;

/// <summary>PCI devices as something that a VM holds on the host (C20, R04).</summary>
public sealed class DevicePassthroughTests : IAsyncLifetime
{
    private const string Nic = "0000:01:00.0";
    private const string Twin = "0000:01:00.1";
    private const string Spare = "0000:02:00.0";

    private readonly OrchestratorFixture _host = new();

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    public static TheoryData<int> Writes => [.. Enumerable.Range(1, 12)];

    public async ValueTask InitializeAsync()
    {
        await _host.InstallAsync();
        _host.Host.AddDevice(Nic, group: 7);
        _host.Host.AddDevice(Twin, group: 7, driver: "igb");
        _host.Host.AddDevice(Spare, group: 8);
    }

    public async ValueTask DisposeAsync()
    {
        await _host.Launcher.DisposeAsync();
        await _host.DisposeAsync();
    }

    [Fact]
    public async Task A_VM_gets_the_device_that_it_asked_for_and_its_group_is_bound_while_it_runs()
    {
        LaunchSpec? launched = null;
        _host.Launcher.FailWhen = spec =>
        {
            Assert.Equal(("vfio-pci", "vfio-pci", "e1000e"), Drivers());
            launched = spec;
            return null;
        };

        await _host.Orchestrator.CreateAsync(Web(), Cancel);

        Assert.Equal([Nic], launched!.PciDevices);
        Assert.Equal([Nic, Twin], _host.Store.ListDeviceLeases().Select(lease => lease.Address));
        Assert.Contains(_host.Store.ListResources(_host.Store.FindVm("web")!.Id), resource => resource.Kind == "devices" && resource.Name == $"{Nic} {Twin}");

        await _host.Orchestrator.StopAsync("web", TimeSpan.Zero, Cancel);
        AssertGivenBack();
        await _host.Orchestrator.StartAsync("web", Cancel);
        Assert.Equal(("vfio-pci", "vfio-pci", "e1000e"), Drivers());
        await _host.Orchestrator.DeleteAsync("web", Cancel);
        AssertGivenBack();
        _host.AssertNothingIsHeld();
    }

    [Fact]
    public async Task The_drivers_come_back_only_after_the_hypervisor_is_dead()
    {
        await _host.Orchestrator.CreateAsync(Web(), Cancel);
        var aliveAtUnbind = new List<bool>();
        var process = Assert.Single(_host.Launcher.Alive);
        _host.Host.Watch = _ => aliveAtUnbind.Add(process.IsAlive());

        await _host.Orchestrator.DeleteAsync("web", Cancel);

        Assert.NotEmpty(aliveAtUnbind);
        Assert.DoesNotContain(true, aliveAtUnbind);
    }

    [Fact]
    public async Task Leases_survive_a_restart_of_the_daemon_and_a_delete_after_it_gives_the_devices_back()
    {
        await _host.Orchestrator.CreateAsync(Web(), Cancel);
        await _host.RestartAsync();

        Assert.Equal(VmStatus.Running, _host.Store.FindVm("web")!.Vm.Status);
        Assert.Equal(("vfio-pci", "vfio-pci", "e1000e"), Drivers());
        Assert.Equal(ErrorCodes.DeviceInUse, (await Assert.ThrowsAsync<VolantException>(() => _host.Orchestrator.CreateAsync(Web("other"), Cancel))).Code);

        await _host.Orchestrator.DeleteAsync("web", Cancel);
        AssertGivenBack();
        _host.AssertNothingIsHeld();
    }

    [Fact]
    public async Task A_hypervisor_that_died_while_the_daemon_was_down_holds_nothing_after_it_is_back()
    {
        await _host.Orchestrator.CreateAsync(Web(), Cancel);
        await _host.Database.DisposeAsync();
        await _host.Launcher.DisposeAsync();

        await _host.RestartAsync();

        Assert.Equal(VmStatus.Crashed, _host.Store.FindVm("web")!.Vm.Status);
        AssertGivenBack();
    }

    [Fact]
    public async Task After_a_restart_of_the_host_there_is_nothing_to_give_back()
    {
        await _host.Orchestrator.CreateAsync(Web(), Cancel);
        await _host.Devices.BindAsync(new VfioDevicesRequest { PciAddresses = [Spare] }, Cancel);
        await _host.Database.DisposeAsync();
        await _host.Launcher.DisposeAsync();
        _host.Host.Reboot();
        _host.Host.Writes.Clear();

        await _host.RestartAsync();

        AssertGivenBack();
        Assert.Empty(_host.Host.Writes);
    }

    [Fact]
    public async Task A_device_of_a_group_that_another_VM_holds_is_refused_by_name_and_nothing_is_recorded()
    {
        await _host.Orchestrator.CreateAsync(Web(), Cancel);

        var failure = await Assert.ThrowsAsync<VolantException>(() => _host.Orchestrator.CreateAsync(Web("other", Twin), Cancel));

        Assert.Equal(ErrorCodes.DeviceInUse, failure.Code);
        Assert.Contains("'web'", failure.Message, StringComparison.Ordinal);
        Assert.Null(_host.Store.FindVm("other"));
        Assert.Equal(1, _host.Launcher.Launches);
    }

    [Fact]
    public async Task Of_several_VMs_that_want_one_device_at_once_one_gets_it()
    {
        var outcomes = await Task.WhenAll(Enumerable.Range(0, 8).Select(TryCreateAsync));

        Assert.Single(outcomes, outcome => outcome is null);
        Assert.All(outcomes.OfType<Exception>(), failure => Assert.Equal(ErrorCodes.DeviceInUse, Assert.IsType<VolantException>(failure).Code));
        await _host.Orchestrator.DeleteAsync(Assert.Single(_host.Store.AllVms()).Name, Cancel);
        AssertGivenBack();
    }

    [Theory]
    [InlineData("no IOMMU groups", ErrorCodes.Unsupported)]
    [InlineData("modprobe vfio-pci", ErrorCodes.Unsupported)]
    [InlineData("is up", ErrorCodes.DeviceInUse)]
    [InlineData("is not there", ErrorCodes.DeviceNotFound)]
    [InlineData("not allowed by the operator", ErrorCodes.DeviceNotAllowed)]
    public async Task What_cannot_be_passed_through_is_refused_before_anything_is_recorded(string words, string code)
    {
        switch (words)
        {
            case "no IOMMU groups":
                Directory.Delete(_host.Host.Bus.PathOf("sys/kernel/iommu_groups"), recursive: true);
                break;
            case "modprobe vfio-pci":
                Directory.Delete(_host.Host.Bus.PathOf("sys/bus/pci/drivers/vfio-pci"), recursive: true);
                break;
            case "is up":
                await File.WriteAllTextAsync(_host.Host.AddChild(Nic, "net/vtestnic0", "net") + "/flags", "0x1003", TestContext.Current.CancellationToken);
                break;
            case "is not there":
                File.Delete(_host.Host.Bus.PathOf(PciAddress.Parse(Nic)));
                break;
            default:
                _host.Host.Set(Nic, "vendor", "0x10de");
                break;
        }

        var failure = await Assert.ThrowsAsync<VolantException>(() => _host.Orchestrator.CreateAsync(Web(), Cancel));

        Assert.Equal(code, failure.Code);
        Assert.Contains(words, failure.Message, StringComparison.Ordinal);
        Assert.Null(_host.Store.FindVm("web"));
        Assert.Empty(_host.Host.Writes);
        _host.AssertNothingIsHeld();
    }

    [Fact]
    public async Task A_bind_that_fails_half_way_leaves_neither_VM_nor_lease_nor_change()
    {
        _host.Host.Refusals.Add((VfioBinder.Driver, Twin));

        Assert.Equal(ErrorCodes.DeviceUnavailable, (await Assert.ThrowsAsync<VolantException>(() => _host.Orchestrator.CreateAsync(Web(), Cancel))).Code);

        Assert.Null(_host.Store.FindVm("web"));
        AssertGivenBack();
        _host.AssertNothingIsHeld();
    }

    [Fact]
    public async Task A_launch_that_fails_gives_the_devices_back()
    {
        _host.Launcher.FailAfter = new VolantException(ErrorCodes.HypervisorUnavailable, "It did not start.");

        await Assert.ThrowsAsync<VolantException>(() => _host.Orchestrator.CreateAsync(Web(), Cancel));

        AssertGivenBack();
        _host.AssertNothingIsHeld();
    }

    [Fact]
    public async Task A_driver_that_does_not_come_back_keeps_no_VM_from_being_deleted()
    {
        await _host.Orchestrator.CreateAsync(Web(), Cancel);
        _host.Host.Refusals.Add(("igb", Twin));

        await _host.Orchestrator.DeleteAsync("web", Cancel);

        Assert.Equal(("e1000e", null, "e1000e"), Drivers());
        _host.AssertNothingIsHeld();
    }

    [Theory]
    [MemberData(nameof(Writes))]
    public async Task A_store_that_fails_at_any_write_leaves_no_device_behind(int nth)
    {
        _host.Database.FailAt(nth);
        await Record.ExceptionAsync(async () =>
        {
            await _host.Orchestrator.CreateAsync(Web(), Cancel);
            await _host.Orchestrator.StopAsync("web", TimeSpan.Zero, Cancel);
        });
        _host.Database.FailAt(null);

        await _host.RestartAsync();
        if (_host.Store.FindVm("web") is { Deleting: false })
        {
            await _host.Orchestrator.DeleteAsync("web", Cancel);
        }

        AssertGivenBack();
        _host.AssertNothingIsHeld();
    }

    [Fact]
    public async Task A_device_that_a_client_bound_can_be_used_by_a_VM_and_stays_bound_after_it()
    {
        var bound = await _host.Devices.BindAsync(new VfioDevicesRequest { PciAddresses = [Nic] }, Cancel);
        Assert.Equal([Nic, Twin], bound.BoundDevices);
        await _host.Orchestrator.CreateAsync(Web(), Cancel);

        Assert.Equal(ErrorCodes.DeviceInUse, (await Assert.ThrowsAsync<VolantException>(() => _host.Devices.UnbindAsync(new VfioDevicesRequest { PciAddresses = [Nic] }, Cancel))).Code);
        await _host.Orchestrator.DeleteAsync("web", Cancel);
        Assert.Equal(("vfio-pci", "vfio-pci", "e1000e"), Drivers());

        await _host.RestartAsync();
        Assert.Equal([Nic, Twin], (await _host.Devices.UnbindAsync(new VfioDevicesRequest { PciAddresses = [Twin] }, Cancel)).UnboundDevices);
        AssertGivenBack();
    }

    private async Task<Exception?> TryCreateAsync(int number)
    {
        await Task.Yield();
        return await Record.ExceptionAsync(() => _host.Orchestrator.CreateAsync(Web($"web-{number}"), Cancel));
    }

    private static CreateVmRequest Web(string name = "web", string device = Nic) =>
        new() { Name = name, Plugin = "hello", Config = new VmConfig { Devices = new DeviceConfig { PciPassthrough = [device] } } };

    private (string? Nic, string? Twin, string? Spare) Drivers() => (_host.Host.DriverOf(Nic), _host.Host.DriverOf(Twin), _host.Host.DriverOf(Spare));

    private void AssertGivenBack()
    {
        Assert.Equal(("e1000e", "igb", "e1000e"), Drivers());
        Assert.Equal((null, null), (_host.Host.OverrideOf(Nic), _host.Host.OverrideOf(Twin)));
        Assert.Empty(_host.Store.ListDeviceLeases());
    }
}
