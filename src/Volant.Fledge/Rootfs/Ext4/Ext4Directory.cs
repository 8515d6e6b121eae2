using System.Buffers.Binary;
using Volant.Fledge.Tar;

namespace Volant.Fledge.Rootfs.Ext4;

/// <summary>The blocks of a directory: linear entries, none of which crosses a block.</summary>
internal static class Ext4Directory
{
    /// <summary>Lays out a directory.</summary>
    /// <param name="self">Its inode.</param>
    /// <param name="parent">The inode above.</param>
    /// <param name="names">Names in order.</param>
    public static byte[] Build(uint self, uint parent, IEnumerable<(string Name, uint Inode, TarKind Kind)> names)
    {
        using var blocks = new MemoryStream();
        var block = new byte[Ext4Format.BlockBytes];
        var (used, last) = (0, 0);
        Put(".", self, TarKind.Directory);
        Put("..", parent, TarKind.Directory);
        foreach (var (name, inode, kind) in names)
        {
            Put(name, inode, kind);
        }

        Close();
        return blocks.ToArray();

        void Put(string name, uint inode, TarKind kind)
        {
            var length = (8 + name.Length + 3) & ~3;
            if (used + length > block.Length)
            {
                Close();
            }

            var entry = block.AsSpan(used);
            BinaryPrimitives.WriteUInt32LittleEndian(entry, inode);
            BinaryPrimitives.WriteUInt16LittleEndian(entry[4..], (ushort)length);
            entry[6] = (byte)name.Length;
            entry[7] = TypeOf(kind);
            ByteText.Bytes(name).CopyTo(entry[8..]);
            (last, used) = (used, used + length);
        }

        // The last entry takes what is left of its block.
        void Close()
        {
            BinaryPrimitives.WriteUInt16LittleEndian(block.AsSpan(last + 4), (ushort)(block.Length - last));
            blocks.Write(block);
            Array.Clear(block);
            (used, last) = (0, 0);
        }
    }

    private static byte TypeOf(TarKind kind) => kind switch
    {
        TarKind.Directory => 2,
        TarKind.CharacterDevice => 3,
        TarKind.BlockDevice => 4,
        TarKind.Pipe => 5,
        TarKind.SymbolicLink => 7,
        _ => 1,
    };
}
