using System.ComponentModel;
using System.Runtime.InteropServices;

namespace Volant.Linux.Kernel;

/// <summary>How a file system is mounted (<c>include/uapi/linux/mount.h</c>).</summary>
[Flags]
public enum MountOptions : ulong
{
    /// <summary>A plain, writable mount.</summary>
    None = 0,

    /// <summary>MS_RDONLY.</summary>
    ReadOnly = 1,

    /// <summary>MS_NOSUID: set-user-id bits have no effect.</summary>
    NoSetUserId = 2,

    /// <summary>MS_NODEV: device nodes cannot be opened.</summary>
    NoDevices = 4,

    /// <summary>MS_NOEXEC: programs cannot be run.</summary>
    NoExecute = 8,

    /// <summary>MS_REMOUNT: change the flags of a mount.</summary>
    Remount = 32,

    /// <summary>MS_NOATIME: access times are not kept.</summary>
    NoAccessTime = 1024,

    /// <summary>MS_BIND: show a directory or file at a second place.</summary>
    Bind = 4096,

    /// <summary>MS_MOVE: move a mount.</summary>
    Move = 8192,

    /// <summary>MS_REC: with <see cref="Bind"/> or <see cref="Private"/>, the mounts below too.</summary>
    Recursive = 16384,

    /// <summary>MS_PRIVATE: mounts and unmounts are not propagated.</summary>
    Private = 1 << 18,

    /// <summary>MS_RELATIME: access times are kept roughly.</summary>
    RelativeAccessTime = 1 << 21,
}

/// <summary>How a file system is unmounted (<c>include/linux/fs.h</c>).</summary>
[Flags]
public enum UnmountOptions
{
    /// <summary>Fails while the file system is in use.</summary>
    None = 0,

    /// <summary>MNT_FORCE: abort pending requests, for network file systems.</summary>
    Force = 1,

    /// <summary>MNT_DETACH: take it out of the tree now, release it when nobody uses it any more.</summary>
    Detach = 2,

    /// <summary>UMOUNT_NOFOLLOW: the target must not be a symbolic link.</summary>
    NoFollow = 8,
}

/// <summary>Mounts, and the root directory of this process.</summary>
public static partial class Mounts
{
    /// <summary>Mounts a file system, or with <see cref="MountOptions.Bind"/> a directory.</summary>
    /// <param name="source">Device or directory; for file systems without one any word.</param>
    /// <param name="target">Existing directory, or file for a bind of a file.</param>
    /// <param name="type">Kind of file system; null where the flags need none.</param>
    /// <param name="flags">Flags of the mount.</param>
    /// <param name="data">Options of the file system, such as <c>mode=0755,size=10m</c>.</param>
    /// <exception cref="Win32Exception">EBUSY: it is mounted there; ENODEV: the kernel has no such file system; EPERM: needs CAP_SYS_ADMIN.</exception>
    public static void Mount(string? source, string target, string? type, MountOptions flags = MountOptions.None, string? data = null) =>
        LinuxError.Check(MountCall(source, target, type, (nuint)flags, data), $"Mounting {type ?? source ?? "flags"} on {target}");

    /// <summary>Unmounts the topmost mount at <paramref name="target"/>.</summary>
    /// <exception cref="Win32Exception">EBUSY: in use; EINVAL: not a mount point.</exception>
    public static void Unmount(string target, UnmountOptions flags = UnmountOptions.None) =>
        LinuxError.Check(UnmountCall(target, (int)flags), $"Unmounting {target}");

    /// <summary>Moves a mount with everything below to another existing directory.</summary>
    /// <exception cref="Win32Exception">EINVAL: <paramref name="source"/> is not a mount point, or its parent is shared.</exception>
    public static void Move(string source, string target) =>
        LinuxError.Check(MountCall(source, target, null, (nuint)MountOptions.Move, null), $"Moving mount {source} to {target}");

    /// <summary>Makes <paramref name="path"/> the root and working directory of this process and its future children (<c>chroot</c>).</summary>
    /// <exception cref="Win32Exception">ENOENT, ENOTDIR, or EPERM: needs CAP_SYS_CHROOT.</exception>
    public static void ChangeRoot(string path)
    {
        LinuxError.Check(ChangeRootCall(path), $"Changing the root directory to {path}");
        LinuxError.Check(ChangeDirectoryCall("/"), "Changing to the new root directory");
    }

    /// <summary>Moves a mount over the root directory and makes it the root of this process: what <c>switch_root</c> does.</summary>
    /// <remarks>For PID 1 in an initramfs, where <c>pivot_root</c> is refused. What was mounted below the old root can no longer be reached.</remarks>
    /// <param name="path">Mount point of the new root.</param>
    /// <exception cref="Win32Exception">EINVAL: not a mount point.</exception>
    public static void SwitchRoot(string path)
    {
        LinuxError.Check(ChangeDirectoryCall(path), $"Changing to {path}");
        Move(".", "/");
        ChangeRoot(".");
    }

    [LibraryImport("libc", EntryPoint = "mount", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    private static partial int MountCall(string? source, string target, string? type, nuint flags, string? data);

    [LibraryImport("libc", EntryPoint = "umount2", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    private static partial int UnmountCall(string target, int flags);

    [LibraryImport("libc", EntryPoint = "chroot", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    private static partial int ChangeRootCall(string path);

    [LibraryImport("libc", EntryPoint = "chdir", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    private static partial int ChangeDirectoryCall(string path);
}
