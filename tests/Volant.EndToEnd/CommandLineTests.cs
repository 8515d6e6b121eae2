using System.Text.Json;
using Volant.Contracts;
using Volant.Contracts.Api;

namespace Volant.EndToEnd;

/// <summary>The real volar against the real daemon, as a newcomer would use it.</summary>
public sealed class CommandLineTests(Workspace workspace) : IAsyncLifetime
{
    private readonly TestDaemon _daemon = new();

    public ValueTask InitializeAsync() => new(_daemon.StartAsync());

    [Fact]
    public async Task A_plugin_is_uploaded_listed_shown_and_removed()
    {
        await SucceedsAsync("plugins", "install", workspace.ProbeManifest);
        await SucceedsAsync("plugins", "install", workspace.ProbeManifest);
        Assert.Contains("probe", await SucceedsAsync("plugins", "list"), StringComparison.Ordinal);
        Assert.Contains("volant://sha256/", await SucceedsAsync("plugins", "show", "probe"), StringComparison.Ordinal);
        await SucceedsAsync("plugins", "remove", "probe");
        Assert.Equal(1, (await _daemon.VolarAsync("plugins", "show", "probe")).ExitCode);
    }

    [Fact]
    public async Task A_vm_is_created_listed_restarted_read_and_deleted()
    {
        await SucceedsAsync("plugins", "install", workspace.ProbeManifest);
        await SucceedsAsync("vms", "create", "web", "--plugin", "probe", "--memory", "160", "--wait");
        var vm = JsonSerializer.Deserialize(await SucceedsAsync("vms", "get", "web", "--output", "json"), ContractsJson.Default.Vm)!;
        Assert.Equal((VmStatus.Running, true, 160), (vm.Status, vm.Ready, vm.MemoryMb));
        Assert.Contains("web", await SucceedsAsync("vms", "list"), StringComparison.Ordinal);
        Assert.Single(JsonSerializer.Deserialize(await SucceedsAsync("vms", "list", "--output", "json"), ContractsJson.Default.IReadOnlyListVm)!);
        Assert.Contains("test-workload listens", await SucceedsAsync("vms", "logs", "web"), StringComparison.Ordinal);
        var inUse = await _daemon.VolarAsync("plugins", "remove", "probe");
        Assert.True(inUse.ExitCode == 1, inUse.ToString());
        Assert.Contains("web", inUse.Error, StringComparison.Ordinal);
        await SucceedsAsync("vms", "stop", "web");
        await SucceedsAsync("vms", "start", "web", "--wait");
        await SucceedsAsync("vms", "restart", "web", "--wait");
        await SucceedsAsync("vms", "delete", "web");
        Assert.Equal(1, (await _daemon.VolarAsync("vms", "get", "web")).ExitCode);
    }

    [Fact]
    public async Task Faults_have_their_exit_codes_and_name_the_next_step()
    {
        var missing = await _daemon.VolarAsync("vms", "create", "web", "--plugin", "nope");
        Assert.True(missing.ExitCode == 1, missing.ToString());
        Assert.Contains("volar plugins list", missing.Error, StringComparison.Ordinal);
        Assert.Equal(2, (await _daemon.VolarAsync("vms", "frobnicate")).ExitCode);
        var unreachable = await Command.RunAsync([Workspace.Program("volar"), "--api", "unix:///nonexistent/socket", "vms", "list"]);
        Assert.True(unreachable.ExitCode == 3, unreachable.ToString());
    }

    public ValueTask DisposeAsync() => _daemon.DisposeAsync();

    private async Task<string> SucceedsAsync(params string[] arguments)
    {
        var result = await _daemon.VolarAsync(arguments);
        Assert.True(result.ExitCode == 0, result + _daemon.Logs());
        return result.Output;
    }
}
