using System.ComponentModel;
using System.Runtime.InteropServices;
using Microsoft.Win32.SafeHandles;

namespace Volant.Linux.Files;

/// <summary>Device files: asks the kernel whether a device is taken, by opening its node and closing it at once; makes another node of one.</summary>
public static partial class DeviceNode
{
    private const int WorkingDirectory = -100; // AT_FDCWD
    private const uint BasicStatistics = 0x7ff; // STATX_BASIC_STATS
    private const int CharacterDevice = 0x2000; // S_IFCHR
    private const int OwnerOnly = 0b110_000_000;
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

    /// <summary>Makes a node of the same character device that one user alone may open.</summary>
    /// <param name="path">A character device.</param>
    /// <param name="target">Where the node is made; its file system must allow devices.</param>
    /// <param name="uid">The user.</param>
    /// <param name="gid">The node's group, which may not open it.</param>
    /// <exception cref="Win32Exception">EPERM: needs CAP_MKNOD; ENOENT: <paramref name="path"/> is not there.</exception>
    internal static unsafe void Copy(string path, string target, uint uid, uint gid)
    {
        FileStatus status;
        LinuxError.Check(StatCall(WorkingDirectory, path, 0, BasicStatistics, &status), $"Looking at '{path}'");

        // gnu_dev_makedev: the numbers interleaved.
        ulong major = status.NodeMajor, minor = status.NodeMinor;
        var number = ((major & 0xfffff000) << 32) | ((major & 0xfff) << 8) | ((minor & 0xffffff00) << 12) | (minor & 0xff);
        LinuxError.Check(MakeNode(target, CharacterDevice | OwnerOnly, number), $"Making the device '{target}'");
        FileOwner.Set(target, uid, gid);
    }

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

    [LibraryImport("libc", EntryPoint = "statx", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    private static unsafe partial int StatCall(int directory, string path, int flags, uint mask, FileStatus* status);

    [LibraryImport("libc", EntryPoint = "mknod", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    private static partial int MakeNode(string path, int mode, ulong device);

    [LibraryImport("libc", EntryPoint = "open", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    private static partial int Open(string path, int flags);
}
