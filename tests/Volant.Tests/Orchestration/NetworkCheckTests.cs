using System.Net;
using Volant.Contracts.Api;
using Volant.Contracts.Manifests;
using Volant.Daemon;
using Volant.Daemon.Networking;

namespace Volant.Tests.Orchestration;

/// <summary>What the daemon does about taps and rules that somebody changed under VMs that run.</summary>
public sealed class NetworkCheckTests : IAsyncLifetime
{
    private readonly OrchestratorFixture _host = new();

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    public ValueTask InitializeAsync() => new(_host.InstallAsync());

    [Fact]
    public async Task A_guest_may_use_the_address_that_it_was_given_and_is_checked_as_long_as_it_runs()
    {
        var vm = await CreateAsync("web");
        await CreateAsync("stopped");
        await _host.Orchestrator.StopAsync("stopped", TimeSpan.Zero, Cancel);
        Assert.Equal([IPAddress.Parse(vm.IpAddress)], _host.Network.Allowed[vm.Uid]);

        await _host.RestartAsync();
        await UntilAsync(() => _host.Network.Checked.Count > 0);

        var guest = Assert.Single(_host.Network.Checked);
        Assert.Equal((vm.Uid, vm.IpAddress), (guest.Uid, Assert.Single(guest.Addresses).ToString()));
    }

    [Fact]
    public async Task What_was_changed_is_repaired()
    {
        var vm = await CreateAsync("web");
        _host.Network.Allowed.Clear();
        _host.Network.Faults = [new TapFault(vm.Uid, IsLost: false)];

        await _host.RestartAsync();

        await UntilAsync(() => _host.Network.Allowed.ContainsKey(vm.Uid));
        Assert.Null(_host.Owners.FindRun("web")!.NetworkFault);
        await UntilAsync(() => _host.Store.ListEvents(0, long.MaxValue, 100)!.Any(each => each.Event is { Type: VmEventTypes.NetworkRepaired, Name: "web", Status: VmStatus.Running }));
    }

    [Fact]
    public async Task A_VM_whose_tap_is_gone_says_so_until_it_is_started_again()
    {
        var vm = await CreateAsync("web");
        _host.Network.Faults = [new TapFault(vm.Uid, IsLost: true)];

        await _host.RestartAsync();
        await UntilAsync(() => _host.Store.FindVm("web")!.Vm.LastError is not null);

        var lost = _host.Store.FindVm("web")!.Vm;
        Assert.Equal((VmStatus.Running, false), (lost.Status, lost.Ready));
        Assert.Contains("somebody deleted its tap while it ran", lost.LastError, StringComparison.Ordinal);
        Assert.Contains("volar vms restart web", lost.LastError, StringComparison.Ordinal);
        _host.Network.Faults = [];
        await _host.Orchestrator.RestartAsync("web", TimeSpan.Zero, Cancel);
        Assert.Null(_host.Owners.FindRun("web")!.NetworkFault);
    }

    [Fact]
    public async Task Another_subnet_is_refused_as_long_as_VMs_have_addresses_of_the_old_one()
    {
        var before = _host.Options;
        await CreateAsync("web");
        await _host.Orchestrator.StopAsync("web", TimeSpan.Zero, Cancel);
        _host.Options = before with { Subnet = IPNetwork.Parse("10.9.8.0/24"), HostIp = IPAddress.Parse("10.9.8.1") };

        var failure = await Assert.ThrowsAsync<ConfigurationException>(_host.RestartAsync);

        Assert.Contains("web (192.168.127.2)", failure.Message, StringComparison.Ordinal);
        Assert.DoesNotContain('\n', failure.Message);
        _host.Options = before;
        await _host.RestartAsync();
        await _host.Orchestrator.DeleteAsync("web", Cancel);
        _host.Options = before with { Subnet = IPNetwork.Parse("10.9.8.0/24"), HostIp = IPAddress.Parse("10.9.8.1") };
        await _host.RestartAsync();
        Assert.Equal("10.9.8.2", (await CreateAsync("web")).IpAddress);
    }

    [Fact]
    public async Task The_hosts_address_on_that_of_a_VM_is_refused()
    {
        await CreateAsync("web");
        _host.Options = _host.Options with { HostIp = IPAddress.Parse("192.168.127.2") };

        Assert.Contains("web (192.168.127.2)", (await Assert.ThrowsAsync<ConfigurationException>(_host.RestartAsync)).Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("10.9.8.0/24", null, null, "config.network.subnet")]
    [InlineData(null, "192.168.127.9", null, "config.network.gateway")]
    [InlineData("192.168.127.0/24", "192.168.127.1", false, "config.network.auto_assign")]
    public async Task A_network_that_this_host_does_not_have_is_refused_not_ignored(string? subnet, string? gateway, bool? assign, string field)
    {
        var network = new NetworkConfig { Mode = "bridged", Subnet = subnet, Gateway = gateway, AutoAssign = assign };

        var failure = await Assert.ThrowsAsync<VolantException>(() => _host.Orchestrator.CreateAsync(
            new CreateVmRequest { Name = "web", Plugin = "hello", Config = new VmConfig { Network = network } }, Cancel));

        Assert.Equal((ErrorCodes.Unsupported, field), (failure.Code, Assert.Single(failure.Fields).Path));
        _host.AssertNothingIsHeld();
    }

    [Fact]
    public async Task By_DHCP_a_guest_gets_an_address_of_the_pool_when_the_host_serves_it_and_else_none_of_ours()
    {
        var request = new CreateVmRequest { Name = "web", Plugin = "hello", Config = new VmConfig { Network = new NetworkConfig { Mode = "dhcp" } } };
        var foreign = await _host.Orchestrator.CreateAsync(request, Cancel);
        Assert.Equal(string.Empty, foreign.IpAddress);
        Assert.Empty(_host.Network.Allowed[foreign.Uid]);
        Assert.Contains("ip=dhcp", _host.Launcher.Specs[foreign.Uid].KernelArguments, StringComparison.Ordinal);
        await _host.Orchestrator.DeleteAsync("web", Cancel);

        _host.Network.ServesGuests = true;
        var served = await _host.Orchestrator.CreateAsync(request, Cancel);

        Assert.Equal("192.168.127.2", served.IpAddress);
        Assert.Equal("192.168.127.2", Assert.Single(_host.Network.Allowed[served.Uid]).ToString());
    }

    [Fact]
    public async Task An_address_that_a_guest_names_is_recorded_unless_another_VM_has_it()
    {
        await CreateAsync("other");
        var vm = await _host.Orchestrator.CreateAsync(new CreateVmRequest { Name = "web", Plugin = "hello", Config = new VmConfig { Network = new NetworkConfig { Mode = "dhcp" } } }, Cancel);

        Assert.Null(await _host.Store.SetLearntAddressAsync(vm.Id, IPAddress.Parse("192.168.127.2"), Cancel));
        Assert.Equal("10.1.2.3", (await _host.Store.SetLearntAddressAsync(vm.Id, IPAddress.Parse("10.1.2.3"), Cancel))!.Vm.IpAddress);
        Assert.Equal(string.Empty, (await _host.Store.SetLearntAddressAsync(vm.Id, null, Cancel))!.Vm.IpAddress);
    }

    public ValueTask DisposeAsync() => _host.DisposeAsync();

    private Task<Vm> CreateAsync(string name) => _host.Orchestrator.CreateAsync(new CreateVmRequest { Name = name, Plugin = "hello" }, Cancel);

    private static async Task UntilAsync(Func<bool> condition)
    {
        var started = TimeProvider.System.GetTimestamp();
        while (!condition())
        {
            Assert.True(TimeProvider.System.GetElapsedTime(started).TotalSeconds < 20, "the condition did not come true");
            await Task.Delay(TimeSpan.FromMilliseconds(5), TimeProvider.System, Cancel);
        }
    }
}
