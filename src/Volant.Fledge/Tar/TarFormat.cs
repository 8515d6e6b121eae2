namespace Volant.Fledge.Tar;

/// <summary>Places and limits of the tar format.</summary>
/// <remarks>POSIX.1-2017, <c>pax</c>, "ustar Interchange Format" and "pax Interchange Format"; GNU tar manual, "Basic Tar Format" for <c>L</c>, <c>K</c> and base-256 numbers.</remarks>
internal static class TarFormat
{
    /// <summary>Everything is a multiple of this.</summary>
    public const int BlockBytes = 512;

    /// <summary>Largest extension header: long names, extended attributes.</summary>
    public const int MaxExtensionBytes = 1024 * 1024;

    /// <summary>Largest content of a member: what a file of ext4 with blocks of 4 KiB can hold.</summary>
    public const long MaxContentBytes = 16L * 1024 * 1024 * 1024 * 1024;

    /// <summary>Key prefix of extended attributes in pax headers.</summary>
    public const string AttributePrefix = "SCHILY.xattr.";

    /// <summary>The padding after a content.</summary>
    public static int Padding(long size) => (int)((BlockBytes - (size % BlockBytes)) % BlockBytes);

    /// <summary>Fields of a header.</summary>
    internal static class Field
    {
        public static readonly Range Name = 0..100;
        public static readonly Range Mode = 100..108;
        public static readonly Range Uid = 108..116;
        public static readonly Range Gid = 116..124;
        public static readonly Range Size = 124..136;
        public static readonly Range ModifiedAt = 136..148;
        public static readonly Range Checksum = 148..156;
        public static readonly Range LinkName = 157..257;
        public static readonly Range Magic = 257..265;
        public static readonly Range Major = 329..337;
        public static readonly Range Minor = 337..345;
        public static readonly Range Prefix = 345..500;
        public const int Kind = 156;
    }
}
