using Volant.Contracts.Api;
using Volant.Daemon;

namespace Volant.Tests.Orchestration;

/// <summary>Every port fails, hangs or is cancelled at every step of every operation: all of it happens, or nothing is left (T12, C05).</summary>
public sealed class FaultMatrixTests : IAsyncLifetime
{
    private readonly OrchestratorFixture _host = new();

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    private static CreateVmRequest Web => new() { Name = "web", Plugin = "hello" };

    public static MatrixTheoryData<string, int> WritesOfOperations => new(["create", "start", "stop", "restart", "delete"], Enumerable.Range(1, 8));

    public static MatrixTheoryData<string, string> PortsOfOperations => new(["create", "start", "restart"], ["network", "network-late", "before-launch", "after-launch", "kernel-gone", "medium-gone"]);

    public static MatrixTheoryData<string, int> Patience => new(["create", "start", "stop", "restart", "delete"], [0, 1, 3, 10, 30]);

    public ValueTask InitializeAsync() => new(_host.InstallAsync());

    public ValueTask DisposeAsync() => _host.DisposeAsync();

    [Theory]
    [MemberData(nameof(WritesOfOperations))]
    public async Task A_store_that_fails_at_any_write_leaves_a_whole_VM_or_none(string operation, int nth)
    {
        await PrepareAsync(operation);
        _host.Database.FailAt(nth);

        var failure = await Record.ExceptionAsync(() => RunAsync(operation, Cancel));
        _host.Database.FailAt(null);

        Assert.True(failure is null or VolantException { Code: ErrorCodes.DiskFull }, $"{failure}");
        await AssertWholeOrGoneAsync();
    }

    [Theory]
    [MemberData(nameof(PortsOfOperations))]
    public async Task A_port_that_fails_is_undone_and_says_why(string operation, string port)
    {
        await PrepareAsync(operation);
        var failure = new VolantException(ErrorCodes.NetworkUnavailable, "No bridge.");
        switch (port)
        {
            case "network":
                _host.Network.Failure = failure;
                break;
            case "network-late":
                _host.Network.FailureAfter = failure;
                break;
            case "before-launch":
                _host.Launcher.FailBefore = failure;
                break;
            case "after-launch":
                _host.Launcher.FailAfter = failure;
                break;
            case "kernel-gone":
                File.Move(_host.Options.KernelBzImage, _host.Options.KernelBzImage + ".away");
                break;
            default:
                File.Move(Path.Combine(_host.Root, "images", "initramfs"), Path.Combine(_host.Root, "images", "away"));
                break;
        }

        Assert.IsType<VolantException>(await Record.ExceptionAsync(() => RunAsync(operation, Cancel)));
        if (_host.Store.FindVm("web") is { } vm)
        {
            Assert.NotEqual("create", operation);
            Assert.NotNull(vm.Vm.LastError);
            Assert.Null(vm.Vm.Pid);
        }

        (_host.Network.Failure, _host.Network.FailureAfter, _host.Launcher.FailBefore, _host.Launcher.FailAfter) = (null, null, null, null);
        await AssertWholeOrGoneAsync();
    }

    [Theory]
    [MemberData(nameof(Patience))]
    public async Task A_caller_that_leaves_at_any_moment_changes_nothing_about_the_outcome(string operation, int milliseconds)
    {
        for (var round = 0; round < 5; round++)
        {
            await PrepareAsync(operation);
            using var gone = new CancellationTokenSource();
            var running = RunAsync(operation, gone.Token);
            await Task.Delay(TimeSpan.FromMilliseconds(milliseconds), TimeProvider.System, Cancel);
            await gone.CancelAsync();
            await Record.ExceptionAsync(() => running);
            var expected = operation is "create" or "start" or "restart" ? VmStatus.Running : operation == "stop" ? VmStatus.Stopped : (VmStatus?)null;

            // A restart begins and ends in the same status: only without an operation it is over.
            await UntilAsync(() => _host.Store.FindVm("web")?.Vm.Status == expected && (expected is null || Volatile.Read(ref _host.Owners.Get("web").Operations) == 0));
            await AssertWholeOrGoneAsync();
        }
    }

    private async Task PrepareAsync(string operation)
    {
        if (operation != "create")
        {
            await _host.Orchestrator.CreateAsync(Web, Cancel);
        }

        if (operation == "start")
        {
            await _host.Orchestrator.StopAsync("web", TimeSpan.Zero, Cancel);
        }
    }

    private Task RunAsync(string operation, CancellationToken cancellationToken) => operation switch
    {
        "create" => _host.Orchestrator.CreateAsync(Web, cancellationToken),
        "start" => _host.Orchestrator.StartAsync("web", cancellationToken),
        "stop" => _host.Orchestrator.StopAsync("web", TimeSpan.Zero, cancellationToken),
        "restart" => _host.Orchestrator.RestartAsync("web", TimeSpan.Zero, cancellationToken),
        _ => _host.Orchestrator.DeleteAsync("web", cancellationToken),
    };

    /// <summary>The VM can be used and deleted, or there is none; then nothing is held.</summary>
    private async Task AssertWholeOrGoneAsync()
    {
        // What the fault kept from being recorded is settled as after a kill of the daemon.
        await _host.RestartAsync();
        if (_host.Store.FindVm("web") is { Deleting: false } vm)
        {
            Assert.True(vm.Vm.Status is VmStatus.Running or VmStatus.Stopped or VmStatus.Crashed, $"{vm.Vm.Status}");
            Assert.Equal(vm.Vm.Status == VmStatus.Running, _host.Launcher.Alive.Count == 1);
            Assert.Equal(VmStatus.Running, (await StartWithMediaAsync()).Status);
            await _host.Orchestrator.DeleteAsync("web", Cancel);
        }

        await UntilAsync(() => _host.Store.AllVms().Count == 0);
        _host.AssertNothingIsHeld();
    }

    private Task<Vm> StartWithMediaAsync()
    {
        foreach (var (away, home) in new[] { (_host.Options.KernelBzImage + ".away", _host.Options.KernelBzImage), (Path.Combine(_host.Root, "images", "away"), Path.Combine(_host.Root, "images", "initramfs")) })
        {
            if (File.Exists(away))
            {
                File.Move(away, home);
            }
        }

        return _host.Orchestrator.StartAsync("web", Cancel);
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
