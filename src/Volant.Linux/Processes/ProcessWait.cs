using System.Runtime.InteropServices;

namespace Volant.Linux.Processes;

/// <summary>How a process ended.</summary>
/// <param name="Pid">Its process id.</param>
/// <param name="ExitCode">Exit code, when it exited.</param>
/// <param name="Signal">Signal, when one ended it.</param>
public readonly record struct ProcessExit(int Pid, int? ExitCode, int? Signal);

/// <summary>Waits for children and collects their exit status.</summary>
public static unsafe partial class ProcessWait
{
    private const int AnyChild = 0;
    private const int OneChild = 1;
    private const int NoHang = 1;
    private const int Exited = 4;
    private const int LeaveZombie = 0x01000000;
    private const int CodeExited = 1;

    /// <summary>Blocks until any child ends and reaps it; null when this process has no children.</summary>
    public static ProcessExit? WaitAny() => Wait(AnyChild, 0, Exited, out _);

    /// <summary>Blocks until any child has ended and leaves it unreaped, so that its id cannot be reused yet; null without children.</summary>
    public static int? PeekAny() => Wait(AnyChild, 0, Exited | LeaveZombie, out _)?.Pid;

    /// <summary>Blocks until one child has ended and leaves it unreaped; false when it is no child of this process.</summary>
    public static bool Peek(int pid) => Wait(OneChild, pid, Exited | LeaveZombie, out _) is not null;

    /// <summary>Reaps one child if it has ended.</summary>
    /// <param name="pid">A child of this process.</param>
    /// <param name="isChild">False when it is not (or no longer) a child of this process.</param>
    public static ProcessExit? TryReap(int pid, out bool isChild) => Wait(OneChild, pid, Exited | NoHang, out isChild);

    /// <summary>Blocks until one child has ended and reaps it; null when it is no child of this process.</summary>
    public static ProcessExit? Reap(int pid) => Wait(OneChild, pid, Exited, out _);

    private static ProcessExit? Wait(int kind, int id, int options, out bool isChild)
    {
        // struct siginfo_t, 128 bytes; for SIGCHLD: si_code at 8, si_pid at 16, si_status at 24.
        var info = stackalloc int[32];
        info[4] = 0;
        isChild = true;
        while (WaitId(kind, id, info, options) < 0)
        {
            var errno = Marshal.GetLastPInvokeError();
            if (errno == LinuxError.Echild)
            {
                isChild = false;
                return null;
            }

            if (errno != LinuxError.Eintr)
            {
                throw LinuxError.Of(errno, "waitid");
            }
        }

        if (info[4] == 0)
        {
            return null;
        }

        return info[2] == CodeExited ? new ProcessExit(info[4], info[6], null) : new ProcessExit(info[4], null, info[6]);
    }

    [LibraryImport("libc", EntryPoint = "waitid", SetLastError = true)]
    private static partial int WaitId(int kind, int id, int* info, int options);
}
