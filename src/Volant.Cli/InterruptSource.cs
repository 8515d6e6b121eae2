using System.Runtime.InteropServices;

namespace Volant.Cli;

/// <summary>Turns Ctrl-C, SIGTERM and SIGHUP into cancellation, so that a command can say what goes on without it.</summary>
/// <remarks>
/// Signals are caught only once a command has something to say: until <see cref="Catch"/> they end the process at once, which is right
/// and saves the start of the runtime's signal thread. A second signal always ends the process.
/// </remarks>
internal sealed class InterruptSource : IDisposable
{
    private readonly CancellationTokenSource _interrupted = new();
    private readonly List<PosixSignalRegistration> _registrations = [];

    /// <summary>Cancelled by the first signal.</summary>
    public CancellationToken Token => _interrupted.Token;

    /// <summary>Starts to catch signals. Called from one thread; later calls do nothing.</summary>
    public void Catch()
    {
        if (_registrations.Count > 0)
        {
            return;
        }

        _registrations.Add(PosixSignalRegistration.Create(PosixSignal.SIGINT, Cancel));
        _registrations.Add(PosixSignalRegistration.Create(PosixSignal.SIGTERM, Cancel));
        _registrations.Add(PosixSignalRegistration.Create(PosixSignal.SIGHUP, Cancel));
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        foreach (var registration in _registrations)
        {
            registration.Dispose();
        }

        _interrupted.Dispose();
    }

    private void Cancel(PosixSignalContext signal)
    {
        signal.Cancel = !_interrupted.IsCancellationRequested;
        _interrupted.Cancel();
    }
}
