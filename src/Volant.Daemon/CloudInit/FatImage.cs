using System.Buffers.Binary;
using System.Text;

namespace Volant.Daemon.CloudInit;

/// <summary>Writes a small FAT16 volume with files in its root directory.</summary>
/// <remarks>Source: Microsoft, FAT: General Overview of On-Disk Format, version 1.03. Written here so that no tool is needed on the host; the same files give the same bytes.</remarks>
internal static class FatImage
{
    /// <summary>Size of the volume in bytes; most of it is a hole in the file.</summary>
    public const int Bytes = 8 << 20;

    private const int SectorBytes = 512;
    private const int Sectors = Bytes / SectorBytes;
    private const int ReservedSectors = 1;
    private const int RootEntries = 512;
    private const int EntryBytes = 32;
    private const int RootSectors = RootEntries * EntryBytes / SectorBytes;
    private const int FatSectors = ((Sectors * 2) + SectorBytes - 1) / SectorBytes; // one sector each cluster, two bytes for each
    private const int FatAt = ReservedSectors * SectorBytes;
    private const int RootAt = FatAt + (2 * FatSectors * SectorBytes);
    private const int DataAt = RootAt + (RootSectors * SectorBytes);
    private const int FirstCluster = 2;
    private const ushort EndOfChain = 0xffff;
    private const int LabelLength = 11;
    private const byte LabelAttribute = 0x08;
    private const byte ReadOnlyAttribute = 0x01;
    private const byte LongNameAttribute = 0x0f;
    private const int LongNamePart = 13;
    private const ushort Date = 0x21; // 1 January 1980

    /// <summary>The volume up to its last byte that is not zero.</summary>
    /// <param name="label">At most 11 characters, upper case.</param>
    /// <param name="files">Names and contents.</param>
    /// <exception cref="ArgumentException">They do not fit.</exception>
    public static byte[] Build(string label, IReadOnlyList<(string Name, byte[] Content)> files)
    {
        var clusters = files.Sum(file => ClustersOf(file.Content));
        var end = DataAt + (clusters * SectorBytes);
        if (end > Bytes || files.Sum(file => 1 + PartsOf(file.Name)) >= RootEntries)
        {
            throw new ArgumentException($"The files have more than the {Bytes} bytes of the volume.", nameof(files));
        }

        var image = new byte[end];
        WriteBootSector(image, label);
        var cluster = FirstCluster;
        var entry = RootAt;
        WriteLabel(image.AsSpan(entry), label);
        entry += EntryBytes;
        SetFat(image, 0, 0xfff8);
        SetFat(image, 1, EndOfChain);
        for (var i = 0; i < files.Count; i++)
        {
            var (name, content) = files[i];
            entry = WriteEntries(image, entry, i, name, content.Length == 0 ? 0 : cluster, content.Length);
            content.CopyTo(image, DataAt + ((cluster - FirstCluster) * SectorBytes));
            for (var left = ClustersOf(content); left > 0; left--)
            {
                SetFat(image, cluster, left == 1 ? EndOfChain : (ushort)(cluster + 1));
                cluster++;
            }
        }

        return image;
    }

    private static void WriteBootSector(byte[] image, string label)
    {
        new byte[] { 0xeb, 0x3c, 0x90 }.CopyTo(image, 0);
        "MSDOS5.0"u8.CopyTo(image.AsSpan(3));
        W16(image, 11, SectorBytes);
        image[13] = 1; // sectors each cluster
        W16(image, 14, ReservedSectors);
        image[16] = 2; // tables
        W16(image, 17, RootEntries);
        W16(image, 19, Sectors);
        image[21] = 0xf8; // a fixed disk
        W16(image, 22, FatSectors);
        W16(image, 24, 32); // sectors each track
        W16(image, 26, 64); // heads
        image[36] = 0x80;
        image[38] = 0x29; // what follows is there: serial number, label, type
        "VLNT"u8.CopyTo(image.AsSpan(39));
        Padded(label).CopyTo(image, 43);
        "FAT16   "u8.CopyTo(image.AsSpan(54));
        W16(image, 510, 0xaa55);
    }

    private static void WriteLabel(Span<byte> entry, string label)
    {
        Padded(label).CopyTo(entry);
        entry[LabelLength] = LabelAttribute;
        BinaryPrimitives.WriteUInt16LittleEndian(entry[24..], Date);
    }

    /// <summary>The entries of a long name, the last part first, and the short one that they belong to; returns where the next may begin.</summary>
    private static int WriteEntries(byte[] image, int at, int number, string name, int cluster, int length)
    {
        var shortName = Encoding.ASCII.GetBytes($"F{number:D7}   ");
        var checksum = shortName.Aggregate((byte)0, (sum, c) => (byte)(((sum & 1) << 7) + (sum >> 1) + c));
        var parts = PartsOf(name);
        for (var part = parts; part >= 1; part--, at += EntryBytes)
        {
            image[at] = (byte)(part | (part == parts ? 0x40 : 0));
            image[at + 11] = LongNameAttribute;
            image[at + 13] = checksum;
            for (var i = 0; i < LongNamePart; i++)
            {
                var index = ((part - 1) * LongNamePart) + i;
                W16(image, at + (i < 5 ? 1 + (i * 2) : i < 11 ? 14 + ((i - 5) * 2) : 28 + ((i - 11) * 2)), index < name.Length ? name[index] : index == name.Length ? 0 : 0xffff);
            }
        }

        shortName.CopyTo(image, at);
        image[at + 11] = ReadOnlyAttribute;
        W16(image, at + 16, Date);
        W16(image, at + 18, Date);
        W16(image, at + 24, Date);
        W16(image, at + 26, cluster);
        BinaryPrimitives.WriteUInt32LittleEndian(image.AsSpan(at + 28), (uint)length);
        return at + EntryBytes;
    }

    private static void SetFat(byte[] image, int cluster, ushort value)
    {
        W16(image, FatAt + (cluster * 2), value);
        W16(image, FatAt + (FatSectors * SectorBytes) + (cluster * 2), value);
    }

    private static byte[] Padded(string label) => Encoding.ASCII.GetBytes(label.PadRight(LabelLength)[..LabelLength]);

    private static int PartsOf(string name) => (name.Length + LongNamePart - 1) / LongNamePart;

    private static int ClustersOf(byte[] content) => (content.Length + SectorBytes - 1) / SectorBytes;

    private static void W16(byte[] image, int offset, int value) => BinaryPrimitives.WriteUInt16LittleEndian(image.AsSpan(offset), (ushort)value);
}
