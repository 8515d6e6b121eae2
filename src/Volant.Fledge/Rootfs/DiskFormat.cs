using Volant.Fledge.Configuration;
using Volant.Fledge.Output;
using Volant.Fledge.Rootfs.Ext4;

namespace Volant.Fledge.Rootfs;

/// <summary>Makes a root disk of one kind: takes contents first, then the tree that names them.</summary>
internal abstract class DiskFormat : IDisposable
{
    /// <summary>Where contents go.</summary>
    public abstract ContentStore Contents { get; }

    /// <summary>The format that the build wants.</summary>
    /// <param name="choice">What it wants.</param>
    /// <param name="artifact">The file that becomes the disk.</param>
    /// <param name="path">Final path of the artifact; scratch files lie beside it.</param>
    /// <exception cref="FledgeException">The program for it is missing.</exception>
    public static DiskFormat Of(FilesystemChoice choice, PendingFile artifact, string path) => choice.Type switch
    {
        FilesystemType.Ext4 => new Ext4Disk(artifact, choice),
        FilesystemType.Squashfs => new SquashfsDisk(artifact, choice, path),
        _ => new MountedDisk(artifact, choice, path),
    };

    /// <summary>Writes the disk.</summary>
    /// <param name="tree">Everything that it holds.</param>
    /// <param name="identity">What the disk's UUID is derived from.</param>
    /// <param name="cancellationToken">Stops it.</param>
    /// <returns>Number of files and directories.</returns>
    public abstract Task<int> WriteAsync(RootTree tree, string identity, CancellationToken cancellationToken);

    /// <inheritdoc/>
    public void Dispose()
    {
        Dispose(disposing: true);
        GC.SuppressFinalize(this);
    }

    /// <summary>Removes scratch files.</summary>
    protected virtual void Dispose(bool disposing)
    {
    }
}

/// <summary>ext4: the artifact takes the contents itself, and no other program is needed.</summary>
internal sealed class Ext4Disk(PendingFile artifact, FilesystemChoice choice) : DiskFormat
{
    private const long Mib = 1024 * 1024;

    public override ContentStore Contents { get; } = new(artifact.Handle, Ext4Format.FirstContentBlock);

    public override Task<int> WriteAsync(RootTree tree, string identity, CancellationToken cancellationToken) =>
        Task.FromResult(Ext4Writer.Write(tree, Contents, choice.BufferMib * Mib, Ext4Identity.Of($"volant ext4 {identity}"), cancellationToken));
}
