using System.Buffers.Binary;
using Microsoft.Win32.SafeHandles;
using Volant.Contracts.Api;

namespace Volant.Daemon.Hypervisors;

/// <summary>Looks at the first bytes of boot media, because a hypervisor given the wrong file hangs without a word.</summary>
/// <remarks>
/// bzImage: Linux, Documentation/arch/x86/boot.rst. PVH: Xen, docs/misc/pvh.pandoc and elfnote.h (<c>XEN_ELFNOTE_PHYS32_ENTRY</c>).
/// Initramfs: Linux, Documentation/driver-api/early-userspace/buffer-format.rst and lib/decompress.c.
/// </remarks>
internal static class BootFiles
{
    private const int SetupHeaderEnd = 0x206;
    private const int ElfHeader = 64;
    private const int MaxProgramHeaders = 128;
    private const int MaxNoteBytes = 64 * 1024;
    private const uint NoteSegment = 4;
    private const uint Phys32Entry = 18;

    /// <summary>Makes sure that a file is a kernel that QEMU and Cloud Hypervisor start directly.</summary>
    /// <exception cref="VolantException"><c>artifact_not_found</c>, or <c>invalid_media</c> naming the file.</exception>
    public static void CheckKernel(string path)
    {
        using var file = Open(path, "kernel");
        var head = Read(file, 0, SetupHeaderEnd);
        var isKernel = head[0] == 0x7f
            ? HasPvhEntry(file, head)
            : head.Length == SetupHeaderEnd && head.AsSpan(0x202).StartsWith("HdrS"u8) && head[0x1fe] == 0x55 && head[0x1ff] == 0xaa;
        if (!isKernel)
        {
            throw new VolantException(
                ErrorCodes.InvalidMedia,
                $"The kernel '{path}' is neither a bzImage nor an ELF image with a PVH entry note (CONFIG_PVH=y); use one of these.");
        }
    }

    /// <summary>Makes sure that a file starts like an initramfs: cpio, plain or compressed with gzip, zstd, xz or lz4.</summary>
    /// <exception cref="VolantException"><c>artifact_not_found</c>, or <c>invalid_media</c> naming the file.</exception>
    public static void CheckInitramfs(string path)
    {
        using var file = Open(path, "initramfs");
        var head = Read(file, 0, 6);
        if (!(Is("070701"u8) || Is("070702"u8) || Is([0x1f, 0x8b]) || Is([0x28, 0xb5, 0x2f, 0xfd]) ||
            Is([0xfd, 0x37, 0x7a, 0x58, 0x5a, 0x00]) || Is([0x02, 0x21, 0x4c, 0x18])))
        {
            throw new VolantException(
                ErrorCodes.InvalidMedia,
                $"The initramfs '{path}' is not a cpio archive (newc), plain or compressed with gzip, zstd, xz or lz4 (legacy frames: 'lz4 -l').");
        }

        bool Is(ReadOnlySpan<byte> magic) => head.AsSpan().StartsWith(magic);
    }

    private static bool HasPvhEntry(SafeFileHandle file, byte[] head)
    {
        // Class 32 or 64 bit, little endian; machine i386 or x86-64.
        if (head.Length < ElfHeader || !head.AsSpan(1).StartsWith("ELF"u8) || head[4] is not (1 or 2) || head[5] != 1 ||
            U16(head, 18) is not (3 or 62))
        {
            return false;
        }

        var wide = head[4] == 2;
        var table = wide ? U64(head, 32) : U32(head, 28);
        var size = U16(head, wide ? 54 : 42);
        var count = Math.Min(U16(head, wide ? 56 : 44), (ushort)MaxProgramHeaders);
        if (size < (wide ? 56 : 32))
        {
            return false;
        }

        for (var i = 0UL; i < count; i++)
        {
            var entry = Read(file, table + (i * size), size);
            if (entry.Length == size && U32(entry, 0) == NoteSegment)
            {
                var offset = wide ? U64(entry, 8) : U32(entry, 4);
                var length = wide ? U64(entry, 32) : U32(entry, 16);
                if (HoldsPvhNote(Read(file, offset, (int)Math.Min(length, MaxNoteBytes))))
                {
                    return true;
                }
            }
        }

        return false;
    }

    /// <summary>Notes are <c>namesz descsz type name desc</c>, name and descriptor padded to four bytes.</summary>
    private static bool HoldsPvhNote(ReadOnlySpan<byte> notes)
    {
        while (notes.Length >= 12)
        {
            var name = BinaryPrimitives.ReadUInt32LittleEndian(notes);
            var descriptor = BinaryPrimitives.ReadUInt32LittleEndian(notes[4..]);
            var type = BinaryPrimitives.ReadUInt32LittleEndian(notes[8..]);
            if (type == Phys32Entry && notes[12..].StartsWith("Xen\0"u8))
            {
                return true;
            }

            var next = 12 + Padded(name) + Padded(descriptor);
            if (next > (ulong)notes.Length)
            {
                return false;
            }

            notes = notes[(int)next..];
        }

        return false;
    }

    private static ulong Padded(uint length) => ((ulong)length + 3) & ~3UL;

    private static SafeFileHandle Open(string path, string what)
    {
        try
        {
            // Asked before opening: opening a named pipe would block, and its length is 0.
            if (new FileInfo(path).Length == 0)
            {
                throw new VolantException(ErrorCodes.InvalidMedia, $"The {what} '{path}' is empty or not a regular file.");
            }

            return File.OpenHandle(path, FileMode.Open, FileAccess.Read, FileShare.ReadWrite | FileShare.Delete);
        }
        catch (Exception e) when (e is FileNotFoundException or DirectoryNotFoundException)
        {
            throw new VolantException(ErrorCodes.ArtifactNotFound, $"The {what} '{path}' does not exist.", e);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new VolantException(ErrorCodes.InvalidMedia, $"The {what} '{path}' cannot be read: {e.Message}", e);
        }
    }

    private static byte[] Read(SafeFileHandle file, ulong offset, int length)
    {
        if (offset > long.MaxValue - (ulong)length)
        {
            return [];
        }

        var buffer = new byte[length];
        var total = 0;
        while (total < length)
        {
            var count = RandomAccess.Read(file, buffer.AsSpan(total), (long)offset + total);
            if (count == 0)
            {
                break;
            }

            total += count;
        }

        return total == length ? buffer : buffer[..total];
    }

    private static ushort U16(byte[] bytes, int offset) => BinaryPrimitives.ReadUInt16LittleEndian(bytes.AsSpan(offset));

    private static uint U32(byte[] bytes, int offset) => BinaryPrimitives.ReadUInt32LittleEndian(bytes.AsSpan(offset));

    private static ulong U64(byte[] bytes, int offset) => BinaryPrimitives.ReadUInt64LittleEndian(bytes.AsSpan(offset));
}
