using System.Buffers.Binary;
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
        // The archive cannot say anything about the root itself: mksquashfs leaves "./" out.
        var root = tree.Root;
        string[] arguments =
        [
            "-", _artifact.TemporaryPath, "-tar", "-noappend", "-quiet", "-no-progress", "-mkfs-time", "0", "-noI", "-comp", "zstd",
            .. _choice.CompressionLevel is { } level ? new[] { "-Xcompression-level", level.ToString(CultureInfo.InvariantCulture) } : [],
            "-root-mode", Convert.ToString(root.Permissions, 8), "-root-uid", root.Uid.ToString(CultureInfo.InvariantCulture), "-root-gid", root.Gid.ToString(CultureInfo.InvariantCulture),
        ];
        var entries = 0;
        await _mksquashfs.RunWithInputAsync(arguments, input => entries = new RootTarWriter(Contents, input, cancellationToken).Write(tree), "/", cancellationToken);
        SetRootTime((uint)Math.Clamp(root.ModifiedAt, 0, uint.MaxValue));
        return entries;
    }

    /// <summary>Gives the root directory its time. mksquashfs 4.5 has an option for it, but with an archive as input takes the time of day.</summary>
    /// <remarks>Linux, <c>Documentation/filesystems/squashfs.rst</c>. Inodes are not compressed (<c>-noI</c>): blocks of 8 KiB, each behind two bytes.</remarks>
    private void SetRootTime(uint time)
    {
        const int RootInodeField = 32, InodeTableField = 64, TimeField = 8, BlockBytes = 8192, HeaderBytes = 2;
        Span<byte> super = stackalloc byte[96];
        RandomAccess.Read(_artifact.Handle, super, 0);
        var reference = BinaryPrimitives.ReadInt64LittleEndian(super[RootInodeField..]);
        var (block, place) = (BinaryPrimitives.ReadInt64LittleEndian(super[InodeTableField..]) + (reference >> 16), (int)(reference & 0xFFFF) + TimeField);
        for (var i = 0; i < sizeof(uint); i++, place++)
        {
            var at = block + (place / BlockBytes * (HeaderBytes + BlockBytes)) + HeaderBytes + (place % BlockBytes);
            RandomAccess.Write(_artifact.Handle, [(byte)(time >> (8 * i))], at);
        }
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
