using Volant.Fledge.Oci;

namespace Volant.Fledge.Configuration;

/// <summary>A checked <c>fledge.toml</c>.</summary>
/// <param name="Directory">Absolute directory that relative host paths start from.</param>
/// <param name="Init">What becomes PID 1 of an initramfs.</param>
/// <param name="Agent">Where the agent comes from; null for none, which only an initramfs with another PID 1 has.</param>
/// <param name="Busybox">Where busybox comes from; null for none.</param>
/// <param name="Mappings">Files and directories to pack, in the order of the file.</param>
/// <param name="Image">The image: of a root disk the content, of an initramfs what lies below everything else; null for none.</param>
/// <param name="Filesystem">What a root disk is made into; null for an initramfs.</param>
internal sealed record BuildConfig(
    string Directory,
    InitChoice Init,
    ProgramSource? Agent,
    ProgramSource? Busybox,
    IReadOnlyList<Mapping> Mappings,
    ImageInput? Image = null,
    FilesystemChoice? Filesystem = null);

/// <summary>Where an image comes from.</summary>
internal abstract record ImageInput
{
    /// <summary>A finished image.</summary>
    /// <param name="Reference">Where it is.</param>
    internal sealed record Finished(ImageReference Reference) : ImageInput;

    /// <summary>One that is built first.</summary>
    /// <param name="File">Absolute path of the Dockerfile.</param>
    /// <param name="Context">Absolute path of the directory that it copies from.</param>
    /// <param name="Target">Stage to build; null for the last.</param>
    /// <param name="Arguments">Values of its ARGs.</param>
    internal sealed record Dockerfile(string File, string Context, string? Target, IReadOnlyDictionary<string, string> Arguments) : ImageInput;
}

/// <summary>Kinds of root disks.</summary>
internal enum FilesystemType
{
    /// <summary>Written by fledge itself.</summary>
    Ext4,

    /// <summary>Made by mkfs.xfs.</summary>
    Xfs,

    /// <summary>Made by mkfs.btrfs.</summary>
    Btrfs,

    /// <summary>Made by sqfstar; read-only.</summary>
    Squashfs,
}

/// <summary>What a root disk is made into.</summary>
/// <param name="Type">Its file system.</param>
/// <param name="BufferMib">Free space in MiB, at least 0.</param>
/// <param name="Preallocate">Whether the file takes its whole size on the host at once.</param>
/// <param name="CompressionLevel">1 to 22 for squashfs; null for the default.</param>
/// <param name="OverlaySize">Wanted size of the layer above squashfs, <c>512M</c>.</param>
internal sealed record FilesystemChoice(FilesystemType Type, int BufferMib, bool Preallocate, int? CompressionLevel, string? OverlaySize)
{
    /// <summary>Free space of a disk whose build file does not say.</summary>
    public const int DefaultBufferMib = 100;

    /// <summary>Most free space in MiB: 1 TiB.</summary>
    public const int MaxBufferMib = 1024 * 1024;

    /// <summary>The default of direct builds.</summary>
    public static FilesystemChoice Default { get; } = new(FilesystemType.Ext4, DefaultBufferMib, Preallocate: false, null, null);
}

/// <summary>Ways to get PID 1.</summary>
internal enum InitMode
{
    /// <summary>The agent is <c>/init</c>: it mounts, loads modules and starts the workload.</summary>
    Agent,

    /// <summary>A named file becomes <c>/init</c>.</summary>
    Custom,

    /// <summary>A mapping provides <c>/init</c>.</summary>
    None,
}

/// <summary>What becomes PID 1.</summary>
/// <param name="Mode">How.</param>
/// <param name="Path">For <see cref="InitMode.Custom"/>: a mapped guest path, or a host path.</param>
internal sealed record InitChoice(InitMode Mode, string? Path = null);

/// <summary>Where a program comes from.</summary>
internal abstract record ProgramSource
{
    /// <summary>The one that the host or this installation provides.</summary>
    internal sealed record Default : ProgramSource;

    /// <summary>A file on the host.</summary>
    /// <param name="Path">Absolute path.</param>
    internal sealed record Local(string Path) : ProgramSource;

    /// <summary>A download.</summary>
    /// <param name="Url">http or https.</param>
    /// <param name="Sha256">Expected checksum, canonical.</param>
    internal sealed record Download(Uri Url, string Sha256) : ProgramSource;
}

/// <summary>One line of <c>[mappings]</c>.</summary>
/// <param name="HostPath">Absolute path of a file or directory.</param>
/// <param name="GuestPath">Checked absolute guest path; a trailing slash is left for a directory.</param>
/// <param name="Place">Where it is written, <c>fledge.toml:12:1</c>.</param>
internal sealed record Mapping(string HostPath, string GuestPath, string Place);
