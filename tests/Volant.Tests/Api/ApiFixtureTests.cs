using Volant.Contracts;
using Volant.Contracts.Api;

namespace Volant.Tests.Api;

public sealed class ApiFixtureTests
{
    [Fact]
    public async Task A_VM_becomes_ready_survives_the_daemon_and_is_deleted_with_all_it_owned()
    {
        await using var api = await ApiFixture.StartAsync();
        await api.InstallAsync();
        var created = await api.CreateAsync("web");
        await api.RestartAsync();

        using var found = await api.SendAsync(HttpMethod.Get, "/api/v1/vms/web");
        var vm = await ApiFixture.ReadAsync(found, 200, ContractsJson.Default.Vm);
        Assert.Equal((VmStatus.Running, created.Pid), (vm.Status, vm.Pid));
        using var deleted = await api.SendAsync(HttpMethod.Delete, "/api/v1/vms/web");
        Assert.Equal(204, (int)deleted.StatusCode);
        Assert.Empty(api.Launcher.Alive);
    }
}
