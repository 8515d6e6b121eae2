using System.Text;

namespace Volant.Fledge.Cpio;

/// <summary>Limits and details of the "newc" format, the only one that the Linux kernel unpacks; see <see cref="Volant.Contracts.Boot.CpioHeader"/>.</summary>
/// <remarks>Linux, <c>Documentation/driver-api/early-userspace/buffer-format.rst</c>; mode bits: <c>inode(7)</c>.</remarks>
internal static class CpioFormat
{
    /// <summary>Magic of an archive with checksums: read, never written.</summary>
    public const string MagicWithChecksum = "070702";

    /// <summary>Magic and thirteen fields of eight hex digits.</summary>
    public const int HeaderBytes = 110;

    /// <summary>Longest path and longest link target in bytes; the kernel skips longer ones without a word (PATH_MAX less the NUL).</summary>
    public const int MaxPathBytes = 4095;

    /// <summary>Largest content of one member: its length has eight hex digits.</summary>
    public const long MaxFileBytes = uint.MaxValue;

    /// <summary>Most members of an archive.</summary>
    public const int MaxEntries = 262_144;

    /// <summary>Largest archive, uncompressed. It is unpacked into the guest's memory.</summary>
    public const long MaxArchiveBytes = 8L * 1024 * 1024 * 1024;

    /// <summary>S_IFMT.</summary>
    public const int TypeMask = 0xF000;

    /// <summary>S_IFDIR.</summary>
    public const int TypeDirectory = 0x4000;

    /// <summary>S_IFREG.</summary>
    public const int TypeFile = 0x8000;

    /// <summary>S_IFLNK.</summary>
    public const int TypeSymlink = 0xA000;

    /// <summary>UTF-8 that refuses to write or read what is not text, so that no name is ever changed silently.</summary>
    public static Encoding Text { get; } = new UTF8Encoding(encoderShouldEmitUTF8Identifier: false, throwOnInvalidBytes: true);
}
