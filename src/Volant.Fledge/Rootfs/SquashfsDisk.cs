using System.Globalization;
using Volant.Fledge.Configuration;
using Volant.Fledge.Output;

namespace Volant.Fledge.Rootfs;

/// <summary>squashfs: contents go to a scratch file, and mksquashfs reads one archive of the finished tree. Needs no root.</summary>
internal sealed class SquashfsDisk : DiskFormat
{
    private readonly ToolProgram _mksquashfs = ToolProgram.Require("mksquashfs", "squashfs-tools", "A root disk of type squashfs");
    private readonly PendingFile _artifact;
    private readonly FilesystemChoice _choice;
    private readonly PendingFile _scratch;

    /// <summary>Makes the scratch file.</summary>
    public SquashfsDisk(PendingFile artifact, FilesystemChoice choice, string path)
    {
        _artifact = artifact;
        _choice = choice;
        _scratch = PendingFile.Create(path + ".contents");
        Contents = new ContentStore(_scratch.Handle, 1);
    }

    public override ContentStore Contents { get; }

    public override async Task<int> WriteAsync(RootTree tree, string identity, CancellationToken cancellationToken)
    {
        string[] arguments =
        [
            "-", _artifact.TemporaryPath, "-tar", "-noappend", "-quiet", "-no-progress", "-mkfs-time", "0", "-noI", "-comp", "zstd",
            .. _choice.CompressionLevel is { } level ? new[] { "-Xcompression-level", level.ToString(CultureInfo.InvariantCulture) } : [],
        ];
        var entries = 0;
        await _mksquashfs.RunWithInputAsync(arguments, input => entries = new RootTarWriter(Contents, input, cancellationToken).Write(tree), "/", cancellationToken);
        SquashfsRoot.Describe(_artifact.Handle, tree.Root);
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
}
