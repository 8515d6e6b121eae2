using Microsoft.Extensions.Logging.Abstractions;
using Volant.Contracts.Api;
using Volant.Daemon.Api;
using Volant.Daemon.Orchestration.Deployments;
using Volant.Daemon.Store;
using Volant.Linux.Processes;

namespace Volant.Tests.Orchestration;

/// <summary>The time of day is set while everything runs: nothing is killed, given up or forgotten because of it (T10, G14).</summary>
public sealed class ClockJumpTests : IAsyncLifetime
{
    private readonly OrchestratorFixture _host = new();

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    public static TheoryData<long> Jumps => [1, -1, 3600, -3600, 315_360_000, -315_360_000];

    public async ValueTask InitializeAsync()
    {
        // Long after any jump back.
        _host.SetClock(new DateTimeOffset(2026, 1, 1, 0, 0, 0, TimeSpan.Zero));
        await _host.RestartAsync();
        await _host.InstallAsync("vsock");
    }

    public ValueTask DisposeAsync() => _host.DisposeAsync();

    [Theory]
    [MemberData(nameof(Jumps))]
    public async Task A_running_VM_is_not_ended_and_a_silent_one_is_ended_when_its_time_is_up(long seconds)
    {
        await _host.Orchestrator.CreateAsync(new CreateVmRequest { Name = "web", Plugin = "hello" }, Cancel);
        for (var i = 0; i < 8; i++)
        {
            Jump(seconds);
            await AdvanceAsync(TimeSpan.FromSeconds(1));
        }

        Assert.Equal(VmStatus.Running, Vm.Status);
        Assert.Single(_host.Launcher.Alive);

        // Its agent never answers: by the monotonic clock it has had its 90 s then.
        await AdvanceUntilAsync(() => Vm.Status == VmStatus.Crashed, TimeSpan.FromSeconds(5), limit: 40);
        Assert.Contains("did not answer within 90 s", Vm.LastError, StringComparison.Ordinal);
    }

    [Theory]
    [MemberData(nameof(Jumps))]
    public async Task A_restart_that_is_due_comes_within_two_minutes_whatever_the_clock_says(long seconds)
    {
        await _host.Orchestrator.CreateAsync(
            new CreateVmRequest { Name = "web", Plugin = "hello", Config = new VmConfig { Restart = new RestartConfig { Policy = "always", BackoffMs = 60_000 } } }, Cancel);
        using (var process = PidFd.TryOpen(Assert.Single(_host.Launcher.Alive)))
        {
            process!.Signal(9);
        }

        await UntilAsync(() => Vm.Status == VmStatus.Crashed);
        Jump(seconds);

        // The sooner by a jump forward, never later than the longest delay and one look at the clock.
        await AdvanceUntilAsync(() => Vm.Status == VmStatus.Running, TimeSpan.FromSeconds(5), limit: 30);
        Assert.Equal(1, Vm.Restarts);
    }

    [Theory]
    [MemberData(nameof(Jumps))]
    public async Task A_stop_waits_for_its_grace_and_no_longer(long seconds)
    {
        await _host.Orchestrator.CreateAsync(new CreateVmRequest { Name = "web", Plugin = "hello" }, Cancel);
        _host.Launcher.IgnorePowerOff = true;
        var stop = _host.Orchestrator.StopAsync("web", TimeSpan.FromSeconds(60), Cancel);
        await AdvanceUntilAsync(() => Vm.Status == VmStatus.Stopping && _host.Launcher.PowerOffs == 1, TimeSpan.FromSeconds(1), limit: 20);
        Jump(seconds);
        await AdvanceAsync(TimeSpan.FromSeconds(30));

        Assert.False(stop.IsCompleted);
        Assert.Single(_host.Launcher.Alive);
        await AdvanceUntilAsync(() => stop.IsCompleted, TimeSpan.FromSeconds(5), limit: 10);
        Assert.Equal(VmStatus.Stopped, (await stop).Status);
    }

    [Theory]
    [MemberData(nameof(Jumps))]
    public async Task Events_keep_their_order_across_jumps_and_restarts(long seconds)
    {
        await _host.Orchestrator.CreateAsync(new CreateVmRequest { Name = "web", Plugin = "hello" }, Cancel);
        for (var i = 0; i < 3; i++)
        {
            Jump(seconds);
            await _host.Orchestrator.StopAsync("web", TimeSpan.Zero, Cancel);
            await _host.RestartAsync();
            await _host.Orchestrator.StartAsync("web", Cancel);
        }

        var events = _host.Store.ListEvents(0, long.MaxValue, int.MaxValue)!;
        Assert.Equal(
            ["VM_CREATED", "VM_STARTING", "VM_RUNNING", .. Enumerable.Repeat<string[]>(["VM_STOPPING", "VM_STOPPED", "VM_STARTING", "VM_RUNNING"], 3).SelectMany(types => types)],
            events.Select(next => next.Event.Type));
        Assert.True(_host.Events.Open(events[0].Sequence, Cancel) is { Missed: false });
    }

    [Theory]
    [MemberData(nameof(Jumps))]
    public async Task A_roll_out_is_given_up_at_its_deadline_and_not_before(long seconds)
    {
        var strategy = new RolloutStrategy { MaxSurge = 1, MaxUnavailable = 1, ProgressDeadlineSeconds = 60 };
        await _host.Store.InsertDeploymentAsync("app", 1, new VmConfig { Plugin = "hello" }, strategy, [], Cancel);
        var loop = new DeploymentLoop("app", _host.Store, _host.Orchestrator, _host.Ports, _host.Clock, NullLogger.Instance);
        using var stop = CancellationTokenSource.CreateLinkedTokenSource(Cancel);
        var running = loop.RunAsync(stop.Token);
        await UntilAsync(() => _host.Store.FindVm("app-1")?.Vm.Status == VmStatus.Running);
        await _host.Store.SetReadyAsync(_host.Store.FindVm("app-1")!.Id, ready: true, 1, null, Cancel);
        loop.Wake();
        await UntilAsync(() => Deployment.GoodRevision == 1);

        await _host.Store.ChangeDeploymentAsync("app", _ => true, null, new VmConfig { Plugin = "hello", Runtime = "next" }, null, [], Cancel);
        loop.Wake();
        await UntilAsync(() => _host.Store.FindVm("app-1")?.Vm is { Runtime: "next", Status: VmStatus.Running });
        await AdvanceAsync(TimeSpan.FromSeconds(1));
        for (var i = 0; i < 4; i++)
        {
            Jump(seconds);
            loop.Wake();
            await AdvanceAsync(TimeSpan.FromSeconds(5));
        }

        Assert.Equal(2, Deployment.Deployment.Revision);
        await AdvanceUntilAsync(() => Deployment.Deployment.Revision == 1, TimeSpan.FromSeconds(5), limit: 40);
        Assert.Contains("was rolled back to revision 1", Deployment.Deployment.Message, StringComparison.Ordinal);
        await stop.CancelAsync();
        await running;
    }

    [Theory]
    [MemberData(nameof(Jumps))]
    public void Back_off_and_the_count_of_wrong_keys_go_by_the_monotonic_clock(long seconds)
    {
        var backoff = new ReplicaBackoff(_host.Clock);
        backoff.Fail(1);
        var left = backoff.Remaining(1);
        var failures = new FailureWindow();
        for (var i = 0; i < FailureWindow.Limit; i++)
        {
            Assert.False(failures.IsOver("10.0.0.1", _host.Clock));
        }

        Jump(seconds);

        Assert.Equal(left, backoff.Remaining(1));
        Assert.True(failures.IsOver("10.0.0.1", _host.Clock));
        _host.Clock.Advance(TimeSpan.FromSeconds(61));
        Assert.Equal(TimeSpan.Zero, backoff.Remaining(1));
        Assert.False(failures.IsOver("10.0.0.1", _host.Clock));
    }

    [Theory]
    [MemberData(nameof(Jumps))]
    public async Task An_adopted_VM_has_no_boot_time_of_less_than_nothing(long seconds)
    {
        await _host.Orchestrator.CreateAsync(new CreateVmRequest { Name = "web", Plugin = "hello" }, Cancel);
        Jump(seconds);
        await _host.RestartAsync();
        await _host.Store.SetReadyAsync(_host.Store.FindVm("web")!.Id, ready: false, null, "not yet", Cancel);

        Assert.Equal(VmStatus.Running, Vm.Status);
        Assert.Null(Vm.BootMs);
    }

    private Vm Vm => _host.Store.FindVm("web")!.Vm;

    private DeploymentRecord Deployment => _host.Store.FindDeployment("app")!;

    private void Jump(long seconds) => _host.Clock.SetBy(TimeSpan.FromSeconds(seconds));

    /// <summary>Moves the monotonic clock, and gives what waits for it some real time to act.</summary>
    private async Task AdvanceAsync(TimeSpan time)
    {
        await Task.Delay(TimeSpan.FromMilliseconds(10), TimeProvider.System, Cancel);
        _host.Clock.Advance(time);
        await Task.Delay(TimeSpan.FromMilliseconds(10), TimeProvider.System, Cancel);
    }

    private async Task AdvanceUntilAsync(Func<bool> condition, TimeSpan step, int limit)
    {
        for (var i = 0; i < limit && !condition(); i++)
        {
            await AdvanceAsync(step);
        }

        await UntilAsync(condition);
    }

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
