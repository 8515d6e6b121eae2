using System.Numerics;
using System.Runtime.InteropServices;

namespace Volant.Fledge.Rootfs.Ext4;

/// <summary>Which blocks are in use. What lies behind the end of the file system counts as used.</summary>
internal sealed class Ext4Bitmap
{
    private readonly byte[] _bits;

    /// <summary>A bitmap with nothing in use.</summary>
    public Ext4Bitmap(long blocks)
    {
        var groups = (blocks + Ext4Format.BlocksPerGroup - 1) / Ext4Format.BlocksPerGroup;
        _bits = new byte[groups * Ext4Format.BlockBytes];
        Set(blocks, (groups * Ext4Format.BlocksPerGroup) - blocks);
    }

    /// <summary>Marks a run as used.</summary>
    public void Set(long first, long count) => Set(_bits, first, count);

    /// <summary>The bitmap of one group.</summary>
    public ReadOnlySpan<byte> Group(int group) => _bits.AsSpan(group * Ext4Format.BlockBytes, Ext4Format.BlockBytes);

    /// <summary>Number of bits that are set.</summary>
    public static int Count(ReadOnlySpan<byte> bits)
    {
        var count = 0;
        foreach (var word in MemoryMarshal.Cast<byte, ulong>(bits))
        {
            count += BitOperations.PopCount(word);
        }

        return count;
    }

    /// <summary>A group's bitmap of inodes of which the first are in use.</summary>
    public static byte[] Inodes(int used, int all)
    {
        var bits = new byte[Ext4Format.BlockBytes];
        Set(bits, 0, used);
        Set(bits, all, Ext4Format.MaxInodesPerGroup - all);
        return bits;
    }

    /// <summary>Runs of free blocks in a range.</summary>
    public IEnumerable<(long First, long Count)> FreeRuns(long from, long to)
    {
        for (var first = from; first < to;)
        {
            var end = first;
            while (end < to && !IsSet(end))
            {
                end++;
            }

            if (end > first)
            {
                yield return (first, end - first);
            }

            first = end + 1;
        }
    }

    private bool IsSet(long block) => (_bits[block >> 3] & (1 << (int)(block & 7))) != 0;

    private static void Set(byte[] bits, long first, long count)
    {
        for (var (block, end) = (first, first + count); block < end;)
        {
            if ((block & 7) == 0 && end - block >= 8)
            {
                var whole = (end - block) / 8;
                bits.AsSpan((int)(block >> 3), (int)whole).Fill(0xFF);
                block += whole * 8;
            }
            else
            {
                bits[block >> 3] |= (byte)(1 << (int)(block & 7));
                block++;
            }
        }
    }
}
