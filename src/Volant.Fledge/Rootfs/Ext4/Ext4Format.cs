namespace Volant.Fledge.Rootfs.Ext4;

/// <summary>Numbers of the ext4 disk format.</summary>
/// <remarks>Linux, <c>Documentation/filesystems/ext4/</c>; all numbers are little-endian, but those of the journal.</remarks>
internal static class Ext4Format
{
    public const int BlockBytes = ContentStore.BlockBytes;
    public const int BlocksPerGroup = BlockBytes * 8;
    public const int MaxInodesPerGroup = BlockBytes * 8;
    public const int InodeBytes = 256;
    public const int InodesPerBlock = BlockBytes / InodeBytes;
    public const int SuperblockOffset = 1024;
    public const int SuperblockBytes = 1024;
    public const int DescriptorBytes = 32;

    /// <summary>Most groups, and with it the largest image: 1 TiB.</summary>
    public const int MaxGroups = 8192;

    /// <summary>Block after the superblock and the largest table of group descriptors; contents begin here.</summary>
    public const int FirstContentBlock = 1 + (MaxGroups * DescriptorBytes / BlockBytes);

    public const uint RootInode = 2;
    public const uint JournalInode = 8;
    public const uint LostAndFoundInode = 11;
    public const uint FirstInode = 11;

    /// <summary>has_journal, ext_attr, dir_index, sparse_super2: no copy of the superblock lies in the middle of a content.</summary>
    public const uint Compatible = 0x4 | 0x8 | 0x20 | 0x200;

    /// <summary>filetype, extents, flex_bg: bitmaps and inode tables lie behind all contents.</summary>
    public const uint Incompatible = 0x2 | 0x40 | 0x200;

    /// <summary>large_file, huge_file, dir_nlink, extra_isize.</summary>
    public const uint ReadOnlyCompatible = 0x2 | 0x8 | 0x20 | 0x40;

    public const uint ExtentsFlag = 0x80000;
    public const int InlineDataBytes = 60;
    public const int ExtraInodeBytes = 32;
    public const uint AttributeMagic = 0xEA020000;
    public const ushort ExtentMagic = 0xF30A;
    public const int MaxExtentBlocks = 32768;
    public const int ExtentBytes = 12;
    public const int RootExtents = 4;
    public const int LeafExtents = (BlockBytes - ExtentBytes) / ExtentBytes;
    public const int MaxLinks = 65_000;
}
