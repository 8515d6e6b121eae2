using System.ComponentModel;
using System.Runtime.InteropServices;
using System.Text;
using Microsoft.Win32.SafeHandles;

namespace Volant.Linux.Files;

/// <summary>How a path below a directory is looked up (<c>man 2 openat2</c>).</summary>
public enum PathLookup
{
    /// <summary>The directory is the root: symbolic links are followed, absolute ones and <c>..</c> end at it, as after chroot.</summary>
    InRoot,

    /// <summary>A path that leads out, by <c>..</c> or by a symbolic link, absolute ones included, is an error (EXDEV).</summary>
    Beneath,
}

/// <summary>An open directory, and what can be done with what is in it, without ever leaving it.</summary>
/// <remarks>
/// A <em>path</em> may have several parts and is looked up by the kernel in one step; a <em>name</em> is one entry, in the bytes of the file system.
/// Every method throws <see cref="Win32Exception"/> with the errno. Needs Linux 5.6.
/// </remarks>
public sealed unsafe partial class DirectoryHandle : IDisposable
{
    private const int MaxAttempts = 32;
    private const int MaxName = 255;
    private const int MaxLink = 4096;
    private const nint OpenAt2 = 437; // the same number on every architecture
    private const int CurrentDirectory = -100; // AT_FDCWD
    private const int EmptyPath = 0x1000; // AT_EMPTY_PATH
    private const int NoFollowAt = 0x100; // AT_SYMLINK_NOFOLLOW
    private const int RemoveDirectoryAt = 0x200; // AT_REMOVEDIR
    private const ulong WriteOnly = 0x1; // O_WRONLY
    private const ulong CreateNew = 0xc0; // O_CREAT | O_EXCL
    private const ulong NoControllingTerminal = 0x100; // O_NOCTTY
    private const ulong NonBlocking = 0x800; // O_NONBLOCK: opening a FIFO or device must not hang
    private const ulong CloseOnExec = 0x80000; // O_CLOEXEC
    private const ulong PathOnly = 0x200000; // O_PATH
    private const ulong NoCrossing = 0x01; // RESOLVE_NO_XDEV
    private const ulong NoMagicLinks = 0x02; // RESOLVE_NO_MAGICLINKS: not through /proc/PID/fd
    private const ulong NoSymbolicLinks = 0x04; // RESOLVE_NO_SYMLINKS
    private const ulong BeneathOnly = 0x08; // RESOLVE_BENEATH
    private const ulong InRootOnly = 0x10; // RESOLVE_IN_ROOT
    private const int SetStatusFlags = 4; // F_SETFL
    private const uint BasicStatistics = 0x7ff; // STATX_BASIC_STATS
    private const int ExclusiveLock = 2; // LOCK_EX
    private const nint OmitTime = 0x3ffffffe; // UTIME_OMIT

    private readonly SafeFileHandle _handle;

    private DirectoryHandle(SafeFileHandle handle) => _handle = handle;

    // O_DIRECTORY and O_NOFOLLOW have other numbers on arm64.
    private static bool IsArm => RuntimeInformation.ProcessArchitecture == Architecture.Arm64;

    private static ulong OnlyDirectory => IsArm ? 0x4000ul : 0x10000ul;

    private static ulong NoFollow => IsArm ? 0x8000ul : 0x20000ul;

    /// <summary>Opens a directory that is itself trusted.</summary>
    public static DirectoryHandle Open(string path)
    {
        var fd = OpenCall(CurrentDirectory, path, new SafePath.OpenHow { Flags = OnlyDirectory | CloseOnExec });
        return new DirectoryHandle(Own(fd, path));
    }

    /// <summary>Waits until nobody else who asks has the directory locked, and locks it until this is disposed of (<c>man 2 flock</c>).</summary>
    public void Lock()
    {
        while (LockCall(_handle, ExclusiveLock) != 0)
        {
            if (Marshal.GetLastPInvokeError() is not Errno.Interrupted and var errno)
            {
                throw LinuxError.Of(errno, "Locking a directory");
            }
        }
    }

    /// <summary>Opens a directory at a path.</summary>
    /// <exception cref="Win32Exception">ENOENT, ENOTDIR; EXDEV: it leads out; ELOOP: more than 40 links.</exception>
    public DirectoryHandle OpenDirectory(string path, PathLookup lookup) => new(OpenAt(path, OnlyDirectory, lookup));

    /// <summary>Opens a directory by name; never a link to one (ELOOP or ENOTDIR), nor what is mounted on it (EXDEV).</summary>
    public DirectoryHandle OpenDirectory(ReadOnlySpan<byte> name) => new(OpenAt(name, OnlyDirectory | NoFollow));

    /// <summary>What is at a path: the end of a last link, or with <paramref name="follow"/> off the link itself.</summary>
    public FileFacts Stat(string path, PathLookup lookup, bool follow = true)
    {
        using var file = OpenAt(path, PathOnly | (follow ? 0 : NoFollow), lookup);
        return FactsOf(file, path);
    }

    /// <summary>What a name stands for, links not followed.</summary>
    public FileFacts Stat(ReadOnlySpan<byte> name)
    {
        FileStatus status;
        fixed (byte* text = Terminated(name))
        {
            LinuxError.Check(StatCall(_handle, text, NoFollowAt, BasicStatistics, &status), $"Looking at '{Show(name)}'");
        }

        return status.ToFacts();
    }

    /// <summary>What an open file is.</summary>
    public static FileFacts FactsOf(SafeFileHandle file, string path)
    {
        FileStatus status;
        byte none = 0;
        LinuxError.Check(StatCall(file, &none, EmptyPath, BasicStatistics, &status), $"Looking at '{path}'");
        return status.ToFacts();
    }

    /// <summary>What this directory itself is.</summary>
    public FileFacts Stat() => FactsOf(_handle, ".");

    /// <summary>Opens a file at a path for reading, whatever it is; reading a pipe or device does not wait.</summary>
    public SafeFileHandle OpenFile(string path, PathLookup lookup) => Blocking(OpenAt(path, NonBlocking | NoControllingTerminal, lookup), path);

    /// <summary>Opens a file by name for reading; never a link.</summary>
    public SafeFileHandle OpenFile(ReadOnlySpan<byte> name) => Blocking(OpenAt(name, NonBlocking | NoControllingTerminal | NoFollow), Show(name));

    /// <summary>Makes a file that must not exist and opens it for writing; nobody but its owner may use it yet.</summary>
    /// <exception cref="Win32Exception">EEXIST.</exception>
    public SafeFileHandle CreateFile(ReadOnlySpan<byte> name) => OpenAt(name, WriteOnly | CreateNew | NoFollow, mode: 0x180);

    /// <summary>Makes a directory; false when the name is taken.</summary>
    public bool CreateDirectory(ReadOnlySpan<byte> name, int mode)
    {
        fixed (byte* text = Terminated(name))
        {
            var result = MakeDirectoryCall(_handle, text, (uint)mode);
            return result == 0 || (Marshal.GetLastPInvokeError() is Errno.Exists ? false : throw LinuxError.Last($"Making the directory '{Show(name)}'"));
        }
    }

    /// <summary>Makes a symbolic link.</summary>
    public void CreateLink(ReadOnlySpan<byte> name, string target)
    {
        fixed (byte* text = Terminated(name), to = Terminated(Encoding.UTF8.GetBytes(target), MaxLink))
        {
            LinuxError.Check(SymbolicLinkCall(to, _handle, text), $"Making the link '{Show(name)}'");
        }
    }

    /// <summary>Gives a file of a directory another name here.</summary>
    public void CreateHardLink(ReadOnlySpan<byte> name, DirectoryHandle from, ReadOnlySpan<byte> existing)
    {
        fixed (byte* text = Terminated(name), old = Terminated(existing))
        {
            LinuxError.Check(LinkCall(from._handle, old, _handle, text, 0), $"Linking '{Show(name)}' to '{Show(existing)}'");
        }
    }

    /// <summary>Where a symbolic link points; bytes that are no UTF-8 become U+FFFD.</summary>
    public string ReadLink(ReadOnlySpan<byte> name)
    {
        var target = new byte[MaxLink];
        fixed (byte* text = Terminated(name), into = target)
        {
            var length = ReadLinkCall(_handle, text, into, (nuint)target.Length);
            LinuxError.Check((int)length, $"Reading the link '{Show(name)}'");
            return Encoding.UTF8.GetString(target, 0, (int)length);
        }
    }

    /// <summary>Removes a name; false when there is none. A directory must be empty.</summary>
    /// <exception cref="Win32Exception">ENOTEMPTY, EISDIR or ENOTDIR; EBUSY: something is mounted on it.</exception>
    public bool Remove(ReadOnlySpan<byte> name, bool isDirectory)
    {
        fixed (byte* text = Terminated(name))
        {
            var result = UnlinkCall(_handle, text, isDirectory ? RemoveDirectoryAt : 0);
            return result == 0 || (Marshal.GetLastPInvokeError() is Errno.NoEntry ? false : throw LinuxError.Last($"Removing '{Show(name)}'"));
        }
    }

    /// <summary>Renames an entry, also into another directory of the same file system; what has the new name is replaced in one step.</summary>
    public void Rename(ReadOnlySpan<byte> name, DirectoryHandle to, ReadOnlySpan<byte> newName)
    {
        fixed (byte* text = Terminated(name), into = Terminated(newName))
        {
            LinuxError.Check(RenameCall(_handle, text, to._handle, into), $"Renaming '{Show(name)}' to '{Show(newName)}'");
        }
    }

    /// <summary>Sets owner and group of a name, links not followed. Clears set-user-id and set-group-id.</summary>
    public void SetOwner(ReadOnlySpan<byte> name, uint uid, uint gid)
    {
        fixed (byte* text = Terminated(name))
        {
            LinuxError.Check(OwnerCall(_handle, text, uid, gid, NoFollowAt), $"Setting the owner of '{Show(name)}'");
        }
    }

    /// <summary>Sets when a name's content last changed, links not followed.</summary>
    public void SetModified(ReadOnlySpan<byte> name, DateTimeOffset time)
    {
        var times = stackalloc Kernel.SystemClock.TimeSpec[2];
        times[0] = new Kernel.SystemClock.TimeSpec { Nanoseconds = OmitTime };
        times[1] = Kernel.SystemClock.ToTimeSpec(time);
        fixed (byte* text = Terminated(name))
        {
            LinuxError.Check(TimesCall(_handle, text, times, NoFollowAt), $"Setting the time of '{Show(name)}'");
        }
    }

    /// <summary>Sets permissions (07777) of an open file.</summary>
    public static void SetMode(SafeFileHandle file, int mode) => LinuxError.Check(ModeCall(file, (uint)mode), "Setting the permissions");

    /// <summary>Sets owner and group of an open file. Clears set-user-id and set-group-id.</summary>
    public static void SetOwner(SafeFileHandle file, uint uid, uint gid)
    {
        byte none = 0;
        LinuxError.Check(OwnerCall(file, &none, uid, gid, EmptyPath), "Setting the owner");
    }

    /// <summary>Sets permissions (07777) of this directory.</summary>
    public void SetMode(int mode) => SetMode(_handle, mode);

    /// <summary>Sets owner and group of this directory.</summary>
    public void SetOwner(uint uid, uint gid) => SetOwner(_handle, uid, gid);

    /// <inheritdoc/>
    public void Dispose() => _handle.Dispose();

    /// <summary>A name as text for messages; bytes that are no UTF-8 become U+FFFD.</summary>
    public static string Show(ReadOnlySpan<byte> name) => Encoding.UTF8.GetString(name);

    private SafeFileHandle OpenAt(string path, ulong flags, PathLookup lookup)
    {
        if (path.Contains('\0', StringComparison.Ordinal))
        {
            throw LinuxError.Of(Errno.Invalid, "A path with a NUL character");
        }

        var how = new SafePath.OpenHow
        {
            Flags = flags | CloseOnExec,
            Resolve = NoMagicLinks | (lookup == PathLookup.InRoot ? InRootOnly : BeneathOnly),
        };
        var relative = path.TrimStart('/') is { Length: > 0 } rest ? rest : ".";
        var fd = -1;
        for (var attempt = 0; attempt < MaxAttempts; attempt++)
        {
            // EAGAIN: someone renamed a directory on the way, and the kernel cannot tell whether it still lies inside.
            fd = OpenCall((int)_handle.DangerousGetHandle(), lookup == PathLookup.InRoot ? relative : path, how);
            if (fd >= 0 || Marshal.GetLastPInvokeError() is not (Errno.Again or Errno.Interrupted))
            {
                break;
            }
        }

        return Own(fd, path);
    }

    private SafeFileHandle OpenAt(ReadOnlySpan<byte> name, ulong flags, ulong mode = 0)
    {
        var how = new SafePath.OpenHow { Flags = flags | CloseOnExec, Mode = mode, Resolve = BeneathOnly | NoSymbolicLinks | NoMagicLinks | NoCrossing };
        int fd;
        fixed (byte* text = Terminated(name))
        {
            do
            {
                fd = (int)SystemCall(OpenAt2, _handle.DangerousGetHandle(), text, &how, sizeof(SafePath.OpenHow), 0, 0);
            }
            while (fd < 0 && Marshal.GetLastPInvokeError() == Errno.Interrupted);
        }

        return Own(fd, Show(name));
    }

    private static SafeFileHandle Own(int fd, string what) => new(LinuxError.Check(fd, $"Opening '{what}'"), ownsHandle: true);

    /// <summary>Takes the flag back: it has done its work, and .NET takes such a descriptor for an asynchronous one.</summary>
    private static SafeFileHandle Blocking(SafeFileHandle file, string path)
    {
        if (Control(file, SetStatusFlags, 0) >= 0)
        {
            return file;
        }

        var failure = LinuxError.Last($"Opening '{path}'");
        file.Dispose();
        throw failure;
    }

    private static byte[] Terminated(ReadOnlySpan<byte> name, int most = MaxName)
    {
        if (name.IsEmpty || name.Length > most || name.Contains((byte)0) || (most == MaxName && (name.Contains((byte)'/') || name is [(byte)'.'] or [(byte)'.', (byte)'.'])))
        {
            throw LinuxError.Of(name.Length > most ? Errno.NameTooLong : Errno.Invalid, $"'{Show(name)}' as the name of a file");
        }

        var text = new byte[name.Length + 1];
        name.CopyTo(text);
        return text;
    }

    private static int OpenCall(int directory, string path, SafePath.OpenHow how)
    {
        fixed (byte* text = Encoding.UTF8.GetBytes(path + '\0'))
        {
            return (int)SystemCall(OpenAt2, directory, text, &how, sizeof(SafePath.OpenHow), 0, 0);
        }
    }

    // All six arguments are passed: with fewer, the kernel reads garbage as the others.
    [LibraryImport("libc", EntryPoint = "syscall", SetLastError = true)]
    private static partial nint SystemCall(nint number, nint directory, byte* path, SafePath.OpenHow* how, nint size, nint e, nint f);

    [LibraryImport("libc", EntryPoint = "statx", SetLastError = true)]
    private static partial int StatCall(SafeFileHandle directory, byte* name, int flags, uint mask, FileStatus* status);

    [LibraryImport("libc", EntryPoint = "flock", SetLastError = true)]
    private static partial int LockCall(SafeFileHandle directory, int operation);

    [LibraryImport("libc", EntryPoint = "mkdirat", SetLastError = true)]
    private static partial int MakeDirectoryCall(SafeFileHandle directory, byte* name, uint mode);

    [LibraryImport("libc", EntryPoint = "symlinkat", SetLastError = true)]
    private static partial int SymbolicLinkCall(byte* target, SafeFileHandle directory, byte* name);

    [LibraryImport("libc", EntryPoint = "linkat", SetLastError = true)]
    private static partial int LinkCall(SafeFileHandle from, byte* existing, SafeFileHandle directory, byte* name, int flags);

    [LibraryImport("libc", EntryPoint = "readlinkat", SetLastError = true)]
    private static partial nint ReadLinkCall(SafeFileHandle directory, byte* name, byte* into, nuint size);

    [LibraryImport("libc", EntryPoint = "unlinkat", SetLastError = true)]
    private static partial int UnlinkCall(SafeFileHandle directory, byte* name, int flags);

    [LibraryImport("libc", EntryPoint = "renameat", SetLastError = true)]
    private static partial int RenameCall(SafeFileHandle directory, byte* name, SafeFileHandle to, byte* newName);

    [LibraryImport("libc", EntryPoint = "fchownat", SetLastError = true)]
    private static partial int OwnerCall(SafeFileHandle directory, byte* name, uint uid, uint gid, int flags);

    [LibraryImport("libc", EntryPoint = "fchmod", SetLastError = true)]
    private static partial int ModeCall(SafeFileHandle file, uint mode);

    [LibraryImport("libc", EntryPoint = "utimensat", SetLastError = true)]
    private static partial int TimesCall(SafeFileHandle directory, byte* name, Kernel.SystemClock.TimeSpec* times, int flags);

    [LibraryImport("libc", EntryPoint = "fcntl", SetLastError = true)]
    private static partial int Control(SafeFileHandle fd, int command, nint argument);
}
