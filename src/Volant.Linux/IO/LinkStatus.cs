using System.ComponentModel;
using System.Runtime.InteropServices;

namespace Volant.Linux.IO;

/// <summary>What a path itself names; a symbolic link is not followed.</summary>
public enum LinkKind
{
    /// <summary>A regular file.</summary>
    File,

    /// <summary>A directory.</summary>
    Directory,

    /// <summary>A symbolic link.</summary>
    SymbolicLink,

    /// <summary>A character or block device.</summary>
    Device,

    /// <summary>A named pipe.</summary>
    Pipe,

    /// <summary>A Unix socket.</summary>
    Socket,
}

/// <summary>Kind, mode, owner and size of what a path itself names (<c>statx(2)</c> with AT_SYMLINK_NOFOLLOW).</summary>
/// <param name="Kind">What it is.</param>
/// <param name="Mode">Permission bits, set-ID and sticky bits included (0 to 07777).</param>
/// <param name="Uid">Owner.</param>
/// <param name="Gid">Group.</param>
/// <param name="SizeBytes">Size of a file, length of a link's target.</param>
/// <param name="FileSystem">Number of the file system that it lies in; differs behind every mount point of another one.</param>
public readonly unsafe partial record struct LinkStatus(LinkKind Kind, int Mode, uint Uid, uint Gid, long SizeBytes, ulong FileSystem = 0)
{
    private const int WorkingDirectory = -100;
    private const int NoFollow = 0x100;
    private const uint BasicStats = 0x7ff;
    private const int NoSuchEntry = 2;
    private const int NotADirectory = 20;
    private const int TypeMask = 0xF000;

    /// <summary>Reads the status of <paramref name="path"/>; null when nothing is there.</summary>
    /// <exception cref="Win32Exception">The kernel refused for another reason.</exception>
    public static LinkStatus? Find(string path)
    {
        // SAFETY: struct statx is 256 bytes; uid at 20, gid at 24, mode (u16) at 28, size (u64) at 40, device (2 u32) at 136.
        var buffer = stackalloc byte[256];
        if (StatX(WorkingDirectory, path, NoFollow, BasicStats, buffer) < 0)
        {
            return Marshal.GetLastPInvokeError() is NoSuchEntry or NotADirectory ? null : throw LinuxError.Last(path);
        }

        var mode = *(ushort*)(buffer + 28);
        var kind = (mode & TypeMask) switch
        {
            0x8000 => LinkKind.File,
            0x4000 => LinkKind.Directory,
            0xA000 => LinkKind.SymbolicLink,
            0x1000 => LinkKind.Pipe,
            0xC000 => LinkKind.Socket,
            _ => LinkKind.Device,
        };
        return new LinkStatus(kind, mode & ~TypeMask, *(uint*)(buffer + 20), *(uint*)(buffer + 24), *(long*)(buffer + 40), *(ulong*)(buffer + 136));
    }

    [LibraryImport("libc", EntryPoint = "statx", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    private static partial int StatX(int directory, string path, int flags, uint mask, byte* buffer);
}
