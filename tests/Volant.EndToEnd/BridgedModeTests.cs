using System.Text.Json;
using Volant.Contracts;
using Volant.Contracts.Api;

namespace Volant.EndToEnd;

/// <summary>VMs with a tap on a bridge. The daemon runs in a network namespace that the test makes and removes.</summary>
public sealed class BridgedModeTests(Workspace workspace) : IAsyncLifetime
{
    private const string Bridged = """{"network": {"mode": "bridged"}, "api": {"host": "0.0.0.0", "port": 9000}}""";

    private readonly string _namespace = $"vt-{Guid.NewGuid().ToString("N")[..8]}";
    private TestDaemon? _daemon;

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    public async ValueTask InitializeAsync()
    {
        Assert.SkipUnless(Environment.UserName == "root", "making network namespaces and taps needs root");
        var added = await Command.RunAsync(["ip", "netns", "add", _namespace]);
        Assert.SkipUnless(added.ExitCode == 0, $"this machine refuses network namespaces: {added.Error}");
        Leftovers.Add(this, RemoveNamespaceAsync);
        await RunAsync("ip", "-n", _namespace, "link", "set", "lo", "up");
        _daemon = new TestDaemon(prefix: ["ip", "netns", "exec", _namespace]);
        await _daemon.StartAsync();
        await _daemon.InstallAsync(workspace.ProbeManifest);
    }

    [Fact]
    public async Task Guests_get_addresses_and_are_reachable_from_the_bridge()
    {
        var vms = await Task.WhenAll(_daemon!.CreateReadyAsync("a", config: Bridged), _daemon.CreateReadyAsync("b", config: Bridged));

        Assert.Equal(["192.168.127.2", "192.168.127.3"], vms.Select(vm => vm.IpAddress).Order(StringComparer.Ordinal));
        foreach (var vm in vms)
        {
            Assert.StartsWith("02:", vm.MacAddress, StringComparison.Ordinal);
            var direct = await RunAsync("ip", "netns", "exec", _namespace, "curl", "-sf", "--max-time", "10", $"http://{vm.IpAddress}:9000/healthz");
            var state = JsonSerializer.Deserialize(direct, ContractsJson.Default.AgentState)!;
            Assert.Equal(vm.Name, state.Hostname);
            Assert.Equal([vm.IpAddress], state.Addresses!);
            Assert.Equal($"hello from {vm.Name}", await _daemon.Client.GetStringAsync($"/api/v1/vms/{vm.Name}/agent/", Cancel));
        }

        Assert.Equal(2, await CountTapsAsync());
    }

    [Fact]
    public async Task The_address_stays_across_stop_and_start_and_the_tap_does_not()
    {
        var vm = await _daemon!.CreateReadyAsync("a", config: Bridged);
        using (await _daemon.PostAsync("/api/v1/vms/a/stop"))
        {
        }

        Assert.Equal(0, await CountTapsAsync());
        using var started = await _daemon.PostAsync("/api/v1/vms/a/start?wait=ready");
        Assert.True(started.IsSuccessStatusCode, _daemon.Logs());
        Assert.Equal((vm.IpAddress, vm.MacAddress), ((await _daemon.FindAsync("a"))!.IpAddress, (await _daemon.FindAsync("a"))!.MacAddress));
        Assert.Equal(1, await CountTapsAsync());
    }

    [Fact]
    public async Task A_killed_daemon_leaves_bridge_and_taps_working_and_an_orphan_tap_is_removed()
    {
        var vm = await _daemon!.CreateReadyAsync("a", config: Bridged);
        await _daemon.EndAsync(9);
        await RunAsync("ip", "-n", _namespace, "tuntap", "add", "vaaaaaaaaaaaaaa", "mode", "tap");
        await RunAsync("ip", "netns", "exec", _namespace, "curl", "-sf", "--max-time", "10", $"http://{vm.IpAddress}:9000/healthz");
        await _daemon.StartAsync();

        Assert.Equal(VmStatus.Running, (await _daemon.FindAsync("a"))!.Status);
        var started = TimeProvider.System.GetTimestamp();
        while (await CountTapsAsync() != 1)
        {
            Assert.True(TimeProvider.System.GetElapsedTime(started).TotalSeconds < 10, "the orphan tap is still there");
            await Task.Delay(TimeSpan.FromMilliseconds(50), TimeProvider.System, Cancel);
        }
    }

    [Fact]
    public async Task A_published_port_leads_to_the_guest_while_it_runs_and_after_a_restart_of_the_daemon()
    {
        await _daemon!.CreateReadyAsync("a", config: Bridged[..^1] + """, "expose": [{"port": 9000, "host_port": 18080}]}""");
        Assert.Equal("a", await HostnameAsync());
        await _daemon.EndAsync(9);
        await _daemon.StartAsync();
        Assert.Equal("a", await HostnameAsync());
        using (await _daemon.PostAsync("/api/v1/vms/a/stop?grace_seconds=0"))
        {
        }

        var refused = await Command.RunAsync(["ip", "netns", "exec", _namespace, "curl", "-sf", "--max-time", "10", "http://127.0.0.1:18080/healthz"]);

        // Could not connect.
        Assert.Equal(7, refused.ExitCode);

        async Task<string> HostnameAsync() => JsonSerializer.Deserialize(
            await RunAsync("ip", "netns", "exec", _namespace, "curl", "-sf", "--retry", "5", "--retry-connrefused", "--max-time", "20", "http://127.0.0.1:18080/healthz"), ContractsJson.Default.AgentState)!.Hostname;
    }

    [Fact]
    public async Task An_exhausted_pool_says_so_and_leaves_nothing()
    {
        await using var small = new TestDaemon(
            new Dictionary<string, string>(StringComparer.Ordinal) { ["VOLANT_SUBNET"] = "10.9.8.0/30", ["VOLANT_HOST_IP"] = "10.9.8.1", ["VOLANT_BRIDGE"] = "vbr9" },
            ["ip", "netns", "exec", _namespace]);
        await small.StartAsync();
        await small.InstallAsync(workspace.ProbeManifest);
        var only = await small.CreateReadyAsync("a", config: Bridged);
        Assert.Equal("10.9.8.2", only.IpAddress);

        using var refused = await small.PostAsync("/api/v1/vms", $$"""{"name": "b", "plugin": "probe", "config": {{Bridged}} }""");

        Assert.Equal(ErrorCodes.IpPoolExhausted, (await small.ProblemAsync(refused, 503)).Code);
        Assert.Single(small.Hypervisors());
    }

    public async ValueTask DisposeAsync()
    {
        if (_daemon is not null)
        {
            await _daemon.DisposeAsync();
            Assert.Equal(0, await CountTapsAsync());
        }

        Leftovers.Forget(this);
        await RemoveNamespaceAsync();
    }

    private Task RemoveNamespaceAsync() => Command.RunAsync(["ip", "netns", "del", _namespace]);

    private async Task<int> CountTapsAsync() =>
        JsonDocument.Parse(await RunAsync("ip", "-n", _namespace, "-j", "tuntap", "show")).RootElement.GetArrayLength();

    private static async Task<string> RunAsync(params string[] command)
    {
        var result = await Command.RunAsync(command);
        Assert.True(result.ExitCode == 0, result.ToString());
        return result.Output;
    }
}
