using System.ComponentModel;
using System.Globalization;
using Volant.Contracts.Api;
using Volant.Linux.Kernel;
using Volant.Linux.Processes;

namespace Volant.Agent.Workloads;

/// <summary>Keeps the workload running: starts it, watches its health, starts it again after a growing pause, stops it in the end.</summary>
internal sealed class WorkloadSupervisor(
    WorkloadCommand command, HealthProbe probe, ChildReaper reaper, AgentStatus status, ConsoleLog console, OutputLog log, TimeProvider clock, Func<long> outOfMemoryKills)
    : IDisposable
{
    /// <summary>How long the workload may take to end after SIGTERM.</summary>
    public static readonly TimeSpan StopGrace = TimeSpan.FromSeconds(5);

    private readonly Backoff _backoff = new(clock);
    private volatile Child? _child;
    private OutputRelay? _output;
    private ProcessExit? _lastExit;
    private int _starts;
    private string _startProblem = string.Empty;

    /// <summary>Runs until cancelled, then stops the workload and returns.</summary>
    public async Task RunAsync(CancellationToken stopping)
    {
        while (!stopping.IsCancellationRequested)
        {
            await RunOnceAsync(stopping);
        }

        Report(WorkloadStatus.Stopped, "It was stopped because the guest shuts down.");
    }

    /// <summary>Passes a signal on to the workload; false when it does not run.</summary>
    public bool Signal(int signal) => _child?.Signal(signal) is true;

    /// <inheritdoc/>
    public void Dispose() => _output?.Dispose();

    private async Task RunOnceAsync(CancellationToken stopping)
    {
        if (TryStart() is not { } child)
        {
            await PauseAsync(WorkloadStatus.Failed, _startProblem, stopping);
            return;
        }

        _child = child;
        var killsBefore = outOfMemoryKills();
        Report(WorkloadStatus.Running, null, child.Pid);
        using (var run = CancellationTokenSource.CreateLinkedTokenSource(stopping))
        {
            var health = probe.WatchAsync(Judge, run.Token);
            await Task.WhenAny(child.WaitForExitAsync(), Task.Delay(Timeout.InfiniteTimeSpan, clock, run.Token));
            await run.CancelAsync();
            await health;
        }

        if (stopping.IsCancellationRequested)
        {
            await StopAsync(child);
            await (_output?.DrainAsync() ?? Task.CompletedTask);
            return;
        }

        var exit = await child.WaitForExitAsync();
        _lastExit = exit;
        var how = exit.Signal is { } signal
            ? string.Create(CultureInfo.InvariantCulture, $"The workload was ended by signal {signal}.")
            : string.Create(CultureInfo.InvariantCulture, $"The workload exited with code {exit.ExitCode}.");
        how += outOfMemoryKills() > killsBefore ? " The guest had run out of memory; give the VM more." : string.Empty;
        await PauseAsync(WorkloadStatus.Backoff, how, stopping);
    }

    private Child? TryStart()
    {
        _starts++;
        _output?.Dispose();
        _output = null;
        if (!Directory.Exists(command.WorkingDirectory))
        {
            _startProblem = $"The workload could not be started: its working directory '{command.WorkingDirectory}' does not exist. Correct workload.workdir.";
            return null;
        }

        try
        {
            _output = new OutputRelay(console, log, clock);
            var child = reaper.Spawn(new SpawnRequest
            {
                Arguments = command.Entrypoint,
                Environment = command.Environment,
                WorkingDirectory = command.WorkingDirectory,
                StandardOutput = _output.Output,
                StandardError = _output.Error,
                User = command.User,
            });
            _output.Start();
            return child;
        }
        catch (Exception e) when (e is Win32Exception or ArgumentException)
        {
            _startProblem = $"The workload could not be started: {e.Message}. Correct workload.entrypoint, or put the program and its interpreter into the image.";
            return null;
        }
    }

    private void Judge(string? problem)
    {
        _backoff.Health(problem is null);
        status.SetHealth(problem);
    }

    private async Task PauseAsync(string state, string why, CancellationToken stopping)
    {
        var wait = _backoff.Failed();
        var sentence = string.Create(CultureInfo.InvariantCulture, $"{why} It is started again in {wait.TotalSeconds:0} s.");

        // The timer runs before the state tells: who sees the state may rely on it.
        var pause = Task.Delay(wait, clock, stopping);
        console.Say(sentence);
        Report(state, sentence);
        try
        {
            await pause;
        }
        catch (OperationCanceledException)
        {
            // The guest shuts down.
        }
    }

    private async Task StopAsync(Child child)
    {
        child.Signal(Signals.Terminate);
        try
        {
            _lastExit = await child.WaitForExitAsync().WaitAsync(StopGrace, clock);
        }
        catch (TimeoutException)
        {
            console.Say($"The workload did not end within {StopGrace.TotalSeconds} s of SIGTERM and is killed.");
            child.Signal(Signals.Kill);
            _lastExit = await child.WaitForExitAsync();
        }
    }

    private void Report(string state, string? message, int? pid = null) => status.SetWorkload(new WorkloadState
    {
        Status = state,
        Pid = pid,
        ExitCode = _lastExit?.ExitCode,
        Signal = _lastExit?.Signal,
        Restarts = Math.Max(0, _starts - 1),
        Message = message,
    });
}
