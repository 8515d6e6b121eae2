using System.Runtime.InteropServices;
using Volant.Linux.Kernel;

namespace Volant.Agent.Power;

/// <summary>What signals to PID 1 mean. They can only come from inside the guest, mostly from its <c>poweroff</c> and <c>reboot</c> commands.</summary>
/// <remarks>
/// Power off: SIGTERM, as for every container; SIGUSR1 and SIGUSR2, which busybox, s6 and sysvinit use to halt and power off; SIGPWR; and
/// systemd's SIGRTMIN+3 and +4. Restart: SIGINT, which Ctrl-Alt-Del sends, and systemd's SIGRTMIN+5. SIGHUP and SIGQUIT are the workload's.
/// </remarks>
internal sealed class SignalRoutes : IDisposable
{
    private const int FirstRealTime = 34; // SIGRTMIN of glibc, which systemd counts from

    private static readonly int[] Off = [Signals.Terminate, Signals.User1, Signals.User2, Signals.PowerFailure, FirstRealTime + 3, FirstRealTime + 4];
    private static readonly int[] Restart = [Signals.Interrupt, FirstRealTime + 5];
    private static readonly int[] Forwarded = [Signals.HangUp, Signals.Quit];

    private readonly List<PosixSignalRegistration> _registrations = [];

    /// <summary>Listens from now on.</summary>
    /// <param name="shutDown">Begins the shutdown; must return at once.</param>
    /// <param name="forward">Passes a signal on to the workload.</param>
    public SignalRoutes(Action<PowerAction, string> shutDown, Action<int> forward)
    {
        foreach (var signal in (int[])[.. Off, .. Restart, .. Forwarded])
        {
            _registrations.Add(PosixSignalRegistration.Create((PosixSignal)signal, context =>
            {
                context.Cancel = true;
                Route(signal, shutDown, forward);
            }));
        }
    }

    /// <inheritdoc/>
    public void Dispose() => _registrations.ForEach(registration => registration.Dispose());

    /// <summary>Does what a signal means.</summary>
    internal static void Route(int signal, Action<PowerAction, string> shutDown, Action<int> forward)
    {
        if (Forwarded.Contains(signal))
        {
            forward(signal);
        }
        else
        {
            shutDown(Restart.Contains(signal) ? PowerAction.Restart : PowerAction.Off, $"signal {signal} arrived");
        }
    }
}
