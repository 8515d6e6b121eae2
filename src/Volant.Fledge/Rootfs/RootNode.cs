using Volant.Fledge.Tar;

namespace Volant.Fledge.Rootfs;

/// <summary>A file of the root file system: an inode. Several names may lead to one.</summary>
internal sealed class RootNode
{
    /// <summary>What it is; never <see cref="TarKind.HardLink"/>.</summary>
    public required TarKind Kind { get; init; }

    /// <summary>Permission, set-ID and sticky bits, at most 07777.</summary>
    public int Permissions { get; set; }

    /// <summary>Owner.</summary>
    public uint Uid { get; set; }

    /// <summary>Group.</summary>
    public uint Gid { get; set; }

    /// <summary>Time of the last change in seconds since 1970.</summary>
    public long ModifiedAt { get; set; }

    /// <summary>Extended attributes; null for none.</summary>
    public SortedDictionary<string, byte[]>? Attributes { get; set; }

    /// <summary>Target of a symbolic link, <see cref="ByteText"/>.</summary>
    public string? LinkTarget { get; init; }

    /// <summary>Major number of a device.</summary>
    public uint Major { get; init; }

    /// <summary>Minor number of a device.</summary>
    public uint Minor { get; init; }

    /// <summary>Content of a file.</summary>
    public Extent Content { get; init; }

    /// <summary>Number of the last layer that hid what older ones had put into this directory.</summary>
    public int HiddenIn { get; set; }

    /// <summary>Names of a directory, <see cref="ByteText"/>; null for anything else.</summary>
    public Dictionary<string, RootName>? Children { get; init; }

    /// <summary>Whether it is a directory.</summary>
    public bool IsDirectory => Children is not null;

    /// <summary>A directory with nothing in it.</summary>
    public static RootNode NewDirectory(int permissions) =>
        new() { Kind = TarKind.Directory, Permissions = permissions, Children = new(StringComparer.Ordinal) };
}

/// <summary>One name in a directory.</summary>
/// <param name="Node">What it leads to.</param>
/// <param name="Layer">Number of the layer that put it there last; a whiteout hides what older ones put.</param>
internal readonly record struct RootName(RootNode Node, int Layer);

/// <summary>Where a content lies in a <see cref="ContentStore"/>.</summary>
/// <param name="FirstBlock">Its first block; 0 for an empty content.</param>
/// <param name="SizeBytes">Its length; the rest of the last block is zero.</param>
internal readonly record struct Extent(long FirstBlock, long SizeBytes)
{
    /// <summary>Number of blocks.</summary>
    public long Blocks => (SizeBytes + ContentStore.BlockBytes - 1) / ContentStore.BlockBytes;
}
