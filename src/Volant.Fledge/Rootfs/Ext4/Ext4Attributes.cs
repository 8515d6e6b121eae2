using System.Buffers.Binary;
using System.Text;

namespace Volant.Fledge.Rootfs.Ext4;

/// <summary>Extended attributes: in the inode where they fit, else in a block of their own.</summary>
internal static class Ext4Attributes
{
    private const int EntryBytes = 16;
    private const int BlockHeaderBytes = 32;

    private static readonly (string Prefix, byte Index)[] Prefixes = [("user.", 1), ("trusted.", 4), ("security.", 6)];

    /// <summary>Whether the format has a place for an attribute of this name.</summary>
    public static bool IsKnown(string name) => Prefixes.Any(prefix => name.StartsWith(prefix.Prefix, StringComparison.Ordinal) && name.Length > prefix.Prefix.Length && name.Length - prefix.Prefix.Length <= byte.MaxValue);

    /// <summary>Writes the attributes into the rest of an inode; false when they do not fit.</summary>
    /// <param name="attributes">By full name.</param>
    /// <param name="space">What is behind the inode's own fields.</param>
    public static bool TryPutInline(IReadOnlyCollection<KeyValuePair<string, byte[]>> attributes, Span<byte> space)
    {
        const int MagicBytes = 4;
        if (MagicBytes + Needed(attributes) > space.Length)
        {
            return false;
        }

        BinaryPrimitives.WriteUInt32LittleEndian(space, Ext4Format.AttributeMagic);
        Put(attributes, space[MagicBytes..], space[MagicBytes..]);
        return true;
    }

    /// <summary>The block of the attributes.</summary>
    /// <exception cref="FledgeException">They do not fit into one.</exception>
    public static byte[] BuildBlock(IReadOnlyCollection<KeyValuePair<string, byte[]>> attributes, string file)
    {
        var block = new byte[Ext4Format.BlockBytes];
        if (BlockHeaderBytes + Needed(attributes) > block.Length)
        {
            throw new FledgeException($"The extended attributes of '{Tar.ByteText.Show(file)}' do not fit into {block.Length} bytes, which is all that ext4 has for them.");
        }

        BinaryPrimitives.WriteUInt32LittleEndian(block, Ext4Format.AttributeMagic);
        BinaryPrimitives.WriteUInt32LittleEndian(block.AsSpan(4), 1); // h_refcount
        BinaryPrimitives.WriteUInt32LittleEndian(block.AsSpan(8), 1); // h_blocks
        BinaryPrimitives.WriteUInt32LittleEndian(block.AsSpan(12), Put(attributes, block.AsSpan(BlockHeaderBytes), block));
        return block;
    }

    /// <summary>Bytes of entries, the zeros that end them, and values.</summary>
    private static int Needed(IEnumerable<KeyValuePair<string, byte[]>> attributes) =>
        attributes.Sum(attribute => Align(EntryBytes + Split(attribute.Key).Name.Length) + Align(attribute.Value.Length)) + 4;

    /// <summary>Writes entries from the start and values from the end, and returns the hash of all.</summary>
    /// <param name="attributes">By full name.</param>
    /// <param name="entries">Where the entries go.</param>
    /// <param name="values">What the offsets of values count in.</param>
    private static uint Put(IEnumerable<KeyValuePair<string, byte[]>> attributes, Span<byte> entries, Span<byte> values)
    {
        var sorted = attributes.Select(attribute => (Split(attribute.Key).Index, Split(attribute.Key).Name, attribute.Value))
            .OrderBy(attribute => attribute.Index).ThenBy(attribute => attribute.Name.Length).ThenBy(attribute => attribute.Name, StringComparer.Ordinal);
        var (at, end, hash) = (0, values.Length, 0u);
        foreach (var (index, name, value) in sorted)
        {
            var bytes = Encoding.Latin1.GetBytes(name);
            end -= Align(value.Length);
            value.CopyTo(values[end..]);
            var entry = entries[at..];
            entry[0] = (byte)bytes.Length;
            entry[1] = index;
            BinaryPrimitives.WriteUInt16LittleEndian(entry[2..], (ushort)(value.Length == 0 ? 0 : end));
            BinaryPrimitives.WriteUInt32LittleEndian(entry[8..], (uint)value.Length);
            var own = Hash(bytes, values[end..(end + Align(value.Length))]);
            BinaryPrimitives.WriteUInt32LittleEndian(entry[12..], own);
            bytes.CopyTo(entry[EntryBytes..]);
            at += Align(EntryBytes + bytes.Length);
            hash = (hash << 16) ^ (hash >> 16) ^ own;
        }

        return hash;
    }

    /// <summary>The format's hash of one attribute (<c>ext4_xattr_hash_entry</c>): over the name, and the padded value as words.</summary>
    private static uint Hash(ReadOnlySpan<byte> name, ReadOnlySpan<byte> value)
    {
        var hash = 0u;
        foreach (var b in name)
        {
            hash = (hash << 5) ^ (hash >> 27) ^ b;
        }

        for (; !value.IsEmpty; value = value[4..])
        {
            hash = (hash << 16) ^ (hash >> 16) ^ BinaryPrimitives.ReadUInt32LittleEndian(value);
        }

        return hash;
    }

    private static (byte Index, string Name) Split(string name)
    {
        var (prefix, index) = Prefixes.First(known => name.StartsWith(known.Prefix, StringComparison.Ordinal));
        return (index, name[prefix.Length..]);
    }

    private static int Align(int length) => (length + 3) & ~3;
}
