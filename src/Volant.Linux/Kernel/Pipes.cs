using System.ComponentModel;
using System.Runtime.InteropServices;
using Microsoft.Win32.SafeHandles;

namespace Volant.Linux.Kernel;

/// <summary>Anonymous pipes.</summary>
public static unsafe partial class Pipes
{
    private const int CloseOnExec = 0x80000; // O_CLOEXEC

    /// <summary>Makes a pipe whose ends are blocking and closed in every program that this process starts.</summary>
    /// <exception cref="Win32Exception">EMFILE or ENFILE: too many open files.</exception>
    public static (SafeFileHandle Read, SafeFileHandle Write) Create()
    {
        var ends = stackalloc int[2];
        LinuxError.Check(Pipe(ends, CloseOnExec), "pipe2");
        return (new SafeFileHandle(ends[0], ownsHandle: true), new SafeFileHandle(ends[1], ownsHandle: true));
    }

    [LibraryImport("libc", EntryPoint = "pipe2", SetLastError = true)]
    private static partial int Pipe(int* ends, int flags);
}
