using Volant.Contracts;
using Volant.Contracts.Api;

namespace Volant.Tests.Api;

public sealed class VmConfigTests : IAsyncLifetime
{
    private ApiFixture _api = null!;

    public async ValueTask InitializeAsync()
    {
        _api = await ApiFixture.StartAsync();
        await _api.InstallAsync();
        await _api.CreateAsync("web", config: """{"resources": {"cpu_cores": 1, "memory_mb": 200}, "metadata": {"team": "a"}}""");
    }

    public ValueTask DisposeAsync() => _api.DisposeAsync();

    [Fact]
    public async Task A_patch_changes_what_it_names_clears_what_is_null_and_keeps_every_version()
    {
        var first = await GetAsync();
        var second = await PatchAsync("""{"resources": {"memory_mb": 512}, "metadata": null, "network": {"mode": "vsock"}, "restart": {"policy": "always"}}""", 200);

        Assert.Equal((1, 2), (first.Version, second.Version));
        Assert.Equal((1, 512), (second.Config.Resources!.CpuCores, second.Config.Resources.MemoryMb));
        Assert.Equal((null, "vsock", "always"), (second.Config.Metadata, second.Config.Network!.Mode, second.Config.Restart!.Policy));
        using var history = await _api.SendAsync(HttpMethod.Get, "/api/v1/vms/web/config/history?limit=10");
        var versions = await ApiFixture.ReadAsync(history, 200, ContractsJson.Default.IReadOnlyListVmConfigVersion);
        Assert.Equal([2, 1], versions.Select(version => version.Version));
        Assert.All(versions, version => Assert.NotNull(version.Id));
        Assert.Equal(200, versions[1].Config.Resources!.MemoryMb);
    }

    [Fact]
    public async Task A_change_takes_effect_at_the_next_start_the_network_included()
    {
        await PatchAsync("""{"resources": {"memory_mb": 512}, "network": {"mode": "bridged"}}""", 200);
        Assert.Equal((200, ""), ((await VmAsync()).MemoryMb, (await VmAsync()).IpAddress));
        using var restarted = await _api.SendAsync(HttpMethod.Post, "/api/v1/vms/web/restart?grace_seconds=0&wait=ready");
        var vm = await ApiFixture.ReadAsync(restarted, 200, ContractsJson.Default.Vm);

        Assert.Equal((512, "bridged", "192.168.127.2", 2), (vm.MemoryMb, vm.NetworkMode, vm.IpAddress, vm.ConfigVersion));
        Assert.NotEmpty(vm.MacAddress);
        Assert.Single(_api.Network.Taps);
        await PatchAsync("""{"network": null}""", 200);
        using var again = await _api.SendAsync(HttpMethod.Post, "/api/v1/vms/web/restart?grace_seconds=0&wait=ready");
        vm = await ApiFixture.ReadAsync(again, 200, ContractsJson.Default.Vm);
        Assert.Equal(("vsock", "", ""), (vm.NetworkMode, vm.IpAddress, vm.MacAddress));
        Assert.Empty(_api.Network.Taps);
    }

    [Theory]
    [InlineData("""{"resources": {"memory_mb": 0}}""", 400, "resources.memory_mb")]
    [InlineData("""{"resources": {"memory_mb": "much"}}""", 400, "resources.memory_mb")]
    [InlineData("""{"network": {"mode": "pigeon"}}""", 400, "network.mode")]
    [InlineData("""{"restart": {"policy": "maybe"}}""", 400, "restart.policy")]
    [InlineData("""{"restart": {"backoff_ms": 1}}""", 400, "restart.backoff_ms")]
    [InlineData("""{"memory": 1}""", 400, "memory")]
    [InlineData("""{"metadata": 1, "metadata": 2}""", 400, "")]
    [InlineData("[]", 400, "$")]
    [InlineData("{", 400, "")]
    [InlineData("""{"plugin": "unknown"}""", 404, "")]
    [InlineData("""{"kernel_cmdline": "a\u0000b"}""", 400, "kernel_cmdline")]
    public async Task A_patch_whose_result_could_not_be_started_is_refused_and_changes_nothing(string patch, int status, string field)
    {
        using var response = await _api.SendAsync(HttpMethod.Patch, "/api/v1/vms/web/config", patch);
        var problem = await ApiFixture.ReadAsync(response, status, ContractsJson.Default.Problem);

        Assert.True(field.Length == 0 || problem.Errors!.Keys.Any(key => key.EndsWith(field, StringComparison.Ordinal)), problem.Detail);
        Assert.Equal(1, (await GetAsync()).Version);
    }

    [Fact]
    public async Task A_hundred_writers_with_If_Match_lose_no_update_and_without_it_all_count()
    {
        var answers = await Task.WhenAll(Enumerable.Range(0, 100).Select(async i =>
        {
            using var response = await _api.SendAsync(HttpMethod.Patch, "/api/v1/vms/web/config", $$$"""{"metadata": {"n": {{{i}}}}}""", i % 2 == 0 ? [("If-Match", "\"1\"")] : []);
            return (int)response.StatusCode;
        }));

        // With If-Match "1" at most one can win, and only when it came first of all.
        var won = answers.Where((_, i) => i % 2 == 0).Count(status => status == 200);
        Assert.InRange(won, 0, 1);
        Assert.Equal(50 - won, answers.Count(status => status == 412));
        Assert.Equal(50 + won, answers.Count(status => status == 200));
        Assert.Equal(51 + won, (await GetAsync()).Version);
        using var history = await _api.SendAsync(HttpMethod.Get, "/api/v1/vms/web/config/history?limit=1000");
        Assert.Equal(Enumerable.Range(1, 51 + won).Reverse(), (await ApiFixture.ReadAsync(history, 200, ContractsJson.Default.IReadOnlyListVmConfigVersion)).Select(version => version.Version));
    }

    [Fact]
    public async Task The_tag_of_a_VM_changes_with_it_and_guards_a_delete()
    {
        using var before = await _api.SendAsync(HttpMethod.Get, "/api/v1/vms/web");
        var tag = before.Headers.ETag!.Tag;
        await PatchAsync("""{"metadata": {"team": "b"}}""", 200);

        using var refused = await _api.SendAsync(HttpMethod.Delete, "/api/v1/vms/web", json: null, ("If-Match", tag));
        Assert.Equal("version_conflict", (await ApiFixture.ReadAsync(refused, 412, ContractsJson.Default.Problem)).Code);
        using var weak = await _api.SendAsync(HttpMethod.Post, "/api/v1/vms/web/stop", json: null, ("If-Match", "W/" + tag));
        Assert.Equal(412, (int)weak.StatusCode);
        using var after = await _api.SendAsync(HttpMethod.Get, "/api/v1/vms/web");
        using var deleted = await _api.SendAsync(HttpMethod.Delete, "/api/v1/vms/web", json: null, ("If-Match", after.Headers.ETag!.Tag));
        Assert.Equal(204, (int)deleted.StatusCode);
    }

    [Theory]
    [InlineData("0")]
    [InlineData("-1")]
    [InlineData("x")]
    [InlineData("1001")]
    public async Task A_bad_limit_is_refused(string limit)
    {
        using var response = await _api.SendAsync(HttpMethod.Get, $"/api/v1/vms/web/config/history?limit={limit}");
        Assert.Contains("limit", (await ApiFixture.ReadAsync(response, 400, ContractsJson.Default.Problem)).Errors!.Keys);
    }

    private async Task<VmConfigVersion> GetAsync()
    {
        using var response = await _api.SendAsync(HttpMethod.Get, "/api/v1/vms/web/config");
        var version = await ApiFixture.ReadAsync(response, 200, ContractsJson.Default.VmConfigVersion);
        Assert.Equal($"\"{version.Version}\"", response.Headers.ETag!.Tag);
        return version;
    }

    private async Task<Vm> VmAsync()
    {
        using var response = await _api.SendAsync(HttpMethod.Get, "/api/v1/vms/web");
        return await ApiFixture.ReadAsync(response, 200, ContractsJson.Default.Vm);
    }

    private async Task<VmConfigVersion> PatchAsync(string patch, int status)
    {
        using var response = await _api.SendAsync(HttpMethod.Patch, "/api/v1/vms/web/config", patch);
        return await ApiFixture.ReadAsync(response, status, ContractsJson.Default.VmConfigVersion);
    }
}
