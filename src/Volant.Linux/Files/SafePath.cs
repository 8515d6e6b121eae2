using System.ComponentModel;
using System.Runtime.InteropServices;
using Microsoft.Win32.SafeHandles;

namespace Volant.Linux.Files;

/// <summary>Why a path was not opened.</summary>
public enum SafePathFault
{
    /// <summary>It leads out of the root: by <c>..</c>, by a symbolic link, or by an absolute one wherever that points.</summary>
    OutsideRoot,

    /// <summary>There is no such file, or the name cannot be one.</summary>
    NotFound,

    /// <summary>A directory, device, pipe or socket.</summary>
    NotRegularFile,

    /// <summary>Its permissions do not let this process read it.</summary>
    AccessDenied,

    /// <summary>Symbolic links in a circle, or more than 40 of them.</summary>
    TooManyLinks,

    /// <summary>The root itself cannot be opened.</summary>
    RootUnavailable,
}

/// <summary>A path below a root was not opened.</summary>
public sealed class SafePathException(SafePathFault fault, string message, Exception? innerException = null)
    : IOException(message, innerException)
{
    /// <summary>Why.</summary>
    public SafePathFault Fault { get; } = fault;
}

/// <summary>Opens files whose path someone else chose, without ever leaving a directory (<c>man 2 openat2</c>, RESOLVE_BENEATH).</summary>
/// <remarks>The kernel resolves and checks in one step, so that no rename or link made meanwhile can lead out. Needs Linux 5.6.</remarks>
public static unsafe partial class SafePath
{
    /// <summary>How often a look-up is repeated when someone renames directories on its way.</summary>
    private const int MaxAttempts = 32;

    private const nint OpenAt2 = 437; // the same number on every architecture
    private const int CurrentDirectory = -100; // AT_FDCWD
    private const ulong PathOnly = 0x200000; // O_PATH
    private const ulong NonBlocking = 0x800; // O_NONBLOCK: opening a FIFO or device must not hang
    private const ulong NoControllingTerminal = 0x100; // O_NOCTTY
    private const ulong CloseOnExec = 0x80000; // O_CLOEXEC
    private const ulong NoMagicLinks = 0x02; // RESOLVE_NO_MAGICLINKS: not through /proc/PID/fd
    private const ulong Beneath = 0x08; // RESOLVE_BENEATH
    private const int SetStatusFlags = 4; // F_SETFL
    private const int EmptyPath = 0x1000; // AT_EMPTY_PATH
    private const uint StatType = 1; // STATX_TYPE
    private const int TypeMask = 0xf000; // S_IFMT
    private const int RegularFile = 0x8000; // S_IFREG

    /// <summary>Opens a regular file below <paramref name="root"/> for reading.</summary>
    /// <param name="root">Absolute path of a directory, itself trusted.</param>
    /// <param name="path">Relative to <paramref name="root"/>, or absolute and then beginning with it.</param>
    /// <exception cref="SafePathException">The path was refused; <see cref="SafePathException.Fault"/> says why.</exception>
    /// <exception cref="Win32Exception">The system failed: an I/O error, too many open files, no openat2.</exception>
    public static SafeFileHandle OpenBeneath(string root, string path)
    {
        ArgumentException.ThrowIfNullOrEmpty(root);
        ArgumentNullException.ThrowIfNull(path);
        var relative = RelativeTo(root, path);
        using var directory = OpenRoot(root);
        SafeFileHandle? file = null;
        try
        {
            file = OpenFile(directory, root, relative, path);
            if (!IsRegular(file, path))
            {
                throw new SafePathException(SafePathFault.NotRegularFile, $"'{path}' is not a regular file.");
            }

            // The flag has done its work, and .NET takes such a descriptor for an asynchronous one.
            LinuxError.Check(Control(file, SetStatusFlags, 0), $"Opening '{path}'");
            var opened = file;
            file = null;
            return opened;
        }
        finally
        {
            file?.Dispose();
        }
    }

    /// <summary>The path of an open file without symbolic links, as it is now; ends in <c> (deleted)</c> when the file has none any more.</summary>
    /// <exception cref="IOException"><c>/proc</c> is not mounted.</exception>
    public static string RealPath(SafeFileHandle file)
    {
        ArgumentNullException.ThrowIfNull(file);
        var link = $"/proc/self/fd/{file.DangerousGetHandle()}";
        var target = new FileInfo(link).LinkTarget;
        GC.KeepAlive(file);
        return target ?? throw new IOException($"'{link}' does not exist: is /proc mounted?");
    }

    private static string RelativeTo(string root, string path)
    {
        if (path.Contains('\0', StringComparison.Ordinal))
        {
            throw new SafePathException(SafePathFault.NotFound, "A path holds a NUL character.");
        }

        if (!path.StartsWith('/'))
        {
            return path.Length > 0 ? path : throw new SafePathException(SafePathFault.NotFound, "The path is empty.");
        }

        var prefix = root.TrimEnd('/') + "/";
        return path.StartsWith(prefix, StringComparison.Ordinal) && path[prefix.Length..].TrimStart('/') is { Length: > 0 } relative
            ? relative
            : throw Outside(root, path);
    }

    private static SafeFileHandle OpenRoot(string root)
    {
        const ulong Directory = 0x10000; // O_DIRECTORY on x86-64; arm64 has 0x4000
        var flags = PathOnly | CloseOnExec | (RuntimeInformation.ProcessArchitecture == Architecture.Arm64 ? 0x4000ul : Directory);
        var fd = Open(CurrentDirectory, root, new OpenHow { Flags = flags });
        return fd >= 0
            ? new SafeFileHandle(fd, ownsHandle: true)
            : throw new SafePathException(SafePathFault.RootUnavailable, $"Directory '{root}' cannot be opened.", LinuxError.Last(root));
    }

    private static SafeFileHandle OpenFile(SafeFileHandle directory, string root, string relative, string path)
    {
        var how = new OpenHow { Flags = NonBlocking | NoControllingTerminal | CloseOnExec, Resolve = Beneath | NoMagicLinks };
        var errno = 0;
        for (var attempt = 0; attempt < MaxAttempts; attempt++)
        {
            var fd = Open((int)directory.DangerousGetHandle(), relative, how);
            if (fd >= 0)
            {
                return new SafeFileHandle(fd, ownsHandle: true);
            }

            errno = Marshal.GetLastPInvokeError();
            if (errno is not (Errno.Again or Errno.Interrupted))
            {
                break;
            }
        }

        throw errno switch
        {
            Errno.CrossDevice => Outside(root, path),
            Errno.NoEntry or Errno.NotDirectory or Errno.NameTooLong =>
                new SafePathException(SafePathFault.NotFound, $"'{path}' does not exist below '{root}'."),
            Errno.NoSuchDevice or Errno.NoDevice => new SafePathException(SafePathFault.NotRegularFile, $"'{path}' is not a regular file."),
            Errno.AccessDenied or Errno.NotPermitted =>
                new SafePathException(SafePathFault.AccessDenied, $"'{path}' may not be read by this user.", LinuxError.Of(errno, path)),
            Errno.TooManyLinks => new SafePathException(SafePathFault.TooManyLinks, $"'{path}' leads through too many symbolic links."),
            _ => LinuxError.Of(errno, $"Opening '{path}'"),
        };
    }

    private static SafePathException Outside(string root, string path) =>
        new(SafePathFault.OutsideRoot, $"'{path}' leads out of '{root}'; use a path below it, without absolute symbolic links.");

    private static bool IsRegular(SafeFileHandle file, string path)
    {
        FileStatus status;
        LinuxError.Check(Stat(file, "", EmptyPath, StatType, &status), $"Looking at '{path}'");
        return (status.Mode & TypeMask) == RegularFile;
    }

    private static int Open(int directory, string path, OpenHow how) =>
        (int)SystemCall(OpenAt2, directory, path, &how, sizeof(OpenHow), 0, 0);

    // All six arguments are passed: with fewer, the kernel reads garbage as the others.
    [LibraryImport("libc", EntryPoint = "syscall", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    private static partial nint SystemCall(nint number, nint directory, string path, OpenHow* how, nint size, nint e, nint f);

    [LibraryImport("libc", EntryPoint = "statx", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    private static partial int Stat(SafeFileHandle file, string path, int flags, uint mask, FileStatus* status);

    [LibraryImport("libc", EntryPoint = "fcntl", SetLastError = true)]
    private static partial int Control(SafeFileHandle fd, int command, nint argument);

    /// <summary>The kernel's <c>struct open_how</c>, 24 bytes.</summary>
    [StructLayout(LayoutKind.Sequential, Size = 24)]
    internal struct OpenHow
    {
        public ulong Flags;
        public ulong Mode;
        public ulong Resolve;
    }
}
