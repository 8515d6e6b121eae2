using System.Diagnostics.CodeAnalysis;
using System.Runtime.InteropServices;

namespace Volant.Cli;

/// <summary>Turns Ctrl-C, SIGTERM and SIGHUP into cancellation, so that a command can say what goes on without it.</summary>
/// <remarks>
/// Signals are caught only once a command has something to say: until <see cref="Catch"/> they end the process at once, which is right
/// and saves the start of the runtime's signal thread. A second signal ends the process, unless it comes at once: timeout(1) and others
/// send theirs twice, to the process and to its group. What is caught stays caught until the process is gone: the second of a pair may come
/// while the first one's exit code is on its way.
/// </remarks>
[SuppressMessage("Reliability", "CA1001", Justification = "Lives as long as the process.")]
internal sealed class InterruptSource
{
    private static readonly TimeSpan Echo = TimeSpan.FromSeconds(1);

    private readonly CancellationTokenSource _interrupted = new();
    private readonly List<PosixSignalRegistration> _registrations = [];
    private long _first;

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

    private void Cancel(PosixSignalContext signal)
    {
        var now = Math.Max(1, TimeProvider.System.GetTimestamp());
        var first = Interlocked.CompareExchange(ref _first, now, 0);
        signal.Cancel = first == 0 || TimeProvider.System.GetElapsedTime(first, now) < Echo;
        _interrupted.Cancel();
    }
}
