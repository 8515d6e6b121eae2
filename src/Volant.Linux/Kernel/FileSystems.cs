using System.ComponentModel;
using System.Runtime.InteropServices;

namespace Volant.Linux.Kernel;

/// <summary>Mounted file systems.</summary>
public static unsafe partial class FileSystems
{
    private const long RamFsMagic = 0x858458f6; // RAMFS_MAGIC
    private const long TmpFsMagic = 0x01021994; // TMPFS_MAGIC

    /// <summary>Whether what is at <paramref name="path"/> lies in memory only, as the root directory of an initramfs does (<c>man 2 statfs</c>).</summary>
    /// <exception cref="Win32Exception">ENOENT: nothing is there.</exception>
    public static bool IsInMemory(string path)
    {
        // SAFETY: struct statfs has 120 bytes on 64-bit Linux; its first word is the type.
        var status = stackalloc long[32];
        LinuxError.Check(Status(path, status), path);
        return status[0] is RamFsMagic or TmpFsMagic;
    }

    /// <summary>Writes everything that is still in memory to the disks, and waits for it. Never fails.</summary>
    public static void Sync() => SyncCall();

    [LibraryImport("libc", EntryPoint = "statfs", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    private static partial int Status(string path, long* status);

    [LibraryImport("libc", EntryPoint = "sync")]
    private static partial void SyncCall();
}
