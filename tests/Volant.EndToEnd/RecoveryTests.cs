using Volant.Contracts.Api;
using Volant.Linux.Processes;

namespace Volant.EndToEnd;

/// <summary>VMs outlive the daemon, and the daemon finds them again.</summary>
public sealed class RecoveryTests(Workspace workspace) : IAsyncLifetime
{
    private const int SigKill = 9;
    private const int SigTerm = 15;

    private readonly TestDaemon _daemon = new();

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    public async ValueTask InitializeAsync()
    {
        await _daemon.StartAsync();
        await _daemon.InstallAsync(workspace.ProbeManifest);
    }

    [Fact]
    public async Task Twenty_kills_of_the_daemon_touch_no_vm()
    {
        string[] names = ["a", "b"];
        var vms = await Task.WhenAll(names.Select(name => _daemon.CreateReadyAsync(name)));
        var before = vms.ToDictionary(vm => vm.Name, vm => ProcessIdentity.Find(vm.Pid!.Value), StringComparer.Ordinal);
        var random = new Random(20);
        for (var kill = 0; kill < 20; kill++)
        {
            // Requests are under way when the daemon dies.
            var load = names.SelectMany(name => Enumerable.Range(0, 4).Select(_ => TryGetAsync($"/api/v1/vms/{name}/agent/slow/200"))).ToArray();
            await Task.Delay(TimeSpan.FromMilliseconds(random.Next(150)), TimeProvider.System, Cancel);
            await _daemon.EndAsync(SigKill);
            await Task.WhenAll(load);
            await _daemon.StartAsync();
            foreach (var name in names)
            {
                Assert.Equal($"hello from {name}", await _daemon.Client.GetStringAsync($"/api/v1/vms/{name}/agent/", Cancel));
                var vm = (await _daemon.FindAsync(name))!;
                Assert.Equal((VmStatus.Running, true, 0), (vm.Status, vm.Ready, vm.Restarts));
                Assert.Equal(before[name], ProcessIdentity.Find(vm.Pid!.Value));
            }
        }

        Assert.Equal(names.Length, _daemon.Hypervisors().Count);
    }

    [Fact]
    public async Task Stopping_the_daemon_touches_no_vm_and_an_adopted_vm_can_be_stopped()
    {
        var vm = await _daemon.CreateReadyAsync("a");
        await _daemon.EndAsync(SigTerm);
        Assert.Single(_daemon.Hypervisors());
        await _daemon.StartAsync();
        Assert.Equal(vm.Pid, (await _daemon.FindAsync("a"))!.Pid);

        using var response = await _daemon.PostAsync("/api/v1/vms/a/stop");

        var stopped = (await _daemon.FindAsync("a"))!;
        Assert.Equal(VmStatus.Stopped, stopped.Status);
        Assert.Equal("stopped on request; the guest powered off", stopped.Exit!.Reason);
    }

    [Fact]
    public async Task What_died_while_the_daemon_was_down_is_settled_with_a_reason()
    {
        var vm = await _daemon.CreateReadyAsync("a");
        await _daemon.EndAsync(SigKill);
        Kill(vm.Pid!.Value);
        await _daemon.StartAsync();

        var settled = (await _daemon.FindAsync("a"))!;
        Assert.Equal(VmStatus.Crashed, settled.Status);
        Assert.Equal("the hypervisor ended while the daemon was down", settled.Exit!.Reason);
        using var started = await _daemon.PostAsync("/api/v1/vms/a/start?wait=ready");
        Assert.True(started.IsSuccessStatusCode, _daemon.Logs());
    }

    [Fact]
    public async Task A_killed_hypervisor_is_a_crash_with_its_signal()
    {
        var vm = await _daemon.CreateReadyAsync("a");
        Kill(vm.Pid!.Value);

        var crashed = await _daemon.UntilAsync("a", now => now.Status == VmStatus.Crashed, seconds: 5);

        Assert.Equal((int?)SigKill, crashed.Exit!.Signal);
        Assert.Contains("signal 9", crashed.Exit.Reason, StringComparison.Ordinal);
        Assert.NotNull(crashed.LastError);
    }

    [Fact]
    public async Task A_hypervisor_without_record_is_ended_and_its_files_removed()
    {
        await _daemon.CreateReadyAsync("a");
        await _daemon.EndAsync(SigKill);
        await _daemon.StartWithoutRecordsAsync();
    }

    [Fact]
    public async Task A_create_that_the_daemon_did_not_survive_leaves_a_whole_vm_or_none()
    {
        var random = new Random(7);
        for (var round = 0; round < 6; round++)
        {
            var name = $"half-{round}";
            var create = TryPostAsync("/api/v1/vms", $$"""{"name": "{{name}}", "plugin": "probe"}""");
            await Task.Delay(TimeSpan.FromMilliseconds(random.Next(80)), TimeProvider.System, Cancel);
            await _daemon.EndAsync(SigKill);
            await create;
            await _daemon.StartAsync();

            var vm = await _daemon.FindAsync(name);
            if (vm is not null)
            {
                Assert.Equal(VmStatus.Running, vm.Status);
                Assert.Contains(vm.Pid!.Value, _daemon.Hypervisors());
                using var deleted = await _daemon.Client.DeleteAsync($"/api/v1/vms/{name}", Cancel);
                Assert.True(deleted.IsSuccessStatusCode);
            }
        }
    }

    public ValueTask DisposeAsync() => _daemon.DisposeAsync();

    private static void Kill(int pid)
    {
        using var process = PidFd.TryOpen(ProcessIdentity.Find(pid)!);
        Assert.True(process!.Signal(SigKill));
    }

    private async Task TryGetAsync(string path)
    {
        try
        {
            using var response = await _daemon.Client.GetAsync(path, Cancel);
        }
        catch (Exception e) when (e is HttpRequestException or OperationCanceledException or ObjectDisposedException)
        {
            // The daemon was killed on purpose.
        }
    }

    private async Task TryPostAsync(string path, string json)
    {
        try
        {
            using var response = await _daemon.PostAsync(path, json);
        }
        catch (Exception e) when (e is HttpRequestException or OperationCanceledException or ObjectDisposedException)
        {
            // The daemon was killed on purpose.
        }
    }
}
