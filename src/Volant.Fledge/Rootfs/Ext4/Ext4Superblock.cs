using System.Buffers.Binary;
using System.Security.Cryptography;
using System.Text;

namespace Volant.Fledge.Rootfs.Ext4;

/// <summary>What tells one file system from another.</summary>
/// <param name="Uuid">Its UUID, 16 bytes.</param>
/// <param name="HashSeed">Seed of directory hashes, 16 bytes.</param>
internal sealed record Ext4Identity(byte[] Uuid, byte[] HashSeed)
{
    /// <summary>The identity that belongs to an input: always the same for the same one.</summary>
    public static Ext4Identity Of(string input)
    {
        var hash = SHA256.HashData(Encoding.UTF8.GetBytes(input));

        // RFC 9562, section 5.8: version 8, made as the application likes.
        hash[6] = (byte)((hash[6] & 0x0F) | 0x80);
        hash[8] = (byte)((hash[8] & 0x3F) | 0x80);
        return new Ext4Identity(hash[..16], hash[16..]);
    }
}

/// <summary>Builds the superblock.</summary>
internal static class Ext4Superblock
{
    /// <summary>Its bytes.</summary>
    public static byte[] Build(Ext4Geometry geometry, long freeBlocks, long freeInodes, Ext4Identity identity, ReadOnlySpan<byte> journalInode)
    {
        var block = new byte[Ext4Format.SuperblockBytes];
        foreach (var (place, value) in new (int, uint)[]
        {
            (0x00, (uint)(geometry.InodesPerGroup * geometry.Groups)),
            (0x04, (uint)geometry.TotalBlocks),
            (0x0C, (uint)freeBlocks),
            (0x10, (uint)freeInodes),
            (0x18, 2), // s_log_block_size: 1024 << 2
            (0x1C, 2), // s_log_cluster_size
            (0x20, Ext4Format.BlocksPerGroup),
            (0x24, Ext4Format.BlocksPerGroup),
            (0x28, (uint)geometry.InodesPerGroup),
            (0x4C, 1), // s_rev_level: with inode size and features
            (0x54, Ext4Format.FirstInode),
            (0x5C, Ext4Format.Compatible),
            (0x60, Ext4Format.Incompatible),
            (0x64, Ext4Format.ReadOnlyCompatible),
            (0xE0, Ext4Format.JournalInode),
            (0x100, 0xC), // s_default_mount_opts: user_xattr, acl
            (0x160, 1), // s_flags: hashes of directories take characters as signed
        })
        {
            BinaryPrimitives.WriteUInt32LittleEndian(block.AsSpan(place), value);
        }

        foreach (var (place, value) in new (int, ushort)[]
        {
            (0x36, 0xFFFF), // s_max_mnt_count: no check because of a count
            (0x38, 0xEF53),
            (0x3A, 1), // s_state: clean
            (0x3C, 1), // s_errors: go on
            (0x58, Ext4Format.InodeBytes),
            (0x15C, Ext4Format.ExtraInodeBytes),
            (0x15E, Ext4Format.ExtraInodeBytes),
        })
        {
            BinaryPrimitives.WriteUInt16LittleEndian(block.AsSpan(place), value);
        }

        identity.Uuid.CopyTo(block, 0x68);
        identity.HashSeed.CopyTo(block, 0xEC);
        block[0xFC] = 1; // s_def_hash_version: half MD4
        block[0xFD] = 1; // s_jnl_backup_type: the copy of the journal's inode that follows
        block[0x174] = 4; // s_log_groups_per_flex
        journalInode.Slice(0x28, Ext4Format.InlineDataBytes).CopyTo(block.AsSpan(0x10C));
        journalInode.Slice(0x6C, 4).CopyTo(block.AsSpan(0x10C + 60));
        journalInode.Slice(0x04, 4).CopyTo(block.AsSpan(0x10C + 64));
        return block;
    }
}
