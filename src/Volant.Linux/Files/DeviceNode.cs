using System.ComponentModel;
using System.Runtime.InteropServices;
using Microsoft.Win32.SafeHandles;

namespace Volant.Linux.Files;

/// <summary>Asks the kernel whether a device is taken, by opening its node and closing it at once.</summary>
public static partial class DeviceNode
{
    private const int ReadWrite = 2; // O_RDWR
    private const int Exclusive = 0x80; // O_EXCL
    private const int NonBlocking = 0x800; // O_NONBLOCK
    private const int CloseOnExec = 0x80000; // O_CLOEXEC

    /// <summary>Whether somebody claimed a block device or a part of it: a mount in any namespace, swap, RAID, LVM, another VM.</summary>
    /// <param name="path">Node of a disk or partition; false when there is none, or no medium in it.</param>
    /// <exception cref="Win32Exception">It cannot be told: EACCES, for instance.</exception>
    public static bool IsClaimed(string path) => IsBusy(path, Exclusive | NonBlocking | CloseOnExec);

    /// <summary>Whether a node that one process at a time may open, such as a VFIO group, is open.</summary>
    /// <inheritdoc cref="IsClaimed"/>
    public static bool IsOpen(string path) => IsBusy(path, ReadWrite | NonBlocking | CloseOnExec);

    private static bool IsBusy(string path, int flags)
    {
        ArgumentException.ThrowIfNullOrEmpty(path);
        var descriptor = Open(path, flags);
        if (descriptor >= 0)
        {
            new SafeFileHandle(descriptor, ownsHandle: true).Dispose();
            return false;
        }

        return Marshal.GetLastPInvokeError() switch
        {
            Errno.Busy => true,
            Errno.NoEntry or Errno.NoDevice or Errno.NoSuchDevice or Errno.NoMedium => false,
            var errno => throw LinuxError.Of(errno, $"Opening {path}"),
        };
    }

    [LibraryImport("libc", EntryPoint = "open", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    private static partial int Open(string path, int flags);
}
