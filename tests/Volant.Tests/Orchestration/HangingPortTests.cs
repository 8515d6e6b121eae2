using Microsoft.Extensions.Logging.Abstractions;
using Volant.Contracts.Api;
using Volant.Daemon.Orchestration.Deployments;

namespace Volant.Tests.Orchestration;

/// <summary>Ports that hang or give up on their own, and deployments whose ports fail: all of it happens, or nothing is left (T12, I9).</summary>
public sealed class HangingPortTests : IAsyncLifetime
{
    private readonly OrchestratorFixture _host = new();
    private readonly TaskCompletionSource _port = new(TaskCreationOptions.RunContinuationsAsynchronously);

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    private static CreateVmRequest Web => new() { Name = "web", Plugin = "hello" };

    public static MatrixTheoryData<string, string, string> Matrix =>
        new(["create", "start", "stop", "restart", "delete"], ["attach", "detach", "before-launch", "after-launch"], ["returns", "cancelled", "fails", "daemon-killed"]);

    public static MatrixTheoryData<string, string> Scales => new(["up", "down"], ["attach", "detach", "before-launch", "after-launch", "store", "daemon-killed"]);

    public ValueTask InitializeAsync() => new(_host.InstallAsync());

    public async ValueTask DisposeAsync()
    {
        // What still hangs in a daemon that is gone must not go on.
        _port.TrySetCanceled(CancellationToken.None);
        await _host.DisposeAsync();
    }

    [Theory]
    [MemberData(nameof(Matrix))]
    public async Task A_port_that_hangs_delays_nobody_else_and_whatever_becomes_of_it_the_VM_is_whole_or_gone(string operation, string port, string end)
    {
        if (operation != "create")
        {
            await _host.Orchestrator.CreateAsync(Web, Cancel);
        }

        if (operation == "start")
        {
            await _host.Orchestrator.StopAsync("web", TimeSpan.Zero, Cancel);
        }

        Hang(port, _port.Task);
        var running = RunAsync(operation);
        var hangs = Meets(operation, port);
        if (hangs)
        {
            await UntilAsync(() => _host.Network.Waiting + _host.Launcher.Waiting == 1);
            Assert.False(running.IsCompleted);
        }

        // Another VM goes its way meanwhile, over ports of its own.
        Hang(port, null);
        await _host.Orchestrator.CreateAsync(Web with { Name = "other" }, Cancel);
        await _host.Orchestrator.DeleteAsync("other", Cancel);
        switch (end)
        {
            case "returns":
                _port.SetResult();
                break;
            case "cancelled":
                _port.SetCanceled(CancellationToken.None);
                break;
            case "fails":
                _port.SetException(new IOException("The port gave up."));
                break;
            default:
                await AssertWholeOrGoneAsync(acknowledged: null);
                return;
        }

        var failure = await Record.ExceptionAsync(() => running);
        Assert.True(failure is null || (hangs && end != "returns"), $"{failure}");
        await AssertWholeOrGoneAsync(acknowledged: failure is null && end == "returns" ? operation : null);
    }

    [Theory]
    [MemberData(nameof(Scales))]
    public async Task A_deployment_comes_to_its_number_once_its_ports_work_again(string direction, string port)
    {
        await _host.RestartAsync();
        var (before, after) = direction == "up" ? (2, 5) : (5, 2);
        await _host.Store.InsertDeploymentAsync("app", before, new VmConfig { Plugin = "hello" }, new RolloutStrategy { MaxSurge = 1, MaxUnavailable = 0, ProgressDeadlineSeconds = 600 }, [], Cancel);
        using var stop = CancellationTokenSource.CreateLinkedTokenSource(Cancel);
        var (loop, running) = Follow(stop.Token);
        await UntilAsync(loop, () => Replicas(before));
        var failure = new IOException("The port gave up.");
        switch (port)
        {
            case "attach":
                _host.Network.Failure = failure;
                break;
            case "detach":
                _host.Network.DetachFailure = failure;
                break;
            case "before-launch":
                _host.Launcher.FailBefore = failure;
                break;
            case "after-launch":
                _host.Launcher.FailAfter = failure;
                break;
        }

        await _host.Store.ChangeDeploymentAsync("app", _ => true, after, null, null, [], Cancel);
        if (port == "store")
        {
            _host.Database.FailAt(3);
        }

        loop.Wake();
        if (port == "daemon-killed")
        {
            await stop.CancelAsync();
            await _host.RestartAsync();
            await running;
            using var again = CancellationTokenSource.CreateLinkedTokenSource(Cancel);
            (loop, running) = Follow(again.Token);
            await UntilAsync(loop, () => Replicas(after));
            await again.CancelAsync();
        }
        else
        {
            await Task.Delay(TimeSpan.FromMilliseconds(100), TimeProvider.System, Cancel);
            (_host.Network.Failure, _host.Network.DetachFailure, _host.Launcher.FailBefore, _host.Launcher.FailAfter) = (null, null, null, null);
            _host.Database.FailAt(null);
            await UntilAsync(loop, () => Replicas(after));
            await stop.CancelAsync();
        }

        await running;
        Assert.Equal(after, _host.Network.Taps.Count);
        foreach (var vm in _host.Store.AllVms())
        {
            await _host.Orchestrator.DeleteAsync(vm.Name, Cancel);
        }

        _host.AssertNothingIsHeld();
    }

    /// <summary>Whether an operation comes to a port at all.</summary>
    private static bool Meets(string operation, string port) => port switch
    {
        "detach" => operation is "stop" or "restart" or "delete",
        _ => operation is "create" or "start" or "restart",
    };

    private void Hang(string port, Task? until)
    {
        switch (port)
        {
            case "attach":
                _host.Network.AttachWaits = until;
                break;
            case "detach":
                _host.Network.DetachWaits = until;
                break;
            case "before-launch":
                _host.Launcher.WaitsBefore = until;
                break;
            default:
                _host.Launcher.WaitsAfter = until;
                break;
        }
    }

    private Task RunAsync(string operation) => operation switch
    {
        "create" => _host.Orchestrator.CreateAsync(Web, Cancel),
        "start" => _host.Orchestrator.StartAsync("web", Cancel),
        "stop" => _host.Orchestrator.StopAsync("web", TimeSpan.Zero, Cancel),
        "restart" => _host.Orchestrator.RestartAsync("web", TimeSpan.Zero, Cancel),
        _ => _host.Orchestrator.DeleteAsync("web", Cancel),
    };

    private (DeploymentLoop Loop, Task Running) Follow(CancellationToken stopping)
    {
        var loop = new DeploymentLoop("app", _host.Store, _host.Orchestrator, _host.Ports, _host.Clock, NullLogger.Instance);
        return (loop, loop.RunAsync(stopping));
    }

    private bool Replicas(int count) =>
        _host.Store.AllVms() is { } vms && vms.Count == count && vms.All(vm => vm is { Deleting: false, Vm.Status: VmStatus.Running })
        && vms.Select(vm => vm.Name).Order(StringComparer.Ordinal).SequenceEqual(Enumerable.Range(1, count).Select(n => $"app-{n}")) && _host.Launcher.Alive.Count == count;

    private async Task AssertWholeOrGoneAsync(string? acknowledged)
    {
        if (acknowledged is not null)
        {
            Assert.Equal(acknowledged switch { "stop" => VmStatus.Stopped, "delete" => null, _ => VmStatus.Running }, _host.Store.FindVm("web")?.Vm.Status);
        }

        await _host.RestartAsync();
        if (_host.Store.FindVm("web") is { Deleting: false })
        {
            await UntilAsync(() => _host.Store.FindVm("web")!.Vm.Status is VmStatus.Running or VmStatus.Stopped or VmStatus.Crashed);
            Assert.Equal(_host.Store.FindVm("web")!.Vm.Status == VmStatus.Running ? 1 : 0, _host.Launcher.Alive.Count);
            Assert.Equal(VmStatus.Running, (await _host.Orchestrator.StartAsync("web", Cancel)).Status);
            Assert.Single(_host.Launcher.Alive);
            await _host.Orchestrator.DeleteAsync("web", Cancel);
        }

        await UntilAsync(() => _host.Store.AllVms().Count == 0 && _host.Network.Taps.Count == 0);
        _host.AssertNothingIsHeld();
    }

    /// <summary>Lets the deployment's clock run until something is true.</summary>
    private async Task UntilAsync(DeploymentLoop loop, Func<bool> condition)
    {
        for (var i = 0; i < 200 && !condition(); i++)
        {
            loop.Wake();
            await Task.Delay(TimeSpan.FromMilliseconds(15), TimeProvider.System, Cancel);
            _host.Clock.Advance(TimeSpan.FromMilliseconds(400));
        }

        await UntilAsync(condition);
    }

    private static async Task UntilAsync(Func<bool> condition)
    {
        var started = TimeProvider.System.GetTimestamp();
        while (!condition())
        {
            Assert.True(TimeProvider.System.GetElapsedTime(started).TotalSeconds < 20, "the condition did not come true");
            await Task.Delay(TimeSpan.FromMilliseconds(2), TimeProvider.System, Cancel);
        }
    }
}
