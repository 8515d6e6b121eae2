using Volant.Fledge.Configuration;
using Volant.Fledge.Output;

namespace Volant.Fledge.Rootfs;

/// <summary>xfs and btrfs: the empty file system is mounted and filled from one archive of the finished tree. Needs root.</summary>
/// <remarks>Their mkfs can copy a directory, but loses hard links or attributes, and cannot give files owners without root.</remarks>
internal sealed class MountedDisk : DiskFormat
{
    private const long Mib = 1024 * 1024;
    private const long EntryBytes = 4096;

    private readonly PendingFile _artifact;
    private readonly FilesystemChoice _choice;
    private readonly PendingFile _scratch;
    private readonly ToolProgram _mkfs;
    private readonly ToolProgram _tar;
    private readonly ToolProgram _mount;
    private readonly ToolProgram _unmount;

    /// <summary>Finds the programs and makes the scratch file.</summary>
    /// <exception cref="FledgeException">A program is missing, or the user is not root.</exception>
    public MountedDisk(PendingFile artifact, FilesystemChoice choice, string path)
    {
        var name = FilesystemTypes.Name(choice.Type);
        var purpose = $"A root disk of type {name}";
        _mkfs = ToolProgram.Require($"mkfs.{name}", choice.Type == FilesystemType.Xfs ? "xfsprogs" : "btrfs-progs", purpose);
        (_tar, _mount, _unmount) = (ToolProgram.Require("tar", "tar", purpose), ToolProgram.Require("mount", "mount", purpose), ToolProgram.Require("umount", "mount", purpose));
        if (!Environment.IsPrivilegedProcess)
        {
            throw new FledgeException($"{purpose} is filled through a mount, which only root may do; run fledge as root, or choose type \"ext4\" or \"squashfs\".");
        }

        _artifact = artifact;
        _choice = choice;
        _scratch = PendingFile.Create(path + ".contents");
        Contents = new ContentStore(_scratch.Handle, 1);
    }

    public override ContentStore Contents { get; }

    public override async Task<int> WriteAsync(RootTree tree, string identity, CancellationToken cancellationToken)
    {
        var isXfs = _choice.Type == FilesystemType.Xfs;
        RandomAccess.SetLength(_artifact.Handle, Size(tree, isXfs ? 300 : 256, isXfs ? 80 : 200));

        // With a UUID of its own, for the kernel mounts no two file systems of one.
        await _mkfs.RunAsync(["-q", _artifact.TemporaryPath], null, null, "/", cancellationToken);
        var point = Directory.CreateTempSubdirectory("fledge-").FullName;
        var entries = 0;
        try
        {
            await _mount.RunAsync(["-t", FilesystemTypes.Name(_choice.Type), "-o", "loop,nodev,nosuid", _artifact.TemporaryPath, point], null, null, "/", cancellationToken);
            try
            {
                await _tar.RunWithInputAsync(
                    ["--extract", "--file=-", $"--directory={point}", "--numeric-owner", "--same-owner", "--same-permissions", "--xattrs", "--xattrs-include=*", "--delay-directory-restore"],
                    input => entries = new RootTarWriter(Contents, input, cancellationToken).Write(tree),
                    "/",
                    cancellationToken);
            }
            finally
            {
                // Whatever happened, nothing may stay mounted.
                await _unmount.RunAsync([point], null, null, "/", CancellationToken.None);
            }
        }
        finally
        {
            Directory.Delete(point);
        }

        return entries;
    }

    protected override void Dispose(bool disposing)
    {
        if (disposing)
        {
            _scratch.Dispose();
        }

        base.Dispose(disposing);
    }

    /// <summary>What the files need, with room for the file system's own, and the buffer.</summary>
    private long Size(RootTree tree, long minMib, long ownMib)
    {
        var contents = Contents.NextBlock * ContentStore.BlockBytes;
        var wanted = contents + (contents / 20) + (tree.Made * EntryBytes) + ((ownMib + _choice.BufferMib) * Mib);
        return Math.Max(minMib * Mib, (wanted + Mib - 1) / Mib * Mib);
    }
}
