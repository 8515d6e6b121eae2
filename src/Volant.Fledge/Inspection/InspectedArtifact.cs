using Volant.Contracts.Manifests;

namespace Volant.Fledge.Inspection;

/// <summary>What <c>fledge inspect</c> found; which of the last members is there depends on the kind.</summary>
internal sealed record InspectedArtifact
{
    /// <summary>Absolute path, or the reference of an image.</summary>
    public required string File { get; init; }

    /// <summary><c>initramfs</c>, <c>ext4</c>, <c>xfs</c>, <c>btrfs</c>, <c>squashfs</c>, <c>image</c> or <c>manifest</c>.</summary>
    public required string Kind { get; init; }

    /// <summary>Checksum of the file, 64 hex digits; absent for a directory and for an image of a registry.</summary>
    public string? Sha256 { get; init; }

    /// <summary>Size of the file; absent like the checksum.</summary>
    public long? SizeBytes { get; init; }

    /// <summary>Of an initramfs: <c>none</c> or <c>gzip</c>.</summary>
    public string? Compression { get; init; }

    /// <summary>Of an initramfs: what it holds, in the order of the archive.</summary>
    public IReadOnlyList<InspectedEntry>? Entries { get; init; }

    /// <summary>Of a root disk: its file system.</summary>
    public InspectedFilesystem? Filesystem { get; init; }

    /// <summary>Of an image: what it is made of and how it is run.</summary>
    public InspectedImage? Image { get; init; }

    /// <summary>Of a manifest: what it says, normalised.</summary>
    public PluginManifest? Manifest { get; init; }
}

/// <summary>One entry.</summary>
/// <param name="Path">Path in the guest.</param>
/// <param name="Mode">As <c>ls -l</c> shows it.</param>
/// <param name="Uid">Owner.</param>
/// <param name="Gid">Group.</param>
/// <param name="SizeBytes">Length of the content.</param>
/// <param name="Target">Target of a symbolic link.</param>
internal sealed record InspectedEntry(string Path, string Mode, uint Uid, uint Gid, long SizeBytes, string? Target);

/// <summary>A file system, as its superblock describes it.</summary>
/// <param name="Uuid">Its UUID; null for squashfs, which has none.</param>
/// <param name="Label">Its label; null for none.</param>
/// <param name="SizeBytes">Its size.</param>
/// <param name="FreeBytes">Free space; null where the superblock does not say.</param>
/// <param name="BlockBytes">Size of a block.</param>
/// <param name="Inodes">Number of inodes; null where the superblock does not say.</param>
internal sealed record InspectedFilesystem(string? Uuid, string? Label, long SizeBytes, long? FreeBytes, long BlockBytes, long? Inodes);

/// <summary>An image.</summary>
/// <param name="Digest"><c>sha256:HEX</c> of its manifest.</param>
/// <param name="Architecture">As in Go: <c>amd64</c>.</param>
/// <param name="Entrypoint">The program that always runs, and its first arguments.</param>
/// <param name="Command">What follows it, or stands for it, unless a user says otherwise.</param>
/// <param name="Env">Environment, <c>NAME=VALUE</c>.</param>
/// <param name="Workdir">Working directory.</param>
/// <param name="User">User.</param>
/// <param name="ExposedPorts">Ports that the image says it serves, <c>80/tcp</c>.</param>
/// <param name="Layers">Its layers, the lowest first.</param>
internal sealed record InspectedImage(
    string Digest,
    string? Architecture,
    IReadOnlyList<string> Entrypoint,
    IReadOnlyList<string> Command,
    IReadOnlyList<string> Env,
    string? Workdir,
    string? User,
    IReadOnlyList<string> ExposedPorts,
    IReadOnlyList<InspectedLayer> Layers);

/// <summary>A layer.</summary>
/// <param name="Digest">Of its packed form; of its unpacked form in a docker archive.</param>
/// <param name="SizeBytes">Size of its packed form.</param>
internal sealed record InspectedLayer(string Digest, long SizeBytes);
