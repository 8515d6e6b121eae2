using System.Buffers.Binary;
using Microsoft.Win32.SafeHandles;

namespace Volant.Fledge.Rootfs;

/// <summary>Sets mode, owner and time of a squashfs image's root directory.</summary>
/// <remarks>
/// Linux, <c>Documentation/filesystems/squashfs.rst</c>; all numbers are little-endian. With an archive as input mksquashfs leaves out what that says about the root, and version 4.5 its own
/// options for it as well: owner is who runs it, time the time of day. Inodes and ids must not be compressed (<c>-noI</c>): blocks of 8 KiB, each behind two bytes.
/// </remarks>
internal static class SquashfsRoot
{
    private const int SuperblockBytes = 96;
    private const int IdCountField = 26;
    private const int RootInodeField = 32;
    private const int IdTableField = 48;
    private const int InodeTableField = 64;
    private const int ModeField = 2;
    private const int BlockBytes = 8192;
    private const int HeaderBytes = 2;
    private const int IsPlain = 0x8000;

    /// <summary>Writes what the node says into the root's inode.</summary>
    /// <param name="image">The finished image.</param>
    /// <param name="root">What it is to say.</param>
    /// <exception cref="FledgeException">The image has no entry for the owner, or is not what it must be.</exception>
    public static void Describe(SafeFileHandle image, RootNode root)
    {
        Span<byte> super = stackalloc byte[SuperblockBytes];
        RandomAccess.Read(image, super, 0);
        var ids = ReadIds(image, super);
        Span<byte> fields = stackalloc byte[10];
        BinaryPrimitives.WriteUInt16LittleEndian(fields, (ushort)root.Permissions);
        BinaryPrimitives.WriteUInt16LittleEndian(fields[2..], IndexOf(ids, root.Uid));
        BinaryPrimitives.WriteUInt16LittleEndian(fields[4..], IndexOf(ids, root.Gid));
        BinaryPrimitives.WriteUInt32LittleEndian(fields[6..], (uint)Math.Clamp(root.ModifiedAt, 0, uint.MaxValue));

        var reference = BinaryPrimitives.ReadInt64LittleEndian(super[RootInodeField..]);
        var (block, place) = (BinaryPrimitives.ReadInt64LittleEndian(super[InodeTableField..]) + (reference >> 16), (int)(reference & 0xFFFF) + ModeField);
        RequirePlain(image, block);
        foreach (var field in fields)
        {
            // An inode may reach into the next block.
            RandomAccess.Write(image, [field], block + (place / BlockBytes * (HeaderBytes + BlockBytes)) + HeaderBytes + (place % BlockBytes));
            place++;
        }
    }

    private static uint[] ReadIds(SafeFileHandle image, ReadOnlySpan<byte> super)
    {
        var ids = new uint[BinaryPrimitives.ReadUInt16LittleEndian(super[IdCountField..])];
        var table = BinaryPrimitives.ReadInt64LittleEndian(super[IdTableField..]);
        const int PerBlock = BlockBytes / sizeof(uint);
        Span<byte> number = stackalloc byte[sizeof(long)];
        for (var i = 0; i < ids.Length; i++)
        {
            RandomAccess.Read(image, number, table + (i / PerBlock * sizeof(long)));
            var block = BinaryPrimitives.ReadInt64LittleEndian(number);
            RequirePlain(image, block);
            RandomAccess.Read(image, number[..sizeof(uint)], block + HeaderBytes + (i % PerBlock * sizeof(uint)));
            ids[i] = BinaryPrimitives.ReadUInt32LittleEndian(number);
        }

        return ids;
    }

    private static void RequirePlain(SafeFileHandle image, long block)
    {
        Span<byte> header = stackalloc byte[HeaderBytes];
        RandomAccess.Read(image, header, block);
        if ((BinaryPrimitives.ReadUInt16LittleEndian(header) & IsPlain) == 0)
        {
            throw new FledgeException("mksquashfs compressed its tables although it was told not to; install another version of squashfs-tools, or choose type \"ext4\".");
        }
    }

    private static ushort IndexOf(uint[] ids, uint id) => Array.IndexOf(ids, id) is >= 0 and var index
        ? (ushort)index
        : throw new FledgeException($"The image's root directory belongs to {id}, whom no file in it belongs to; squashfs cannot hold that. Choose type \"ext4\".");
}
