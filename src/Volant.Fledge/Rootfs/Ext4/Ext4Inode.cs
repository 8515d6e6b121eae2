using System.Buffers.Binary;
using Volant.Fledge.Tar;

namespace Volant.Fledge.Rootfs.Ext4;

/// <summary>Writes inodes.</summary>
internal static class Ext4Inode
{
    private const int OwnBytes = 128;
    private const long MaxTime = (1L << 34) - (1L << 31) - 1;

    /// <summary>Writes the fields that do not depend on where a content lies.</summary>
    public static void Put(Span<byte> inode, int mode, uint uid, uint gid, long modifiedAt, int links)
    {
        BinaryPrimitives.WriteUInt16LittleEndian(inode, (ushort)mode);
        BinaryPrimitives.WriteUInt16LittleEndian(inode[0x02..], (ushort)uid);
        BinaryPrimitives.WriteUInt16LittleEndian(inode[0x18..], (ushort)gid);
        BinaryPrimitives.WriteUInt16LittleEndian(inode[0x1A..], (ushort)links);
        BinaryPrimitives.WriteUInt16LittleEndian(inode[0x78..], (ushort)(uid >> 16));
        BinaryPrimitives.WriteUInt16LittleEndian(inode[0x7A..], (ushort)(gid >> 16));
        BinaryPrimitives.WriteUInt16LittleEndian(inode[OwnBytes..], Ext4Format.ExtraInodeBytes);

        // Every time is that of the last change, so that the same input gives the same bytes. Two bits of the extra fields count 2^32 seconds each.
        var time = Math.Clamp(modifiedAt, int.MinValue, MaxTime);
        var epoch = (uint)((time - (int)time) >> 32) & 3;
        foreach (var (place, extra) in new[] { (0x08, 0x8C), (0x0C, 0x84), (0x10, 0x88), (0x90, 0x94) })
        {
            BinaryPrimitives.WriteInt32LittleEndian(inode[place..], (int)time);
            BinaryPrimitives.WriteUInt32LittleEndian(inode[extra..], epoch);
        }
    }

    /// <summary>The place for attributes.</summary>
    public static Span<byte> AttributeSpace(Span<byte> inode) => inode[(OwnBytes + Ext4Format.ExtraInodeBytes)..];

    /// <summary>Writes where the content lies: one run of blocks, cut into extents.</summary>
    /// <param name="inode">The inode.</param>
    /// <param name="content">The run.</param>
    /// <param name="store">Takes the blocks of extents when there are more than fit into the inode.</param>
    /// <param name="extraBlocks">Blocks that belong to the file besides.</param>
    /// <returns>Blocks of extents that were appended.</returns>
    public static Extent PutContent(Span<byte> inode, Extent content, ContentStore store, int extraBlocks)
    {
        var count = (int)((content.Blocks + Ext4Format.MaxExtentBlocks - 1) / Ext4Format.MaxExtentBlocks);
        var root = inode.Slice(0x28, Ext4Format.InlineDataBytes);
        var index = default(Extent);
        if (count <= Ext4Format.RootExtents)
        {
            PutHeader(root, count, Ext4Format.RootExtents, depth: 0);
            PutExtents(root[Ext4Format.ExtentBytes..], content, 0, count);
        }
        else
        {
            index = PutIndex(root, content, count, store);
        }

        BinaryPrimitives.WriteUInt32LittleEndian(inode[0x20..], Ext4Format.ExtentsFlag);
        PutSize(inode, content.SizeBytes, content.Blocks + index.Blocks + extraBlocks);
        return index;
    }

    /// <summary>Writes a short content, such as a link's target, in the place of extents.</summary>
    public static void PutInline(Span<byte> inode, ReadOnlySpan<byte> content, long sizeBytes, int extraBlocks)
    {
        content.CopyTo(inode[0x28..]);
        PutSize(inode, sizeBytes, extraBlocks);
    }

    /// <summary>Writes the number of a device (<c>old_encode_dev</c>, <c>new_encode_dev</c>).</summary>
    public static void PutDevice(Span<byte> inode, uint major, uint minor)
    {
        var isOld = major < 256 && minor < 256;
        BinaryPrimitives.WriteUInt32LittleEndian(inode[(isOld ? 0x28 : 0x2C)..], isOld ? (major << 8) | minor : (minor & 0xFF) | (major << 8) | ((minor & ~0xFFu) << 12));
    }

    /// <summary>Names the block of attributes.</summary>
    public static void PutAttributeBlock(Span<byte> inode, long block) => BinaryPrimitives.WriteUInt32LittleEndian(inode[0x68..], (uint)block);

    /// <summary>S_IFMT bits of a kind.</summary>
    public static int TypeBits(TarKind kind) => kind switch
    {
        TarKind.Directory => 0x4000,
        TarKind.CharacterDevice => 0x2000,
        TarKind.BlockDevice => 0x6000,
        TarKind.Pipe => 0x1000,
        TarKind.SymbolicLink => 0xA000,
        _ => 0x8000,
    };

    private static Extent PutIndex(Span<byte> root, Extent content, int count, ContentStore store)
    {
        var leaves = (count + Ext4Format.LeafExtents - 1) / Ext4Format.LeafExtents;
        if (leaves > Ext4Format.RootExtents)
        {
            throw new FledgeException($"A file has {content.SizeBytes} bytes; at most {(long)Ext4Format.RootExtents * Ext4Format.LeafExtents * Ext4Format.MaxExtentBlocks * Ext4Format.BlockBytes} are possible. Put it on a disk.");
        }

        var blocks = new byte[leaves * Ext4Format.BlockBytes];
        var first = store.NextBlock;
        PutHeader(root, leaves, Ext4Format.RootExtents, depth: 1);
        for (var leaf = 0; leaf < leaves; leaf++)
        {
            var start = leaf * Ext4Format.LeafExtents;
            var entries = Math.Min(Ext4Format.LeafExtents, count - start);
            var entry = root[(Ext4Format.ExtentBytes * (1 + leaf))..];
            BinaryPrimitives.WriteUInt32LittleEndian(entry, (uint)((long)start * Ext4Format.MaxExtentBlocks));
            BinaryPrimitives.WriteUInt32LittleEndian(entry[4..], (uint)(first + leaf));
            var block = blocks.AsSpan(leaf * Ext4Format.BlockBytes, Ext4Format.BlockBytes);
            PutHeader(block, entries, Ext4Format.LeafExtents, depth: 0);
            PutExtents(block[Ext4Format.ExtentBytes..], content, start, entries);
        }

        return store.Append(blocks);
    }

    private static void PutHeader(Span<byte> place, int entries, int max, int depth)
    {
        BinaryPrimitives.WriteUInt16LittleEndian(place, Ext4Format.ExtentMagic);
        BinaryPrimitives.WriteUInt16LittleEndian(place[2..], (ushort)entries);
        BinaryPrimitives.WriteUInt16LittleEndian(place[4..], (ushort)max);
        BinaryPrimitives.WriteUInt16LittleEndian(place[6..], (ushort)depth);
    }

    private static void PutExtents(Span<byte> place, Extent content, int start, int count)
    {
        for (var i = 0; i < count; i++, place = place[Ext4Format.ExtentBytes..])
        {
            var logical = (long)(start + i) * Ext4Format.MaxExtentBlocks;
            BinaryPrimitives.WriteUInt32LittleEndian(place, (uint)logical);
            BinaryPrimitives.WriteUInt16LittleEndian(place[4..], (ushort)Math.Min(content.Blocks - logical, Ext4Format.MaxExtentBlocks));
            BinaryPrimitives.WriteUInt32LittleEndian(place[8..], (uint)(content.FirstBlock + logical));
        }
    }

    private static void PutSize(Span<byte> inode, long sizeBytes, long blocks)
    {
        var sectors = blocks * (Ext4Format.BlockBytes / 512);
        BinaryPrimitives.WriteUInt32LittleEndian(inode[0x04..], (uint)sizeBytes);
        BinaryPrimitives.WriteUInt32LittleEndian(inode[0x6C..], (uint)(sizeBytes >> 32));
        BinaryPrimitives.WriteUInt32LittleEndian(inode[0x1C..], (uint)sectors);
        BinaryPrimitives.WriteUInt16LittleEndian(inode[0x74..], (ushort)(sectors >> 32));
    }
}
