using Volant.Contracts.Api;
using Volant.Daemon;
using Volant.Daemon.Orchestration;
using Volant.Linux.Processes;

namespace Volant.Tests.Orchestration;

public sealed class RestartPolicyTests : IAsyncLifetime
{
    private readonly OrchestratorFixture _host = new();

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    public async ValueTask InitializeAsync()
    {
        await _host.InstallAsync("vsock");
        await _host.Restarts.StartAsync(Cancel);
    }

    public ValueTask DisposeAsync() => _host.DisposeAsync();

    [Theory]
    [InlineData("no", true, false)]
    [InlineData("no", false, false)]
    [InlineData("on-failure", true, true)]
    [InlineData("on-failure", false, false)]
    [InlineData("always", true, true)]
    [InlineData("always", false, true)]
    public void The_policy_says_after_which_end_a_VM_starts_again(string policy, bool crashed, bool again) =>
        Assert.Equal(again, Policy(policy).Decide(crashed, TimeSpan.Zero, attempts: 0, random: 0.5).Delay is not null);

    [Fact]
    public void The_delay_doubles_up_to_a_minute_and_the_jitter_stays_within_its_bounds()
    {
        var policy = Policy("always");

        Assert.Equal([1, 2, 4, 8, 16, 32, 60, 60], Enumerable.Range(0, 8).Select(attempts => policy.Decide(true, TimeSpan.Zero, attempts, 0.5).Delay!.Value.TotalSeconds));
        Assert.Equal((0.8, 1.2), (policy.Decide(true, TimeSpan.Zero, 0, 0).Delay!.Value.TotalSeconds, policy.Decide(true, TimeSpan.Zero, 0, 1).Delay!.Value.TotalSeconds));
        Assert.True(policy.Decide(true, TimeSpan.Zero, int.MaxValue - 1, 1).Delay <= 1.2 * RestartPolicy.MaxBackoff);
    }

    [Fact]
    public void Running_for_long_enough_forgets_earlier_failures()
    {
        var policy = Policy("always") with { MaxAttempts = 3 };

        Assert.True(policy.Decide(true, TimeSpan.FromSeconds(59), 3, 0.5).GaveUp);
        Assert.Equal(1, policy.Decide(true, TimeSpan.FromSeconds(60), 3, 0.5).Attempts);
    }

    [Fact]
    public async Task A_killed_VM_is_started_again_after_its_back_off_and_not_before()
    {
        await CreateAsync("on-failure");
        await KillAsync();

        var crashed = Vm;
        Assert.Equal(VmStatus.Crashed, crashed.Status);
        Assert.InRange((crashed.RestartAt!.Value - _host.Clock.GetUtcNow()).TotalMilliseconds, 700, 1200);
        await AdvanceAsync(TimeSpan.FromMilliseconds(600));
        Assert.Equal(VmStatus.Crashed, Vm.Status);
        await AdvanceAsync(TimeSpan.FromMilliseconds(700));
        await UntilAsync(() => Vm.Status == VmStatus.Running);
        Assert.Equal((1, null), (Vm.Restarts, Vm.RestartAt));
        await _host.Orchestrator.DeleteAsync("web", Cancel);
        _host.AssertNothingIsHeld();
    }

    [Fact]
    public async Task A_crash_loop_launches_ever_more_seldom_and_ends_when_the_attempts_are_used_up()
    {
        await CreateAsync("always", maxAttempts: 5);
        _host.Launcher.FailBefore = new VolantException(ErrorCodes.HypervisorUnavailable, "No such program.");
        await KillAsync();
        for (var second = 0; second < 600 && Vm is not { Status: VmStatus.Crashed, RestartAt: null }; second++)
        {
            await AdvanceAsync(TimeSpan.FromSeconds(1));
        }

        Assert.Equal(6, _host.Launcher.Launches);
        Assert.Equal((VmStatus.Crashed, null), (Vm.Status, Vm.RestartAt));
        Assert.Contains("No such program", Vm.LastError, StringComparison.Ordinal);
        Assert.Contains("not started again after 5 attempts", Vm.LastError, StringComparison.Ordinal);
        _host.AssertNothingIsHeld();
        _host.Launcher.FailBefore = null;
    }

    [Fact]
    public async Task A_stop_by_the_user_suppresses_the_restart()
    {
        await CreateAsync("always");
        await KillAsync();
        await _host.Orchestrator.StopAsync("web", TimeSpan.Zero, Cancel, "alice");
        await AdvanceAsync(TimeSpan.FromMinutes(5));

        Assert.Equal((VmStatus.Stopped, DesiredState.Stopped, 1), (Vm.Status, Vm.Desired, _host.Launcher.Launches));
        await _host.Orchestrator.StartAsync("web", Cancel);
        await _host.Orchestrator.StopAsync("web", TimeSpan.Zero, Cancel, "alice");
        await AdvanceAsync(TimeSpan.FromMinutes(5));
        Assert.Equal((VmStatus.Stopped, "alice", 2), (Vm.Status, Vm.Exit!.AskedBy, _host.Launcher.Launches));
    }

    [Fact]
    public async Task The_time_of_a_restart_survives_the_daemon()
    {
        await CreateAsync("on-failure");
        await KillAsync();
        await _host.RestartAsync();
        await AdvanceAsync(TimeSpan.FromSeconds(2));

        await UntilAsync(() => Vm.Status == VmStatus.Running);
        await _host.Orchestrator.DeleteAsync("web", Cancel);
    }

    [Theory]
    [InlineData(-3650.0)]
    [InlineData(-1.0 / 24)]
    public async Task A_clock_that_was_set_back_does_not_delay_a_restart_for_long(double days)
    {
        await CreateAsync("on-failure");
        await KillAsync();
        await _host.Database.DisposeAsync();
        _host.SetClock(_host.Clock.GetUtcNow().AddDays(days));
        await _host.RestartAsync();
        await AdvanceAsync(TimeSpan.FromSeconds(1));

        await UntilAsync(() => Vm.Status == VmStatus.Running);
        await _host.Orchestrator.DeleteAsync("web", Cancel);
    }

    [Fact]
    public async Task The_reason_of_an_end_is_kept_with_the_last_lines_of_the_console()
    {
        await CreateAsync("no");
        var log = Path.Combine(_host.Options.LogDirectory, Vm.Uid.ToString("D"), "console.log");
        await File.WriteAllTextAsync(log, "booting\nOops: the disk\u001b[31m is gone\n", Cancel);
        await KillAsync();
        await _host.RestartAsync();

        Assert.Equal(["booting", "Oops: the disk[31m is gone"], Vm.Exit!.LastLines!);
        Assert.Equal((9, (string?)null), (Vm.Exit.Signal, Vm.Exit.AskedBy));
        Assert.Contains("killed by signal 9", Vm.Exit.Reason, StringComparison.Ordinal);
        Assert.Null(Vm.RestartAt);
    }

    [Theory]
    [InlineData("no", false)]
    [InlineData("on-failure", true)]
    public async Task A_guest_that_fell_silent_is_not_ready_and_ended_only_when_a_policy_starts_it_again(string policy, bool ends)
    {
        await CreateAsync(policy);
        await _host.Store.SetReadyAsync(Vm.Id, ready: true, bootMs: 1, message: null, Cancel);
        await _host.RestartAsync();
        for (var second = 0; second < 12 && Vm.Ready; second++)
        {
            await AdvanceAsync(TimeSpan.FromSeconds(1));
        }

        Assert.Equal((VmStatus.Running, false), (Vm.Status, Vm.Ready));
        Assert.True(WasSaid("silent while the hypervisor runs"));
        for (var second = 0; second < 180 && _host.Launcher.Launches == 1; second++)
        {
            await AdvanceAsync(TimeSpan.FromSeconds(1));
        }

        Assert.Equal(ends ? 2 : 1, _host.Launcher.Launches);
        Assert.Equal(ends, WasSaid("the guest hung"));
        await UntilAsync(() => Vm.Status == VmStatus.Running);
        await _host.Orchestrator.DeleteAsync("web", Cancel);

        bool WasSaid(string words) => _host.Store.ListEvents(0, long.MaxValue, 100)!.Any(happened => happened.Event.Message?.Contains(words, StringComparison.Ordinal) == true);
    }

    [Fact]
    public async Task An_agent_that_never_answers_ends_the_boot()
    {
        await CreateAsync("no");
        for (var second = 0; second < 120 && Vm.Status == VmStatus.Running; second++)
        {
            await AdvanceAsync(TimeSpan.FromSeconds(1));
        }

        Assert.Equal(VmStatus.Crashed, Vm.Status);
        Assert.Contains("the agent did not answer within 90 s", Vm.LastError, StringComparison.Ordinal);
    }

    private Vm Vm => _host.Store.FindVm("web")!.Vm;

    private static RestartPolicy Policy(string policy) => RestartPolicy.Of(new VmConfig { Restart = new RestartConfig { Policy = policy } });

    private Task<Vm> CreateAsync(string policy, int? maxAttempts = null) => _host.Orchestrator.CreateAsync(
        new CreateVmRequest { Name = "web", Plugin = "hello", Config = new VmConfig { Restart = new RestartConfig { Policy = policy, MaxAttempts = maxAttempts } } }, Cancel);

    private async Task KillAsync()
    {
        using (var process = PidFd.TryOpen(Assert.Single(_host.Launcher.Alive)))
        {
            process!.Signal(9);
        }

        await UntilAsync(() => Vm.Status == VmStatus.Crashed);
    }

    /// <summary>Moves the clock, and gives what waits for it some real time to act.</summary>
    private async Task AdvanceAsync(TimeSpan time)
    {
        await Task.Delay(TimeSpan.FromMilliseconds(15), TimeProvider.System, Cancel);
        _host.Clock.Advance(time);
        await Task.Delay(TimeSpan.FromMilliseconds(15), TimeProvider.System, Cancel);
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
