namespace Volant.Fledge.Rootfs.Ext4;

/// <summary>How large the file system is and where its tables lie: right behind everything else, all groups together.</summary>
/// <param name="TotalBlocks">Its size.</param>
/// <param name="Groups">Number of block groups.</param>
/// <param name="InodesPerGroup">Inodes of each.</param>
/// <param name="FirstTableBlock">Block bitmaps of all groups, then inode bitmaps, then inode tables.</param>
internal sealed record Ext4Geometry(long TotalBlocks, int Groups, int InodesPerGroup, long FirstTableBlock)
{
    /// <summary>Bytes per inode of the space that is left free, as mke2fs has it.</summary>
    private const int BytesPerInode = 16384;

    /// <summary>Blocks of one group's inode table.</summary>
    public int TableBlocks => InodesPerGroup / Ext4Format.InodesPerBlock;

    /// <summary>Blocks of all bitmaps and inode tables.</summary>
    public long MetadataBlocks => (long)Groups * (2 + TableBlocks);

    /// <summary>First block of the inode tables.</summary>
    public long FirstInodeBlock => FirstTableBlock + (2L * Groups);

    /// <summary>Finds the smallest file system that holds everything.</summary>
    /// <param name="usedBlocks">Blocks up to the end of all contents.</param>
    /// <param name="inodes">Inodes in use.</param>
    /// <param name="freeBlocks">Blocks to add.</param>
    /// <param name="spareBytes">Free space in all, for which inodes are provided.</param>
    public static Ext4Geometry For(long usedBlocks, long inodes, long freeBlocks, long spareBytes)
    {
        var wanted = inodes + (spareBytes / BytesPerInode) + Ext4Format.InodesPerBlock;
        for (var groups = 1; groups <= Ext4Format.MaxGroups; groups++)
        {
            var perGroup = (wanted + groups - 1) / groups;
            perGroup = (perGroup + Ext4Format.InodesPerBlock - 1) / Ext4Format.InodesPerBlock * Ext4Format.InodesPerBlock;
            if (perGroup > Ext4Format.MaxInodesPerGroup)
            {
                continue;
            }

            // A file system of so many groups has more blocks than one group less could hold.
            var found = new Ext4Geometry(0, groups, (int)perGroup, usedBlocks);
            var total = Math.Max(usedBlocks + found.MetadataBlocks + freeBlocks, ((groups - 1L) * Ext4Format.BlocksPerGroup) + 1);
            if (total <= (long)groups * Ext4Format.BlocksPerGroup)
            {
                return found with { TotalBlocks = total };
            }
        }

        throw new FledgeException($"The file system would exceed {(long)Ext4Format.MaxGroups * Ext4Format.BlocksPerGroup * Ext4Format.BlockBytes} bytes; put less into the image.");
    }
}
