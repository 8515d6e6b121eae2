using System.Globalization;
using System.Text;

namespace Volant.Contracts.Boot;

/// <summary>The member header of a "newc" archive, the format of an initramfs.</summary>
/// <remarks>
/// Source: Linux, Documentation/driver-api/early-userspace/buffer-format.rst. Times are always 0, so that equal input
/// gives equal bytes. Segments may follow each other when each starts on a multiple of <see cref="Alignment"/>.
/// </remarks>
public static class CpioHeader
{
    /// <summary>Magic of the format without checksums.</summary>
    public const string Magic = "070701";

    /// <summary>Name of the last member.</summary>
    public const string Trailer = "TRAILER!!!";

    /// <summary>Headers, names and contents start on multiples of this, in bytes.</summary>
    public const int Alignment = 4;

    /// <summary>Type bits of a directory, as in <c>stat(2)</c>.</summary>
    public const int Directory = 0x4000;

    /// <summary>Type bits of a regular file.</summary>
    public const int File = 0x8000;

    /// <summary>The header with its name, padded to <see cref="Alignment"/>.</summary>
    /// <param name="path">Path without a leading slash.</param>
    /// <param name="inode">Number of the member, unique in the archive; 0 for the trailer.</param>
    /// <param name="mode">File type and permission bits.</param>
    /// <param name="links">Number of links: 2 for a directory, otherwise 1.</param>
    /// <param name="sizeBytes">Length of the content, at most 4 GiB less one byte.</param>
    public static byte[] Encode(string path, uint inode, int mode, int links, long sizeBytes)
    {
        ArgumentNullException.ThrowIfNull(path);
        return Encode(Encoding.UTF8.GetBytes(path), inode, mode, links, sizeBytes, 0, 0, 0, 0);
    }

    /// <summary>The header of a member that has an owner, or is a device.</summary>
    /// <param name="name">Path without a leading slash, as bytes.</param>
    /// <param name="inode">Number of the file; the same for each of its names.</param>
    /// <param name="mode">File type and permission bits.</param>
    /// <param name="links">Number of links: 2 for a directory, otherwise the number of names.</param>
    /// <param name="sizeBytes">Length of the content, at most 4 GiB less one byte.</param>
    /// <param name="uid">Owner.</param>
    /// <param name="gid">Group.</param>
    /// <param name="major">Major number of a device.</param>
    /// <param name="minor">Minor number of a device.</param>
    public static byte[] Encode(ReadOnlySpan<byte> name, uint inode, int mode, int links, long sizeBytes, uint uid, uint gid, uint major, uint minor)
    {
        ArgumentOutOfRangeException.ThrowIfGreaterThan(sizeBytes, uint.MaxValue);

        // Order: ino mode uid gid nlink mtime filesize devmajor devminor rdevmajor rdevminor namesize check.
        var fields = string.Create(
            CultureInfo.InvariantCulture,
            $"{Magic}{inode:x8}{mode:x8}{uid:x8}{gid:x8}{links:x8}{0:x8}{sizeBytes:x8}{0:x8}{0:x8}{major:x8}{minor:x8}{name.Length + 1:x8}{0:x8}");
        var header = new byte[Padded(fields.Length + name.Length + 1)];
        Encoding.ASCII.GetBytes(fields, header);
        name.CopyTo(header.AsSpan(fields.Length));
        return header;
    }

    /// <summary>A small archive of directories and files.</summary>
    /// <param name="members">Path without a leading slash, permission bits, and content; a null content makes a directory.</param>
    public static byte[] EncodeArchive(IReadOnlyList<(string Path, int Permissions, byte[]? Content)> members)
    {
        ArgumentNullException.ThrowIfNull(members);
        using var archive = new MemoryStream();
        var inode = 0u;
        foreach (var (path, permissions, content) in members)
        {
            inode++;
            archive.Write(content is null ? Encode(path, inode, Directory | permissions, 2, 0) : Encode(path, inode, File | permissions, 1, content.Length));
            archive.Write(content ?? []);
            archive.SetLength(Padded((int)archive.Length));
            archive.Seek(0, SeekOrigin.End);
        }

        archive.Write(Encode(Trailer, 0, 0, 1, 0));
        return archive.ToArray();
    }

    private static int Padded(int length) => (length + Alignment - 1) / Alignment * Alignment;
}
