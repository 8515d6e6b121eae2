namespace Volant.Fledge.Tar;

/// <summary>What a member of a tar archive is.</summary>
internal enum TarKind
{
    /// <summary>A regular file.</summary>
    File,

    /// <summary>Another name of a file that came before.</summary>
    HardLink,

    /// <summary>A symbolic link.</summary>
    SymbolicLink,

    /// <summary>A character device.</summary>
    CharacterDevice,

    /// <summary>A block device.</summary>
    BlockDevice,

    /// <summary>A directory.</summary>
    Directory,

    /// <summary>A named pipe.</summary>
    Pipe,
}

/// <summary>The header of one member, extensions applied. Names are <see cref="ByteText"/>.</summary>
internal sealed record TarEntry
{
    /// <summary>What it is.</summary>
    public required TarKind Kind { get; init; }

    /// <summary>Path as written: relative or absolute, with or without a trailing slash.</summary>
    public required string Name { get; init; }

    /// <summary>Target of a link, as written.</summary>
    public string LinkName { get; init; } = string.Empty;

    /// <summary>Permission, set-ID and sticky bits, at most 07777.</summary>
    public int Permissions { get; init; }

    /// <summary>Owner.</summary>
    public uint Uid { get; init; }

    /// <summary>Group.</summary>
    public uint Gid { get; init; }

    /// <summary>Length of the content; 0 for what has none.</summary>
    public long SizeBytes { get; init; }

    /// <summary>Time of the last change in seconds since 1970; a fraction is dropped.</summary>
    public long ModifiedAt { get; init; }

    /// <summary>Major number of a device.</summary>
    public uint Major { get; init; }

    /// <summary>Minor number of a device.</summary>
    public uint Minor { get; init; }

    /// <summary>Extended attributes by name, <c>user.x</c>; null for none.</summary>
    public SortedDictionary<string, byte[]>? Attributes { get; init; }
}
