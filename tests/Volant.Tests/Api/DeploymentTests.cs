using Volant.Contracts;
using Volant.Contracts.Api;
using Volant.Daemon;
using Volant.Linux.Processes;

namespace Volant.Tests.Api;

/// <summary>Deployments over the API, with real processes as replicas (C07, G08).</summary>
public sealed class DeploymentTests : IAsyncLifetime
{
    private ApiFixture _api = null!;

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    public async ValueTask InitializeAsync()
    {
        _api = await ApiFixture.StartAsync();
        await _api.InstallAsync();
    }

    public ValueTask DisposeAsync() => _api.DisposeAsync();

    [Fact]
    public async Task It_grows_shrinks_from_the_highest_index_and_leaves_nothing()
    {
        await CreateAsync("web", 6);
        await UntilAsync("web", deployment => deployment is { Status: "healthy", ReadyReplicas: 6, UpdatedReplicas: 6 });
        Assert.Equal(Enumerable.Range(1, 6).Select(n => $"web-{n}"), await NamesAsync());
        Assert.All(await VmsAsync(), vm => Assert.Equal("web", vm.Deployment));
        await PatchAsync("web", """{"replicas": 2}""");
        await UntilAsync("web", deployment => deployment is { Status: "healthy", ReadyReplicas: 2 });
        Assert.Equal(["web-1", "web-2"], await NamesAsync());
        await PatchAsync("web", """{"replicas": 0}""");
        await UntilAsync("web", deployment => deployment is { Status: "healthy", ReadyReplicas: 0 });
        Assert.Empty(_api.Launcher.Alive);
        await DeleteAsync("web", 204);
        using var gone = await _api.SendAsync(HttpMethod.Get, "/api/v1/deployments/web");
        Assert.Equal(404, (int)gone.StatusCode);
    }

    [Fact]
    public async Task A_replica_that_dies_or_is_deleted_comes_back()
    {
        await CreateAsync("web", 3);
        await UntilAsync("web", deployment => deployment.Status == "healthy");
        var before = (await VmsAsync()).ToDictionary(vm => vm.Name, vm => vm.Uid, StringComparer.Ordinal);
        using (var killed = PidFd.TryOpen(_api.Launcher.Alive[0]))
        {
            killed!.Signal(9);
        }

        await UntilAsync("web", deployment => deployment.Status == "healthy" && _api.Launcher.Launches == 4);
        using (await _api.SendAsync(HttpMethod.Delete, "/api/v1/vms/web-2"))
        {
        }

        await UntilAsync("web", deployment => deployment.Status == "healthy" && _api.Launcher.Launches == 5);
        var after = (await VmsAsync()).ToDictionary(vm => vm.Name, vm => vm.Uid, StringComparer.Ordinal);
        Assert.Equal(before.Keys.Order(StringComparer.Ordinal), after.Keys.Order(StringComparer.Ordinal));
        Assert.InRange(before.Count(entry => after[entry.Key] == entry.Value), 1, 2);
        await DeleteAsync("web", 204);
    }

    [Fact]
    public async Task A_VM_of_that_name_that_is_somebody_elses_is_never_touched()
    {
        var foreign = await _api.CreateAsync("web-2");
        await CreateAsync("web", 3);
        var deployment = await UntilAsync("web", deployment => deployment is { Status: "degraded", ReadyReplicas: 2 });

        Assert.Contains("web-2 cannot be made", deployment.Message, StringComparison.Ordinal);
        await DeleteAsync("web", 204);
        Assert.Equal(foreign.Uid, Assert.Single(await VmsAsync()).Uid);
    }

    [Fact]
    public async Task A_replica_that_always_fails_is_said_and_tried_ever_more_seldom()
    {
        _api.Launcher.FailBefore = new VolantException(ErrorCodes.HypervisorUnavailable, "No such program.");
        await CreateAsync("web", 1);
        var degraded = await UntilAsync("web", deployment => deployment.Status == "degraded");
        Assert.Contains("web-1 cannot be made: No such program.", degraded.Message, StringComparison.Ordinal);
        await Task.Delay(TimeSpan.FromSeconds(2), TimeProvider.System, Cancel);
        Assert.InRange(_api.Launcher.Launches, 1, 3);
        _api.Launcher.FailBefore = null;
        await UntilAsync("web", deployment => deployment is { Status: "healthy", Message: null });
        await DeleteAsync("web", 204);
    }

    [Fact]
    public async Task Too_few_addresses_are_a_condition_and_scaling_down_ends_it()
    {
        await using var small = await ApiFixture.StartAsync(new Dictionary<string, string>(StringComparer.Ordinal) { ["VOLANT_SUBNET"] = "10.9.0.0/29", ["VOLANT_HOST_IP"] = "10.9.0.1" });
        await small.InstallAsync();
        using var created = await small.SendAsync(HttpMethod.Post, "/api/v1/deployments", """{"name": "web", "replicas": 1, "config": {"plugin": "hello", "network": {"mode": "bridged"}}}""");
        Assert.Equal(201, (int)created.StatusCode);
        await UntilAsync(small, "web", deployment => deployment.Status == "healthy");

        // Several are made at a time: which of them get the four addresses that are left is not said.
        using var grown = await small.SendAsync(HttpMethod.Patch, "/api/v1/deployments/web", """{"replicas": 8}""");
        Assert.Equal(200, (int)grown.StatusCode);
        var degraded = await UntilAsync(small, "web", deployment => deployment is { Status: "degraded", ReadyReplicas: 5 });
        Assert.Contains("addresses", degraded.Message, StringComparison.Ordinal);
        Assert.Equal(5, small.Launcher.Launches);
        using var scaled = await small.SendAsync(HttpMethod.Patch, "/api/v1/deployments/web", """{"replicas": 1}""");
        Assert.Equal(200, (int)scaled.StatusCode);
        await UntilAsync(small, "web", deployment => deployment is { Status: "healthy", ReadyReplicas: 1, Message: null });
    }

    [Fact]
    public async Task Another_configuration_rolls_out_and_keeps_enough_replicas_ready()
    {
        await CreateAsync("web", 3);
        await UntilAsync("web", deployment => deployment.Status == "healthy");
        var least = 3;
        await PatchAsync("web", """{"config": {"plugin": "hello", "resources": {"memory_mb": 300}}}""");
        await UntilAsync("web", deployment =>
        {
            least = Math.Min(least, deployment.ReadyReplicas);
            return deployment is { Status: "healthy", Revision: 2 };
        });

        Assert.Equal(3, least);
        Assert.All(await VmsAsync(), vm => Assert.Equal(300, vm.MemoryMb));
        Assert.Equal(["web-1", "web-2", "web-3"], await NamesAsync());
        await DeleteAsync("web", 204);
    }

    [Fact]
    public async Task A_roll_out_that_comes_to_nothing_is_rolled_back_and_says_so()
    {
        await CreateAsync("web", 2, """, "strategy": {"progress_deadline_seconds": 1}""");
        await UntilAsync("web", deployment => deployment.Status == "healthy");
        _api.Launcher.FailWhen = spec => spec.MemoryMib == 300 ? new VolantException(ErrorCodes.HypervisorUnavailable, "No such program.") : null;
        await PatchAsync("web", """{"config": {"plugin": "hello", "resources": {"memory_mb": 300}}}""");
        var rolledBack = await UntilAsync("web", deployment => deployment is { Revision: 1, ReadyReplicas: 2, UpdatedReplicas: 2 });

        Assert.Equal("degraded", rolledBack.Status);
        Assert.Contains("revision 2 was rolled back to revision 1", rolledBack.Message, StringComparison.Ordinal);
        Assert.Contains("No such program", rolledBack.Message, StringComparison.Ordinal);
        Assert.Equal(["web-1", "web-2"], await NamesAsync());
        await PatchAsync("web", """{"replicas": 1}""");
        await UntilAsync("web", deployment => deployment is { Status: "healthy", Message: null });
        await DeleteAsync("web", 204);
    }

    [Fact]
    public async Task A_VM_that_cannot_be_deleted_is_named_and_the_delete_goes_on()
    {
        await using var api = await ApiFixture.StartAsync();
        await api.InstallAsync();
        using var created = await api.SendAsync(HttpMethod.Post, "/api/v1/deployments", """{"name": "web", "replicas": 2, "config": {"plugin": "hello", "network": {"mode": "bridged"}}}""");
        await UntilAsync(api, "web", deployment => deployment.Status == "healthy");
        api.Network.DetachFailure = new VolantException(ErrorCodes.NetworkUnavailable, "The tap is busy.");
        using var refused = await api.SendAsync(HttpMethod.Delete, "/api/v1/deployments/web");
        var problem = await ApiFixture.ReadAsync(refused, 409, ContractsJson.Default.Problem);
        Assert.Contains("web-1", problem.Detail, StringComparison.Ordinal);
        Assert.Contains("The tap is busy", problem.Detail, StringComparison.Ordinal);
        api.Network.DetachFailure = null;
        using var deleted = await api.SendAsync(HttpMethod.Delete, "/api/v1/deployments/web");
        Assert.Equal(204, (int)deleted.StatusCode);
        Assert.Empty(api.Launcher.Alive);
    }

    [Fact]
    public async Task It_converges_although_the_daemon_stops_in_the_middle()
    {
        await CreateAsync("web", 12);
        for (var round = 0; round < 4; round++)
        {
            await Task.Delay(TimeSpan.FromMilliseconds(20), TimeProvider.System, Cancel);
            await _api.RestartAsync();
        }

        await UntilAsync("web", deployment => deployment is { Status: "healthy", ReadyReplicas: 12 });
        Assert.Equal(12, _api.Launcher.Alive.Count);
        await DeleteAsync("web", 204);
        Assert.Empty(_api.Launcher.Alive);
    }

    [Theory]
    [InlineData("""{"name": "Web", "config": {"plugin": "hello"}}""", 400, "name")]
    [InlineData("""{"name": "a23456789-123456789-123456789-123456789-123456789-1234567", "config": {"plugin": "hello"}}""", 400, "name")]
    [InlineData("""{"name": "web", "replicas": -1, "config": {"plugin": "hello"}}""", 400, "replicas")]
    [InlineData("""{"name": "web", "replicas": 10000000, "config": {"plugin": "hello"}}""", 400, "replicas")]
    [InlineData("""{"name": "web"}""", 400, "config")]
    [InlineData("""{"name": "web", "config": {}}""", 400, "config.plugin")]
    [InlineData("""{"name": "web", "config": {"plugin": "hello", "network": {"mode": "x"}}}""", 400, "config.network.mode")]
    [InlineData("""{"name": "web", "config": {"plugin": "hello"}, "strategy": {"max_surge": 0}}""", 400, "strategy")]
    [InlineData("""{"name": "web", "config": {"plugin": "hello"}, "colour": 1}""", 400, "colour")]
    [InlineData("""{"name": "web", "config": {"plugin": "nope"}}""", 404, "")]
    public async Task Bad_requests_name_what_is_wrong(string body, int status, string field)
    {
        using var response = await _api.SendAsync(HttpMethod.Post, "/api/v1/deployments", body);
        var problem = await ApiFixture.ReadAsync(response, status, ContractsJson.Default.Problem);
        Assert.True(field.Length == 0 || problem.Errors!.ContainsKey(field), problem.Detail);
        using var list = await _api.SendAsync(HttpMethod.Get, "/api/v1/deployments");
        Assert.Empty(await ApiFixture.ReadAsync(list, 200, ContractsJson.Default.IReadOnlyListDeployment));
    }

    [Fact]
    public async Task A_name_is_taken_once_a_stale_change_is_refused_and_a_used_plugin_stays()
    {
        await CreateAsync("web", 0);
        using var second = await _api.SendAsync(HttpMethod.Post, "/api/v1/deployments", """{"name": "web", "config": {"plugin": "hello"}}""");
        Assert.Equal("deployment_exists", (await ApiFixture.ReadAsync(second, 409, ContractsJson.Default.Problem)).Code);
        using var stale = await _api.SendAsync(HttpMethod.Patch, "/api/v1/deployments/web", """{"replicas": 1}""", ("If-Match", "\"9\""));
        Assert.Equal(412, (int)stale.StatusCode);
        using var plugin = await _api.SendAsync(HttpMethod.Delete, "/api/v1/plugins/hello");
        Assert.Contains("deployment web", (await ApiFixture.ReadAsync(plugin, 409, ContractsJson.Default.Problem)).Detail, StringComparison.Ordinal);
        await DeleteAsync("web", 204);
        await DeleteAsync("web", 404);
    }

    private async Task CreateAsync(string name, int replicas, string members = "")
    {
        using var response = await _api.SendAsync(HttpMethod.Post, "/api/v1/deployments", $$"""{"name": "{{name}}", "replicas": {{replicas}}, "config": {"plugin": "hello"}{{members}} }""");
        await ApiFixture.ReadAsync(response, 201, ContractsJson.Default.Deployment);
    }

    private async Task PatchAsync(string name, string patch)
    {
        using var response = await _api.SendAsync(HttpMethod.Patch, $"/api/v1/deployments/{name}", patch);
        await ApiFixture.ReadAsync(response, 200, ContractsJson.Default.Deployment);
    }

    private async Task DeleteAsync(string name, int status)
    {
        using var response = await _api.SendAsync(HttpMethod.Delete, $"/api/v1/deployments/{name}");
        Assert.True((int)response.StatusCode == status, await response.Content.ReadAsStringAsync(Cancel));
    }

    private async Task<IReadOnlyList<Vm>> VmsAsync()
    {
        using var response = await _api.SendAsync(HttpMethod.Get, "/api/v1/vms?sort=name");
        return await ApiFixture.ReadAsync(response, 200, ContractsJson.Default.IReadOnlyListVm);
    }

    private async Task<IEnumerable<string>> NamesAsync() => (await VmsAsync()).Select(vm => vm.Name);

    private Task<Deployment> UntilAsync(string name, Func<Deployment, bool> wanted) => UntilAsync(_api, name, wanted);

    private static async Task<Deployment> UntilAsync(ApiFixture api, string name, Func<Deployment, bool> wanted)
    {
        var started = TimeProvider.System.GetTimestamp();
        while (true)
        {
            using var response = await api.SendAsync(HttpMethod.Get, $"/api/v1/deployments/{name}");
            var deployment = await ApiFixture.ReadAsync(response, 200, ContractsJson.Default.Deployment);
            if (wanted(deployment))
            {
                return deployment;
            }

            Assert.True(TimeProvider.System.GetElapsedTime(started).TotalSeconds < 40, $"{deployment}");
            await Task.Delay(TimeSpan.FromMilliseconds(10), TimeProvider.System, Cancel);
        }
    }
}
