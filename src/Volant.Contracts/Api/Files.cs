namespace Volant.Contracts.Api;

/// <summary>A file of a guest: answer of <c>GET /api/v1/vms/{name}/files/stat?path=</c> (contract §2).</summary>
/// <remarks>
/// <para>All routes of <c>/api/v1/vms/{name}/files</c> take an absolute <c>path</c> of the guest and follow symbolic links in it, GET and PUT
/// the last one too; DELETE removes the link itself. They answer <c>file_not_found</c> (404), <c>file_conflict</c> (409: it is something
/// else than the request needs, or not empty, or the file system is read-only), <c>disk_full</c> (507) and <c>guest_error</c> (502: the guest's kernel failed).</para>
/// <para>GET: a regular file as <c>application/octet-stream</c>, a directory as <see cref="FileTypes.Tar"/>, names relative to the directory,
/// which comes first as <c>./</c>; sockets, pipes and devices are left out. An answer that ends early broke off: the connection is reset, not closed.</para>
/// <para>PUT: the body becomes the file, 201 when it is new and 204 when it replaced one, whole or not at all. <c>mode</c> (octal), <c>uid</c> and
/// <c>gid</c> are set when given; else a file keeps its own, and a new one has 0644, 0 and 0. With <c>Content-Type: application/x-tar</c> the body is unpacked into the
/// directory <c>path</c>, which is made when it is missing: files are replaced, directories merged (those that are there keep their attributes), nothing
/// outside of it is touched whatever the archive says; <c>mode</c> is that of the directory, <c>uid</c> and <c>gid</c> replace those of every entry. An archive that breaks off leaves what was unpacked so far.
/// <c>parents=1</c> makes missing directories above (0755, root).</para>
/// <para>DELETE: a directory that is not empty needs <c>recursive=1</c>. Mount points inside are not entered.</para>
/// </remarks>
public sealed record FileStat
{
    /// <summary>Last part of its path; <c>/</c> for the root.</summary>
    public required string Name { get; init; }

    /// <summary>One of <see cref="FileTypes"/>.</summary>
    public required string Type { get; init; }

    /// <summary>Size in bytes.</summary>
    public required long Size { get; init; }

    /// <summary>Permissions as four octal digits, <c>0644</c>.</summary>
    public required string Mode { get; init; }

    /// <summary>Owner.</summary>
    public required long Uid { get; init; }

    /// <summary>Group.</summary>
    public required long Gid { get; init; }

    /// <summary>When its content last changed.</summary>
    public required DateTimeOffset ModifiedAt { get; init; }

    /// <summary>Where a symbolic link points. Only entries are links: a path is followed.</summary>
    public string? Target { get; init; }

    /// <summary>What a directory holds, by name, links not followed; at most <see cref="FileTypes.MaxEntries"/>. Entries have no entries.</summary>
    public IReadOnlyList<FileStat>? Entries { get; init; }

    /// <summary>True when the directory holds more than <see cref="Entries"/>.</summary>
    public bool? Truncated { get; init; }
}

/// <summary>Values of <see cref="FileStat.Type"/>, and limits.</summary>
public static class FileTypes
{
    /// <summary>Regular file.</summary>
    public const string File = "file";

    /// <summary>Directory.</summary>
    public const string Directory = "directory";

    /// <summary>Symbolic link.</summary>
    public const string Symlink = "symlink";

    /// <summary>Character device.</summary>
    public const string CharacterDevice = "char_device";

    /// <summary>Block device.</summary>
    public const string BlockDevice = "block_device";

    /// <summary>Named pipe.</summary>
    public const string Pipe = "fifo";

    /// <summary>Socket.</summary>
    public const string Socket = "socket";

    /// <summary>Content type of a directory, both ways.</summary>
    public const string Tar = "application/x-tar";

    /// <summary>Most entries that <see cref="FileStat.Entries"/> lists.</summary>
    public const int MaxEntries = 10_000;
}

/// <summary>Rules of <c>GET /ws/v1/vms/{name}/tunnel?port=</c>: a TCP connection to 127.0.0.1:port in the guest (contract §2).</summary>
/// <remarks>
/// Bytes travel in binary frames of at most <see cref="MaxFrameBytes"/> bytes, both ways. A binary frame without bytes is the end of that direction (TCP FIN);
/// the other one goes on. When both have ended, or the connection broke, the WebSocket is closed. Text frames are an error. A port that nothing listens on is refused
/// with 502 (<c>connection_refused</c>) before the WebSocket begins.
/// </remarks>
public static class TunnelRules
{
    /// <summary>Most bytes of a frame (64 KiB).</summary>
    public const int MaxFrameBytes = 64 * 1024;
}
