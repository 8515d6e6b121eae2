using Volant.Contracts.Api;
using Volant.Daemon;
using Volant.Linux.Processes;

namespace Volant.Tests.Orchestration;

public sealed class VmOrchestratorTests : IAsyncLifetime
{
    private readonly OrchestratorFixture _host = new();

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    private static CreateVmRequest Web => new() { Name = "web", Plugin = "hello" };

    public ValueTask InitializeAsync() => new(_host.InstallAsync());

    [Fact]
    public async Task Create_holds_process_tap_address_and_directory_and_delete_gives_all_back()
    {
        var vm = await _host.Orchestrator.CreateAsync(Web, Cancel);

        Assert.Equal(VmStatus.Running, vm.Status);
        Assert.Equal("192.168.127.2", vm.IpAddress);
        Assert.Single(_host.Network.Taps);
        Assert.Single(_host.Launcher.Alive);
        Assert.True(Directory.Exists(Path.GetDirectoryName(vm.SerialSocket)));
        await _host.Orchestrator.DeleteAsync("web", Cancel);
        Assert.Empty(_host.Store.AllVms());
        _host.AssertNothingIsHeld();
    }

    [Fact]
    public async Task Create_when_the_network_fails_leaves_nothing()
    {
        _host.Network.Failure = new VolantException(ErrorCodes.NetworkUnavailable, "No bridge.");

        var failure = await Assert.ThrowsAsync<VolantException>(() => _host.Orchestrator.CreateAsync(Web, Cancel));

        Assert.Equal(ErrorCodes.NetworkUnavailable, failure.Code);
        Assert.Empty(_host.Store.AllVms());
        _host.AssertNothingIsHeld();
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task Create_when_the_launch_fails_leaves_nothing(bool early)
    {
        var failure = new VolantException(ErrorCodes.HypervisorUnavailable, "No such program.");
        (_host.Launcher.FailBefore, _host.Launcher.FailAfter) = early ? (failure, (Exception?)null) : (null, failure);

        await Assert.ThrowsAsync<VolantException>(() => _host.Orchestrator.CreateAsync(Web, Cancel));

        Assert.Empty(_host.Store.AllVms());
        _host.AssertNothingIsHeld();
        _host.Launcher.FailBefore = _host.Launcher.FailAfter = null;
        Assert.Equal(VmStatus.Running, (await _host.Orchestrator.CreateAsync(Web, Cancel)).Status);
        await _host.Orchestrator.DeleteAsync("web", Cancel);
    }

    [Fact]
    public async Task A_caller_that_goes_away_does_not_stop_the_create()
    {
        using var gone = new CancellationTokenSource();
        await gone.CancelAsync();

        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => _host.Orchestrator.CreateAsync(Web, gone.Token));

        await WaitUntilAsync(() => _host.Store.FindVm("web") is { Vm.Status: VmStatus.Running });
        await _host.Orchestrator.DeleteAsync("web", Cancel);
        _host.AssertNothingIsHeld();
    }

    [Fact]
    public async Task Fifty_creates_of_one_name_make_one_vm()
    {
        var results = await Task.WhenAll(Enumerable.Range(0, 50).Select(async _ =>
        {
            try
            {
                return (await _host.Orchestrator.CreateAsync(Web, Cancel)).Name;
            }
            catch (VolantException e)
            {
                return e.Code;
            }
        }));

        Assert.Single(results, "web");
        Assert.Equal(49, results.Count(result => result == ErrorCodes.VmExists));
        Assert.Single(_host.Launcher.Alive);
        await _host.Orchestrator.DeleteAsync("web", Cancel);
        _host.AssertNothingIsHeld();
    }

    [Fact]
    public async Task A_failed_start_is_recorded_with_its_reason_and_holds_nothing()
    {
        await _host.Orchestrator.CreateAsync(Web, Cancel);
        await _host.Orchestrator.StopAsync("web", TimeSpan.Zero, Cancel);
        _host.Launcher.FailBefore = new VolantException(ErrorCodes.HypervisorUnavailable, "No such program.");

        await Assert.ThrowsAsync<VolantException>(() => _host.Orchestrator.StartAsync("web", Cancel));

        var vm = _host.Store.FindVm("web")!.Vm;
        Assert.Equal(VmStatus.Crashed, vm.Status);
        Assert.Contains("No such program", vm.LastError, StringComparison.Ordinal);
        _host.AssertNothingIsHeld();
        _host.Launcher.FailBefore = null;
        await _host.Orchestrator.StartAsync("web", Cancel);
        await _host.Orchestrator.DeleteAsync("web", Cancel);
    }

    [Fact]
    public async Task Concurrent_starts_stops_and_restarts_never_run_two_hypervisors()
    {
        await _host.Orchestrator.CreateAsync(Web, Cancel);
        var random = new Random(3);
        await Task.WhenAll(Enumerable.Range(0, 40).Select(i => random.Next(3) switch
        {
            0 => _host.Orchestrator.StartAsync("web", Cancel),
            1 => _host.Orchestrator.StopAsync("web", TimeSpan.Zero, Cancel),
            _ => _host.Orchestrator.RestartAsync("web", TimeSpan.Zero, Cancel),
        }));

        Assert.InRange(_host.Launcher.Alive.Count, 0, 1);
        Assert.Equal(_host.Launcher.Alive.Count, _host.Network.Taps.Count);
        await _host.Orchestrator.DeleteAsync("web", Cancel);
        _host.AssertNothingIsHeld();
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task Whoever_has_less_patience_need_not_wait_for_a_stop_that_has_more(bool delete)
    {
        await _host.Orchestrator.CreateAsync(Web, Cancel);
        _host.Launcher.IgnorePowerOff = true;
        var stop = _host.Orchestrator.StopAsync("web", TimeSpan.FromHours(1), Cancel);
        await WaitUntilAsync(() => _host.Launcher.PowerOffs == 1);

        // What is refused, or has more patience, ends nothing.
        await Assert.ThrowsAsync<VolantException>(() => _host.Orchestrator.DeleteAsync("web", Cancel, _ => throw new VolantException(ErrorCodes.VersionConflict, "It is another one.")));
        var again = _host.Orchestrator.StopAsync("web", TimeSpan.FromHours(2), Cancel);
        Assert.Single(_host.Launcher.Alive);
        Assert.False(stop.IsCompleted);

        var impatient = delete ? _host.Orchestrator.DeleteAsync("web", Cancel) : _host.Orchestrator.StopAsync("web", TimeSpan.FromSeconds(1), Cancel);
        _host.Clock.Advance(TimeSpan.FromSeconds(1));
        await impatient;

        Assert.Equal(VmStatus.Stopped, (await stop).Status);
        Assert.Equal(VmStatus.Stopped, (await again).Status);
        Assert.Empty(_host.Launcher.Alive);
    }

    [Fact]
    public async Task A_killed_hypervisor_is_settled_as_crashed_and_gives_back_its_tap()
    {
        await _host.Orchestrator.CreateAsync(Web, Cancel);
        Kill(Assert.Single(_host.Launcher.Alive));

        await WaitUntilAsync(() => _host.Store.FindVm("web") is { Vm.Status: VmStatus.Crashed });

        Assert.Equal((int?)9, _host.Store.FindVm("web")!.Vm.Exit!.Signal);
        _host.AssertNothingIsHeld();
    }

    [Fact]
    public async Task A_new_daemon_adopts_what_lives_and_settles_what_died()
    {
        var alive = await _host.Orchestrator.CreateAsync(Web, Cancel);
        await _host.Orchestrator.CreateAsync(Web with { Name = "dead" }, Cancel);
        var dead = _host.Store.FindVm("dead")!.Process!;

        // The old daemon must not see the death: its store is closed first.
        await _host.Database.DisposeAsync();
        Kill(dead);
        await WaitUntilAsync(() => !dead.IsAlive());
        await _host.RestartAsync();

        Assert.Equal((VmStatus.Running, alive.Pid), (_host.Store.FindVm("web")!.Vm.Status, _host.Store.FindVm("web")!.Vm.Pid));
        Assert.Equal("the hypervisor ended while the daemon was down", _host.Store.FindVm("dead")!.Vm.Exit!.Reason);
        Assert.Single(_host.Network.Taps);
        await _host.Orchestrator.DeleteAsync("web", Cancel);
        _host.AssertNothingIsHeld();
    }

    [Fact]
    public async Task A_launch_that_was_never_recorded_is_found_by_looking_at_processes()
    {
        var vm = await _host.Orchestrator.CreateAsync(Web, Cancel);
        await _host.Database.WriteAsync(
            c =>
            {
                using var command = c.CreateCommand();
                command.CommandText = "UPDATE vms SET status = 'starting', pid = NULL, pid_start_time = NULL, pid_boot_id = NULL, started_at = NULL";
                return command.ExecuteNonQuery();
            },
            Cancel);
        await _host.RestartAsync();

        Assert.Equal((VmStatus.Running, vm.Pid), (_host.Store.FindVm("web")!.Vm.Status, _host.Store.FindVm("web")!.Vm.Pid));
        await _host.Orchestrator.DeleteAsync("web", Cancel);
    }

    [Fact]
    public async Task A_create_that_never_launched_is_undone_after_a_restart()
    {
        await _host.Orchestrator.CreateAsync(Web, Cancel);
        var process = Assert.Single(_host.Launcher.Alive);
        await _host.Database.WriteAsync(
            c =>
            {
                using var command = c.CreateCommand();
                command.CommandText = "UPDATE vms SET status = 'starting', pid = NULL, pid_start_time = NULL, pid_boot_id = NULL, started_at = NULL";
                return command.ExecuteNonQuery();
            },
            Cancel);
        await _host.Database.DisposeAsync();
        Kill(process);
        await WaitUntilAsync(() => !process.IsAlive());
        await _host.RestartAsync();

        Assert.Empty(_host.Store.AllVms());
        _host.AssertNothingIsHeld();
    }

    [Fact]
    public async Task Orphans_are_removed_and_what_belongs_to_a_vm_is_not()
    {
        await _host.Orchestrator.CreateAsync(Web, Cancel);
        _host.Network.Taps.Add("vaaaaaaaaaaaaaa");
        var orphan = Directory.CreateDirectory(Path.Combine(_host.Options.RuntimeDirectory, Guid.NewGuid().ToString("D"))).FullName;
        var foreign = Directory.CreateDirectory(Path.Combine(_host.Options.RuntimeDirectory, "not-ours")).FullName;
        await _host.RestartAsync();

        await WaitUntilAsync(() => !Directory.Exists(orphan) && _host.Network.Taps.Count == 1);
        Assert.True(Directory.Exists(foreign));
        Directory.Delete(foreign);
        Assert.Single(_host.Launcher.Alive);
        await _host.Orchestrator.DeleteAsync("web", Cancel);
    }

    [Fact]
    public async Task A_recorded_process_id_that_another_process_has_now_is_never_signalled()
    {
        await _host.Orchestrator.CreateAsync(Web, Cancel);
        var victim = ProcessIdentity.Find(ProcessSpawner.Spawn(new SpawnRequest { Arguments = ["/bin/sleep", "300"] }))!;
        var own = Assert.Single(_host.Launcher.Alive);
        await _host.Database.WriteAsync(
            c =>
            {
                using var command = c.CreateCommand();
                command.CommandText = $"UPDATE vms SET pid = {victim.Pid}, pid_start_time = {victim.StartTime - 1}";
                return command.ExecuteNonQuery();
            },
            Cancel);
        await _host.Database.DisposeAsync();
        Kill(own);
        await WaitUntilAsync(() => !own.IsAlive());
        await _host.RestartAsync();

        Assert.Equal(VmStatus.Crashed, _host.Store.FindVm("web")!.Vm.Status);
        Assert.True(victim.IsAlive());
        Kill(victim);
        await WaitUntilAsync(() => ProcessWait.TryReap(victim.Pid, out var isChild) is not null || !isChild);
    }

    public ValueTask DisposeAsync() => _host.DisposeAsync();

    private static void Kill(ProcessIdentity identity)
    {
        using var process = PidFd.TryOpen(identity);
        process?.Signal(9);
    }

    private static async Task WaitUntilAsync(Func<bool> condition)
    {
        var started = TimeProvider.System.GetTimestamp();
        while (!condition())
        {
            Assert.True(TimeProvider.System.GetElapsedTime(started).TotalSeconds < 20, "the condition did not come true");
            await Task.Delay(TimeSpan.FromMilliseconds(5), TimeProvider.System, Cancel);
        }
    }
}
