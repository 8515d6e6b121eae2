namespace Volant.Fledge.Configuration;

/// <summary>A checked <c>fledge.toml</c> of strategy <c>initramfs</c>.</summary>
/// <param name="Directory">Absolute directory that relative host paths start from.</param>
/// <param name="Init">What becomes PID 1.</param>
/// <param name="Agent">Where the agent comes from; null unless <see cref="Init"/> is <see cref="InitMode.Agent"/>.</param>
/// <param name="Busybox">Where busybox comes from; null for none.</param>
/// <param name="Mappings">Files and directories to pack, in the order of the file.</param>
internal sealed record BuildConfig(
    string Directory,
    InitChoice Init,
    ProgramSource? Agent,
    ProgramSource? Busybox,
    IReadOnlyList<Mapping> Mappings);

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
