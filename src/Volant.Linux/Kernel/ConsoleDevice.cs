using System.ComponentModel;
using System.Runtime.InteropServices;
using Microsoft.Win32.SafeHandles;

namespace Volant.Linux.Kernel;

/// <summary>The device behind the standard streams of this process.</summary>
public static partial class ConsoleDevice
{
    private const int OpenReadWrite = 0x2; // O_RDWR
    private const int OpenNoControllingTerminal = 0x100; // O_NOCTTY
    private const int OpenCloseOnExec = 0x80000; // O_CLOEXEC

    /// <summary>Makes a device, such as <c>/dev/console</c>, standard input, output and error; it does not become the controlling terminal.</summary>
    /// <exception cref="Win32Exception">ENOENT: no such device; EACCES; EIO: nothing behind it.</exception>
    public static void Redirect(string path)
    {
        var fd = LinuxError.Check(Open(path, OpenReadWrite | OpenNoControllingTerminal | OpenCloseOnExec), $"Opening {path}");

        // PID 1 may start without any descriptor: then the device itself may be one of the three, and must not be closed.
        using var device = new SafeFileHandle(fd, ownsHandle: fd > 2);
        for (var target = 0; target <= 2; target++)
        {
            LinuxError.Check(Duplicate(device, target), $"Redirecting descriptor {target} to {path}");
        }

        // dup2 onto itself keeps close-on-exec, which the standard streams must not have.
        if (fd <= 2)
        {
            LinuxError.Check(Control(device, SetDescriptorFlags, 0), $"Keeping {path} open across exec");
        }
    }

    /// <summary>Waits until the device behind standard output has sent all that was written to it. Anything but a terminal has nothing to wait for.</summary>
    public static void Drain()
    {
        while (DrainCall(StandardOutput) < 0 && Marshal.GetLastPInvokeError() == Errno.Interrupted)
        {
        }
    }

    private const int StandardOutput = 1;
    private const int SetDescriptorFlags = 2; // F_SETFD

    [LibraryImport("libc", EntryPoint = "open", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    private static partial int Open(string path, int flags);

    [LibraryImport("libc", EntryPoint = "tcdrain", SetLastError = true)]
    private static partial int DrainCall(int descriptor);

    // Atomic with regard to other threads; the new descriptor survives exec.
    [LibraryImport("libc", EntryPoint = "dup2", SetLastError = true)]
    private static partial int Duplicate(SafeFileHandle source, int target);

    [LibraryImport("libc", EntryPoint = "fcntl", SetLastError = true)]
    private static partial int Control(SafeFileHandle fd, int command, nint argument);
}
