using System.Buffers.Binary;

namespace Volant.Agent.Boot;

/// <summary>A file system that a root disk may have.</summary>
/// <param name="Name">Name of the type, and of its module.</param>
/// <param name="ReadOnlyData">Options without which a disk that cannot be written might not be mounted: a journal is not replayed on it.</param>
/// <param name="IsArchive">Whether nothing can ever be written to it.</param>
internal sealed record RootFileSystem(string Name, string? ReadOnlyData, bool IsArchive = false)
{
    /// <summary>Bytes from the start of a disk that <see cref="Detect"/> looks at.</summary>
    public const int ProbeLength = BtrfsMagicOffset + 8;

    private const int ExtMagicOffset = 1024 + 56; // struct ext4_super_block, s_magic
    private const ushort ExtMagic = 0xef53;
    private const int BtrfsMagicOffset = 0x10000 + 64; // struct btrfs_super_block, magic

    private static readonly RootFileSystem Ext4 = new("ext4", "noload");
    private static readonly RootFileSystem Xfs = new("xfs", "norecovery");
    private static readonly RootFileSystem Btrfs = new("btrfs", "rescue=nologreplay");
    private static readonly RootFileSystem Squashfs = new("squashfs", null, IsArchive: true);

    /// <summary>All of them.</summary>
    public static IReadOnlyList<RootFileSystem> All { get; } = [Ext4, Xfs, Btrfs, Squashfs];

    /// <summary>The file system on a disk that starts with these bytes; null when it is none of <see cref="All"/>.</summary>
    public static RootFileSystem? Detect(ReadOnlySpan<byte> start) =>
        start.StartsWith("hsqs"u8) ? Squashfs
        : start.StartsWith("XFSB"u8) ? Xfs
        : start.Length >= ExtMagicOffset + 2 && BinaryPrimitives.ReadUInt16LittleEndian(start[ExtMagicOffset..]) == ExtMagic ? Ext4
        : start.Length >= ProbeLength && start[BtrfsMagicOffset..].StartsWith("_BHRfS_M"u8) ? Btrfs
        : null;
}
