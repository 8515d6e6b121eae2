using System.Buffers.Binary;
using System.Globalization;
using System.Text;
using Microsoft.Win32.SafeHandles;
using Volant.Contracts.Api;

namespace Volant.Daemon.Artifacts;

/// <summary>The header of qcow2 images: checked before one is used, written for an overlay.</summary>
/// <remarks>
/// Source: QEMU, docs/interop/qcow2.txt. Written here instead of by <c>qemu-img create</c>: that is a package more on the host and takes
/// 20 to 60 ms, most of it the start of a process; these few clusters take less than one.
/// </remarks>
internal static class Qcow2Image
{
    /// <summary>Largest size in bytes that a guest may see: 64 TiB.</summary>
    public const long MaxBytes = 1L << 46;

    /// <summary>What every qcow2 image starts with.</summary>
    public static ReadOnlySpan<byte> Magic => [0x51, 0x46, 0x49, 0xfb];

    private const int SectorBytes = 512;
    private const int ClusterBits = 16;
    private const int ClusterBytes = 1 << ClusterBits;
    private const int EntryBytes = 8; // of the L1 table, and of a table on the second level
    private const int RefcountOrder = 4; // 16 bits each
    private const int HeaderBytes = 104;
    private const uint BackingFormat = 0xe2792aca;
    private const int MaxBackingName = 1023;

    /// <summary>Dirty (1) and a compression type (8) or larger tables (16) do no harm; corrupt (2), an external data file (4) and what nobody knows do.</summary>
    private const ulong HarmlessFeatures = 1 | 8 | 16;

    /// <summary>Makes sure that an image stands for itself: no backing file, no external data file, not encrypted.</summary>
    /// <returns>Its size in bytes, as a guest sees it.</returns>
    /// <exception cref="VolantException"><c>invalid_media</c>, naming what is wrong.</exception>
    public static long Check(string path, string name)
    {
        var header = new byte[HeaderBytes];
        using var file = File.OpenHandle(path);
        var length = RandomAccess.Read(file, header, 0);
        if (length < HeaderBytes || !header.AsSpan().StartsWith(Magic))
        {
            throw Refuse(name, "is no qcow2 image; correct its format, or the image");
        }

        var version = U32(header, 4);
        var size = U64(header, 24);
        var fault =
            version is not (2 or 3) ? string.Create(CultureInfo.InvariantCulture, $"has qcow2 version {version}, which is not known")
            : U64(header, 8) != 0 ? "has a backing file, which would be read from this host; flatten it with 'qemu-img convert -O qcow2'"
            : U32(header, 32) != 0 ? "is encrypted; decrypt it with 'qemu-img convert'"
            : version == 3 && (U64(header, 72) & ~HarmlessFeatures) is not 0 and var features ? string.Create(CultureInfo.InvariantCulture, $"is damaged, or keeps its data in another file (incompatible features {features:x}); convert it with 'qemu-img convert -O qcow2'")
            : size is 0 or > MaxBytes ? string.Create(CultureInfo.InvariantCulture, $"says that it has {size} bytes; at most {MaxBytes} are possible")
            : null;
        return fault is null ? (long)size : throw Refuse(name, fault);
    }

    /// <summary>Writes an empty image whose content is that of another one until the guest writes to it.</summary>
    /// <param name="path">The file, which must not exist; mode 0600.</param>
    /// <param name="backing">Absolute path of the other image.</param>
    /// <param name="backingFormat">"raw" or "qcow2".</param>
    /// <param name="bytes">Size that the guest sees, 1 to <see cref="MaxBytes"/>; rounded up to sectors.</param>
    public static void CreateOverlay(string path, string backing, string backingFormat, long bytes)
    {
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(bytes);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(bytes, MaxBytes);
        var name = Encoding.UTF8.GetBytes(backing);
        if (name.Length > MaxBackingName)
        {
            throw new ArgumentOutOfRangeException(nameof(backing), backing, "The path of an image is longer than qcow2 allows.");
        }

        var size = (bytes + SectorBytes - 1) / SectorBytes * SectorBytes;
        var l1Entries = Divide(size, (long)ClusterBytes / EntryBytes * ClusterBytes);

        // Cluster 0 is the header, 1 the table of reference counts, 2 the only block of these; the L1 table follows.
        var clusters = 3 + Divide(l1Entries * EntryBytes, ClusterBytes);
        var header = new byte[ClusterBytes];
        var backingAt = WriteBackingFormat(header, backingFormat);
        Magic.CopyTo(header);
        W32(header, 4, 3);
        W64(header, 8, (ulong)backingAt);
        W32(header, 16, (uint)name.Length);
        W32(header, 20, ClusterBits);
        W64(header, 24, (ulong)size);
        W32(header, 36, (uint)l1Entries);
        W64(header, 40, 3 * ClusterBytes);
        W64(header, 48, ClusterBytes);
        W32(header, 56, 1);
        W32(header, 96, RefcountOrder);
        W32(header, 100, HeaderBytes);
        name.CopyTo(header, backingAt);
        var table = new byte[EntryBytes];
        W64(table, 0, 2 * ClusterBytes);
        var counts = new byte[clusters * 2];
        for (var i = 0; i < clusters; i++)
        {
            BinaryPrimitives.WriteUInt16BigEndian(counts.AsSpan(i * 2), 1);
        }

        using var file = Create(path);
        RandomAccess.SetLength(file, clusters * ClusterBytes);
        RandomAccess.Write(file, header, 0);
        RandomAccess.Write(file, table, ClusterBytes);
        RandomAccess.Write(file, counts, 2 * ClusterBytes);
        RandomAccess.FlushToDisk(file);
    }

    /// <summary>Writes the header's one extension; returns where the name of the backing file may stand.</summary>
    private static int WriteBackingFormat(byte[] header, string format)
    {
        W32(header, HeaderBytes, BackingFormat);
        W32(header, HeaderBytes + 4, (uint)format.Length);
        Encoding.ASCII.GetBytes(format, header.AsSpan(HeaderBytes + 8));

        // Padded to eight bytes; another eight, which are zero, end the extensions.
        return HeaderBytes + 8 + ((format.Length + 7) / 8 * 8) + 8;
    }

    private static SafeFileHandle Create(string path)
    {
        var file = File.OpenHandle(path, FileMode.CreateNew, FileAccess.Write);
        File.SetUnixFileMode(file, UnixFileMode.UserRead | UnixFileMode.UserWrite);
        return file;
    }

    private static VolantException Refuse(string name, string fault) => new(ErrorCodes.InvalidMedia, $"The image '{name}' {fault}.");

    private static long Divide(long dividend, long divisor) => (dividend + divisor - 1) / divisor;

    private static uint U32(byte[] bytes, int offset) => BinaryPrimitives.ReadUInt32BigEndian(bytes.AsSpan(offset));

    private static ulong U64(byte[] bytes, int offset) => BinaryPrimitives.ReadUInt64BigEndian(bytes.AsSpan(offset));

    private static void W32(byte[] bytes, int offset, uint value) => BinaryPrimitives.WriteUInt32BigEndian(bytes.AsSpan(offset), value);

    private static void W64(byte[] bytes, int offset, ulong value) => BinaryPrimitives.WriteUInt64BigEndian(bytes.AsSpan(offset), value);
}
