using System.Buffers.Binary;
using System.Text;

namespace Volant.Fledge.Inspection;

/// <summary>Knows a file system by its superblock and reads what that says. The input is hostile: nothing in it is followed.</summary>
/// <remarks>
/// Linux <c>Documentation/filesystems/ext4/super.rst</c>; XFS Algorithms and Data Structures, "Superblocks"; btrfs on-disk format, "Superblock";
/// Linux <c>fs/squashfs/squashfs_fs.h</c>.
/// </remarks>
internal static class FilesystemProbe
{
    /// <summary>How much of the start of a disk is looked at.</summary>
    public const int Bytes = 0x10000 + 0x1000;

    /// <summary>The file system of a disk; null when it is none of those that a guest can have as its root.</summary>
    public static (string Kind, InspectedFilesystem Found)? Find(ReadOnlySpan<byte> start) =>
        start.Length >= 1024 + 0x200 && U16(start, 1024 + 0x38) == 0xEF53 ? ("ext4", Ext4(start[1024..]))
        : start.Length >= 0x200 && start.StartsWith("XFSB"u8) ? ("xfs", Xfs(start))
        : start.Length >= 0x11000 && start[0x10040..].StartsWith("_BHRfS_M"u8) ? ("btrfs", Btrfs(start[0x10000..]))
        : start.Length >= 96 && start.StartsWith("hsqs"u8) ? ("squashfs", Squashfs(start))
        : null;

    private static InspectedFilesystem Ext4(ReadOnlySpan<byte> super)
    {
        var block = 1024L << (int)Math.Min(U32(super, 0x18), 6);
        return new InspectedFilesystem(Uuid(super[0x68..]), Label(super.Slice(0x78, 16)), U32(super, 0x04) * block, U32(super, 0x0C) * block, block, U32(super, 0x00));
    }

    private static InspectedFilesystem Xfs(ReadOnlySpan<byte> super)
    {
        var block = BinaryPrimitives.ReadUInt32BigEndian(super[4..]);
        return new InspectedFilesystem(
            Uuid(super[32..]), Label(super.Slice(108, 12)), Product(BinaryPrimitives.ReadUInt64BigEndian(super[8..]), block), Product(BinaryPrimitives.ReadUInt64BigEndian(super[144..]), block), block,
            (long)Math.Min(BinaryPrimitives.ReadUInt64BigEndian(super[128..]), long.MaxValue));
    }

    private static InspectedFilesystem Btrfs(ReadOnlySpan<byte> super)
    {
        var (total, used) = (BinaryPrimitives.ReadUInt64LittleEndian(super[0x70..]), BinaryPrimitives.ReadUInt64LittleEndian(super[0x78..]));
        return new InspectedFilesystem(
            Uuid(super[0x20..]), Label(super.Slice(0x12B, 256)), Product(total, 1), total >= used ? Product(total - used, 1) : null, U32(super, 0x90), null);
    }

    private static InspectedFilesystem Squashfs(ReadOnlySpan<byte> super) =>
        new(null, null, Product(BinaryPrimitives.ReadUInt64LittleEndian(super[40..]), 1), 0, U32(super, 12), U32(super, 4));

    private static long Product(ulong count, ulong unit) => (long)UInt128.Min((UInt128)count * unit, long.MaxValue);

    private static string Uuid(ReadOnlySpan<byte> bytes) => new Guid(bytes[..16], bigEndian: true).ToString();

    private static string? Label(ReadOnlySpan<byte> bytes)
    {
        var text = Encoding.UTF8.GetString(bytes.IndexOf((byte)0) is >= 0 and var end ? bytes[..end] : bytes);
        return text.Length == 0 ? null : text;
    }

    private static uint U32(ReadOnlySpan<byte> bytes, int at) => BinaryPrimitives.ReadUInt32LittleEndian(bytes[at..]);

    private static ushort U16(ReadOnlySpan<byte> bytes, int at) => BinaryPrimitives.ReadUInt16LittleEndian(bytes[at..]);
}
