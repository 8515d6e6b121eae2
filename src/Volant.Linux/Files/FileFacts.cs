using System.Runtime.InteropServices;

namespace Volant.Linux.Files;

/// <summary>Kinds of files (<c>man 7 inode</c>).</summary>
public enum FileKind
{
    /// <summary>Regular file.</summary>
    Regular,

    /// <summary>Directory.</summary>
    Directory,

    /// <summary>Symbolic link.</summary>
    SymbolicLink,

    /// <summary>Character device.</summary>
    CharacterDevice,

    /// <summary>Block device.</summary>
    BlockDevice,

    /// <summary>Named pipe.</summary>
    Pipe,

    /// <summary>Socket.</summary>
    Socket,
}

/// <summary>What the kernel says of a file.</summary>
/// <param name="Kind">What it is.</param>
/// <param name="Size">Size in bytes.</param>
/// <param name="Mode">Permissions, 0 to 07777.</param>
/// <param name="Uid">Owner.</param>
/// <param name="Gid">Group.</param>
/// <param name="ModifiedAt">When its content last changed; 1970 for an earlier time.</param>
/// <param name="Device">File system that it lies on.</param>
public readonly record struct FileFacts(FileKind Kind, long Size, int Mode, uint Uid, uint Gid, DateTimeOffset ModifiedAt, ulong Device);

/// <summary>The kernel's <c>struct statx</c>, 256 bytes: the same on every architecture, unlike <c>struct stat</c>.</summary>
[StructLayout(LayoutKind.Explicit, Size = 256)]
internal struct FileStatus
{
    private const int TypeMask = 0xf000; // S_IFMT
    private const long LastSecond = 253_402_300_799; // 9999-12-31T23:59:59Z

    [FieldOffset(20)]
    public uint Uid;

    [FieldOffset(24)]
    public uint Gid;

    [FieldOffset(28)]
    public ushort Mode;

    [FieldOffset(40)]
    public ulong Size;

    [FieldOffset(112)]
    public long ModifiedSeconds;

    [FieldOffset(128)]
    public uint NodeMajor;

    [FieldOffset(132)]
    public uint NodeMinor;

    [FieldOffset(120)]
    public uint ModifiedNanoseconds;

    [FieldOffset(136)]
    public uint DeviceMajor;

    [FieldOffset(140)]
    public uint DeviceMinor;

    public readonly FileFacts ToFacts() => new(
        (Mode & TypeMask) switch
        {
            0x4000 => FileKind.Directory,
            0xa000 => FileKind.SymbolicLink,
            0x2000 => FileKind.CharacterDevice,
            0x6000 => FileKind.BlockDevice,
            0x1000 => FileKind.Pipe,
            0xc000 => FileKind.Socket,
            _ => FileKind.Regular,
        },
        (long)Math.Min(Size, long.MaxValue),
        Mode & 0xfff,
        Uid,
        Gid,
        DateTimeOffset.FromUnixTimeSeconds(Math.Clamp(ModifiedSeconds, 0, LastSecond)).AddTicks(ModifiedNanoseconds / TimeSpan.NanosecondsPerTick),
        ((ulong)DeviceMajor << 32) | DeviceMinor);
}
