using System.Diagnostics.CodeAnalysis;
using Volant.Linux.Kernel;
using Volant.Linux.Processes;

namespace Volant.Daemon.Hypervisors;

/// <summary>A process that runs a VM, to its end: signals reach it as long as it lives, and never another one.</summary>
/// <remarks>It is waited for whether or not anybody still asks: a child that nobody waits for would stay a zombie.</remarks>
internal sealed class HypervisorProcess
{
    private static readonly TimeSpan TerminateGrace = TimeSpan.FromSeconds(1);

    [SuppressMessage("Usage", "CA2213", Justification = "The process is watched to its end; then it is disposed.")]
    private readonly PidFd _process;
    private readonly TimeProvider _clock;
    private readonly Lock _gate = new();
    private bool _gone;

    /// <summary>Watches a process.</summary>
    /// <param name="process">Its descriptor, owned from now on.</param>
    /// <param name="clock">Measures the grace.</param>
    public HypervisorProcess(PidFd process, TimeProvider clock)
    {
        _process = process;
        _clock = clock;
        Ended = WatchAsync();
    }

    /// <summary>Completes when the process has ended and was reaped.</summary>
    public Task<ProcessExit> Ended { get; }

    /// <summary>Whether it has ended.</summary>
    public bool IsGone
    {
        get
        {
            lock (_gate)
            {
                return _gone;
            }
        }
    }

    /// <summary>SIGTERM, and SIGKILL after a second; completes when the process is gone.</summary>
    public async Task EndAsync()
    {
        if (Signal(Signals.Terminate))
        {
            await ((Task)Ended).WaitAsync(TerminateGrace, _clock).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        }

        await KillAsync();
    }

    /// <summary>SIGKILL; completes when the process is gone.</summary>
    public async Task KillAsync()
    {
        Signal(Signals.Kill);
        await Ended;
    }

    private bool Signal(int signal)
    {
        lock (_gate)
        {
            // After the exit the descriptor is closed, and its number may belong to something else.
            return !_gone && _process.Signal(signal);
        }
    }

    private async Task<ProcessExit> WatchAsync()
    {
        var exit = await ProcessExitWatcher.WaitForExitAsync(_process);
        lock (_gate)
        {
            _gone = true;
            _process.Dispose();
        }

        return exit;
    }
}
