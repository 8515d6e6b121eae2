using System.ComponentModel;
using System.Runtime.InteropServices;
using Volant.Linux.Files;
using Volant.Linux.Kernel;

namespace Volant.Linux.Processes;

/// <summary>What a process may do with a file or directory that it sees.</summary>
public enum FileViewAccess
{
    /// <summary>Read it, and run programs in it.</summary>
    Read,

    /// <summary>Read and write it.</summary>
    Write,

    /// <summary>Open it as a device: a node of its own, whatever the mode of the host's.</summary>
    Device,
}

/// <summary>A file or directory that a process sees, at the place where it is.</summary>
/// <param name="Path">Absolute path. A symbolic link is seen as one; where it leads must be an entry, too.</param>
/// <param name="Access">What the process may do with it.</param>
public sealed record FileViewEntry(string Path, FileViewAccess Access);

/// <summary>All files that a process sees: a root directory of its own, in a mount namespace of its own (<c>man 7 mount_namespaces</c>).</summary>
/// <remarks>Nothing of it is seen by anybody else, and nothing is left of it when the process ends. Needs CAP_SYS_ADMIN.</remarks>
/// <param name="MountPoint">Existing directory, best an empty one, that the root is put together at; seen by nobody but the process.</param>
/// <param name="Entries">What is in it. An entry below another one is mounted over it.</param>
public sealed partial record FileView(string MountPoint, IReadOnlyList<FileViewEntry> Entries)
{
    private const int NewMounts = 0x00020000; // CLONE_NEWNS
    private const int NewIpc = 0x08000000; // CLONE_NEWIPC
    private const uint RegularFile = 0x81A4; // S_IFREG, rw-r--r--
    private const UnixFileMode EverybodyReads = (UnixFileMode)0b111_101_101;

    private static bool IsArm => RuntimeInformation.ProcessArchitecture == Architecture.Arm64;

    /// <summary>Whether this process may give others a view.</summary>
    public static bool IsPossible()
    {
        var possible = false;
        var thread = new Thread(() => possible = Unshare(NewMounts) == 0) { IsBackground = true };
        thread.Start();
        thread.Join();
        return possible;
    }

    /// <summary>Gives the calling thread this view, for good; the thread must end when it has started the process.</summary>
    /// <param name="uid">Owner of the devices.</param>
    /// <param name="gid">Their group.</param>
    /// <exception cref="Win32Exception">EPERM: needs CAP_SYS_ADMIN; ENOENT: an entry is not there; the message names it.</exception>
    internal void Enter(uint uid, uint gid)
    {
        // A thread's mounts, root and working directory are its own from here on.
        LinuxError.Check(Unshare(NewMounts | NewIpc), "Leaving the mounts of the host");
        Mounts.Mount(null, "/", null, MountOptions.Recursive | MountOptions.Private);
        Mounts.Mount("none", MountPoint, "tmpfs", MountOptions.NoSetUserId, "mode=0755,size=1m");
        foreach (var entry in Entries)
        {
            Show(entry, uid, gid);
        }

        Mounts.Mount(null, MountPoint, null, MountOptions.Remount | MountOptions.Bind | MountOptions.ReadOnly | MountOptions.NoSetUserId);
        LinuxError.Check(ChangeDirectory(MountPoint), $"Changing to {MountPoint}");

        // Both at one place: the old root lies over the new one until it is taken away (man 2 pivot_root, "pivot_root(\".\", \".\")").
        LinuxError.Check((int)PivotRoot(IsArm ? 41 : 155, ".", "."), "Changing the root");
        Mounts.Unmount(".", UnmountOptions.Detach);
        LinuxError.Check(ChangeDirectory("/"), "Changing to the new root");
    }

    private void Show(FileViewEntry entry, uint uid, uint gid)
    {
        var place = MountPoint + entry.Path;
        if (Path.GetDirectoryName(place) is { } parent && !Directory.Exists(parent))
        {
            Directory.CreateDirectory(parent);

            // Whatever the mask of this process: another user walks here.
            for (var directory = parent; directory.Length > MountPoint.Length; directory = Path.GetDirectoryName(directory)!)
            {
                File.SetUnixFileMode(directory, EverybodyReads);
            }
        }

        if (new FileInfo(entry.Path).LinkTarget is { } target)
        {
            File.CreateSymbolicLink(place, target);
            return;
        }

        if (entry.Access == FileViewAccess.Device)
        {
            DeviceNode.Copy(entry.Path, place, uid, gid);
            return;
        }

        if (Directory.Exists(entry.Path))
        {
            Directory.CreateDirectory(place);
        }
        else if (!File.Exists(place))
        {
            // Never opened: a process that another thread is just starting would hold a copy of the descriptor, and a place that somebody may write to cannot become read-only.
            LinuxError.Check(MakeNode(place, RegularFile, 0), $"Making {place}");
        }

        Mounts.Mount(entry.Path, place, null, MountOptions.Bind);
        var flags = entry.Access == FileViewAccess.Read ? MountOptions.ReadOnly : MountOptions.NoExecute;
        Mounts.Mount(null, place, null, MountOptions.Remount | MountOptions.Bind | MountOptions.NoSetUserId | MountOptions.NoDevices | flags);
    }

    [LibraryImport("libc", EntryPoint = "unshare", SetLastError = true)]
    private static partial int Unshare(int flags);

    [LibraryImport("libc", EntryPoint = "mknod", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    private static partial int MakeNode(string path, uint mode, ulong device);

    [LibraryImport("libc", EntryPoint = "chdir", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    private static partial int ChangeDirectory(string path);

    [LibraryImport("libc", EntryPoint = "syscall", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    private static partial nint PivotRoot(nint number, string newRoot, string oldRoot);
}
