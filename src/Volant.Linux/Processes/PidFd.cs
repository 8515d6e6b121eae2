using System.ComponentModel;
using System.Runtime.InteropServices;
using Microsoft.Win32.SafeHandles;

namespace Volant.Linux.Processes;

/// <summary>A descriptor that stands for one process for as long as it is held, whatever becomes of the process id.</summary>
public sealed partial class PidFd : IDisposable
{
    private const nint PidFdSendSignal = 424;
    private const nint PidFdOpen = 434;
    private const int NoSuchProcess = 3;

    private readonly SafeFileHandle _handle;

    private PidFd(ProcessIdentity identity, SafeFileHandle handle)
    {
        Identity = identity;
        _handle = handle;
    }

    /// <summary>The process that this descriptor stands for.</summary>
    public ProcessIdentity Identity { get; }

    /// <summary>The raw descriptor, for polling; valid until disposal.</summary>
    internal int Descriptor => (int)_handle.DangerousGetHandle();

    /// <summary>Opens the descriptor, and only then checks the identity; null when that process is gone.</summary>
    /// <exception cref="Win32Exception">The kernel refused for another reason.</exception>
    public static PidFd? TryOpen(ProcessIdentity identity)
    {
        ArgumentNullException.ThrowIfNull(identity);
        var fd = (int)SystemCall(PidFdOpen, identity.Pid, 0, 0, 0, 0, 0);
        if (fd < 0)
        {
            return Marshal.GetLastPInvokeError() == NoSuchProcess ? null : throw LinuxError.Last($"pidfd_open({identity.Pid})");
        }

        var handle = new SafeFileHandle(fd, ownsHandle: true);
        if (identity.IsAlive())
        {
            return new PidFd(identity, handle);
        }

        handle.Dispose();
        return null;
    }

    /// <summary>Sends a signal; false when the process is gone.</summary>
    public bool Signal(int signal)
    {
        if (SystemCall(PidFdSendSignal, Descriptor, signal, 0, 0, 0, 0) == 0)
        {
            return true;
        }

        return Marshal.GetLastPInvokeError() == NoSuchProcess ? false : throw LinuxError.Last($"pidfd_send_signal({Identity.Pid}, {signal})");
    }

    /// <inheritdoc/>
    public void Dispose() => _handle.Dispose();

    // All six arguments are passed: with fewer, the kernel reads garbage as flags.
    [LibraryImport("libc", EntryPoint = "syscall", SetLastError = true)]
    private static partial nint SystemCall(nint number, nint a, nint b, nint c, nint d, nint e, nint f);
}
