using System.ComponentModel;
using System.Runtime.InteropServices;

namespace Volant.Linux.Kernel;

/// <summary>Sends signals by process id. Only PID 1, whose children cannot vanish unnoticed, may trust ids; others use pidfds.</summary>
public static partial class Signals
{
    /// <summary>SIGHUP.</summary>
    public const int HangUp = 1;

    /// <summary>SIGINT.</summary>
    public const int Interrupt = 2;

    /// <summary>SIGQUIT.</summary>
    public const int Quit = 3;

    /// <summary>SIGKILL.</summary>
    public const int Kill = 9;

    /// <summary>SIGUSR1.</summary>
    public const int User1 = 10;

    /// <summary>SIGUSR2.</summary>
    public const int User2 = 12;

    /// <summary>SIGTERM.</summary>
    public const int Terminate = 15;

    /// <summary>SIGPWR.</summary>
    public const int PowerFailure = 30;

    /// <summary>Sends a signal to one process; false when there is none of that id.</summary>
    /// <exception cref="ArgumentOutOfRangeException">Not the id of one process: 0 and negative ids mean groups, or everything.</exception>
    /// <exception cref="Win32Exception">EPERM: not ours to signal; EINVAL: no such signal.</exception>
    public static bool Send(int pid, int signal)
    {
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(pid);
        return SendTo(pid, signal);
    }

    /// <summary>Sends a signal to every process of a process group; false when the group is empty.</summary>
    /// <exception cref="ArgumentOutOfRangeException">The id is 0, 1 or negative.</exception>
    /// <exception cref="Win32Exception">EPERM: not ours to signal; EINVAL: no such signal.</exception>
    public static bool SendToGroup(int group, int signal)
    {
        // Minus one would mean every process.
        ArgumentOutOfRangeException.ThrowIfLessThan(group, 2);
        return SendTo(-group, signal);
    }

    /// <summary>Sends a signal to every process of this PID namespace but PID 1 and the caller; false when there is no other.</summary>
    /// <exception cref="InvalidOperationException">This process is not PID 1: the signal would hit the whole host.</exception>
    public static bool SendToAll(int signal) => Environment.ProcessId == 1
        ? SendTo(-1, signal)
        : throw new InvalidOperationException($"Only PID 1 may signal every process; this is process {Environment.ProcessId}.");

    private static bool SendTo(int target, int signal)
    {
        if (SendCall(target, signal) == 0)
        {
            return true;
        }

        var errno = Marshal.GetLastPInvokeError();
        return errno == Errno.NoProcess ? false : throw LinuxError.Of(errno, $"kill({target}, {signal})");
    }

    [LibraryImport("libc", EntryPoint = "kill", SetLastError = true)]
    private static partial int SendCall(int target, int signal);
}
