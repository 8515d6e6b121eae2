using System.Buffers.Binary;
using Volant.Fledge.Cpio;
using Volant.Fledge.Tar;
using Volant.Linux.Files;

namespace Volant.Fledge.Rootfs.Ext4;

/// <summary>Turns a file that holds nothing but contents into an ext4 file system: needs neither root, nor a mount, nor another program.</summary>
/// <remarks>
/// The same tree and identity give the same bytes. Contents stay where the store put them, from <see cref="Ext4Format.FirstContentBlock"/> on; directories,
/// journal, bitmaps and inode tables follow. What no name leads to any more becomes free space, which counts towards the buffer.
/// </remarks>
internal sealed class Ext4Writer
{
    private const string LostAndFound = "lost+found";

    private readonly ContentStore _store;
    private readonly Ext4Identity _identity;
    private readonly List<Numbered> _nodes = [];
    private readonly Dictionary<RootNode, uint> _numbers = new(ReferenceEqualityComparer.Instance);
    private readonly Dictionary<RootNode, int> _links = new(ReferenceEqualityComparer.Instance);
    private readonly List<Extent> _live = [];
    private uint _lastInode = Ext4Format.FirstInode - 1;

    private Ext4Writer(ContentStore store, Ext4Identity identity)
    {
        _store = store;
        _identity = identity;
    }

    /// <summary>Writes the file system and sets the file's length.</summary>
    /// <param name="tree">What it holds; its contents lie in <paramref name="store"/>.</param>
    /// <param name="store">The image.</param>
    /// <param name="bufferBytes">Free space that it has at least.</param>
    /// <param name="identity">Its UUID.</param>
    /// <param name="cancellationToken">Ends it between two files.</param>
    /// <returns>Number of inodes in use.</returns>
    public static int Write(RootTree tree, ContentStore store, long bufferBytes, Ext4Identity identity, CancellationToken cancellationToken) =>
        new Ext4Writer(store, identity).Write(tree, bufferBytes, cancellationToken);

    private int Write(RootTree tree, long bufferBytes, CancellationToken cancellationToken)
    {
        if (!tree.Root.Children!.ContainsKey(LostAndFound))
        {
            tree.Put(tree.Root, LostAndFound, RootNode.NewDirectory(Permissions.Octal0700), layer: 0);
        }

        // e2fsck expects the directory to have the first inode; an image may have something else of that name.
        _lastInode += tree.Root.Children![LostAndFound].Node.IsDirectory ? 1u : 0;
        Number(tree.Root, "/", Ext4Format.RootInode, Ext4Format.RootInode);
        var last = Math.Max(Ext4Format.FirstInode, _nodes.Max(node => node.Inode));
        var table = new byte[checked((int)Math.Min(int.MaxValue, (long)last * Ext4Format.InodeBytes))];
        foreach (var node in _nodes)
        {
            cancellationToken.ThrowIfCancellationRequested();
            Put(node, table.AsSpan((int)(node.Inode - 1) * Ext4Format.InodeBytes, Ext4Format.InodeBytes));
        }

        var journalInode = table.AsSpan((int)(Ext4Format.JournalInode - 1) * Ext4Format.InodeBytes, Ext4Format.InodeBytes);
        PutJournal(journalInode, bufferBytes);
        _store.Flush();

        var used = _store.NextBlock;
        var dead = used - Ext4Format.FirstContentBlock - _live.Sum(extent => extent.Blocks);
        var bufferBlocks = (bufferBytes + Ext4Format.BlockBytes - 1) / Ext4Format.BlockBytes;
        var geometry = Ext4Geometry.For(used, last, Math.Max(0, bufferBlocks - dead), Math.Max(bufferBytes, dead * Ext4Format.BlockBytes));
        PutTables(geometry, table, last, journalInode);
        return _nodes.Count;
    }

    /// <summary>Gives every inode a number, in the order of names.</summary>
    private void Number(RootNode node, string ownName, uint inode, uint parent)
    {
        var names = node.Children?.OrderBy(name => name.Key, StringComparer.Ordinal).ToArray() ?? [];
        var self = new Numbered(node, ownName, inode, parent, [.. names.Select(name => (name.Key, name.Value.Node))]);
        _numbers[node] = inode;
        _nodes.Add(self);
        foreach (var (name, child) in names)
        {
            if (_numbers.TryGetValue(child.Node, out _))
            {
                _links[child.Node] = _links.GetValueOrDefault(child.Node, 1) + 1;
                continue;
            }

            var number = inode == Ext4Format.RootInode && name == LostAndFound && child.Node.IsDirectory ? Ext4Format.LostAndFoundInode : ++_lastInode;
            Number(child.Node, name, number, inode);
        }
    }

    private void Put(Numbered numbered, Span<byte> inode)
    {
        var node = numbered.Node;
        Ext4Inode.Put(inode, Ext4Inode.TypeBits(node.Kind) | node.Permissions, node.Uid, node.Gid, node.ModifiedAt, Links(numbered));
        var attributeBlocks = PutAttributes(numbered, inode);
        switch (node.Kind)
        {
            case TarKind.Directory:
                var names = numbered.Names.Select(name => (name.Name, _numbers[name.Node], name.Node.Kind));
                PutRun(inode, _store.Append(Ext4Directory.Build(numbered.Inode, numbered.Parent, names)), attributeBlocks);
                break;
            case TarKind.SymbolicLink when node.LinkTarget!.Length < Ext4Format.InlineDataBytes:
                Ext4Inode.PutInline(inode, ByteText.Bytes(node.LinkTarget), node.LinkTarget.Length, attributeBlocks);
                break;
            case TarKind.SymbolicLink:
                PutRun(inode, _store.Append(ByteText.Bytes(node.LinkTarget!)), attributeBlocks);
                break;
            case TarKind.CharacterDevice or TarKind.BlockDevice:
                Ext4Inode.PutInline(inode, [], 0, attributeBlocks);
                Ext4Inode.PutDevice(inode, node.Major, node.Minor);
                break;
            case TarKind.Pipe:
                Ext4Inode.PutInline(inode, [], 0, attributeBlocks);
                break;
            default:
                PutRun(inode, node.Content, attributeBlocks);
                break;
        }
    }

    private void PutRun(Span<byte> inode, Extent content, int attributeBlocks)
    {
        _live.Add(content);
        _live.Add(Ext4Inode.PutContent(inode, content, _store, attributeBlocks));
    }

    private int Links(Numbered numbered)
    {
        if (!numbered.Node.IsDirectory)
        {
            var links = _links.GetValueOrDefault(numbered.Node, 1);
            return links <= Ext4Format.MaxLinks ? links : throw new FledgeException($"'{ByteText.Show(numbered.Name)}' has {links} names; at most {Ext4Format.MaxLinks} are possible.");
        }

        // A directory with more than that says 1 (dir_nlink).
        var all = 2 + numbered.Names.Count(name => name.Node.IsDirectory);
        return all <= Ext4Format.MaxLinks ? all : 1;
    }

    /// <summary>Writes extended attributes and returns the number of blocks that they took.</summary>
    private int PutAttributes(Numbered numbered, Span<byte> inode)
    {
        var known = (numbered.Node.Attributes ?? []).Where(attribute => Ext4Attributes.IsKnown(attribute.Key)).ToArray();
        if (known.Length == 0 || Ext4Attributes.TryPutInline(known, Ext4Inode.AttributeSpace(inode)))
        {
            return 0;
        }

        var block = _store.Append(Ext4Attributes.BuildBlock(known, numbered.Name));
        _live.Add(block);
        Ext4Inode.PutAttributeBlock(inode, block.FirstBlock);
        return 1;
    }

    /// <summary>Makes the journal: an empty one is a superblock and zeros.</summary>
    private void PutJournal(Span<byte> inode, long bufferBytes)
    {
        // The sizes of mke2fs, by the size of the file system.
        var bytes = (_store.NextBlock * Ext4Format.BlockBytes) + bufferBytes;
        var blocks = bytes < 128L << 20 ? 1024 : bytes < 1L << 30 ? 4096 : bytes < 2L << 30 ? 8192 : 16384;
        Span<byte> super = stackalloc byte[1024];
        super.Clear();
        foreach (var (place, value) in new (int, uint)[] { (0x00, 0xC03B3998), (0x04, 4), (0x0C, Ext4Format.BlockBytes), (0x10, (uint)blocks), (0x14, 1), (0x18, 1), (0x40, 1) })
        {
            BinaryPrimitives.WriteUInt32BigEndian(super[place..], value);
        }

        _identity.Uuid.CopyTo(super[0x30..]);
        var first = _store.Append(super).FirstBlock;
        _store.Skip(blocks - 1);
        Ext4Inode.Put(inode, 0x8000 | 0x180, 0, 0, 0, links: 1);
        PutRun(inode, new Extent(first, (long)blocks * Ext4Format.BlockBytes), 0);
    }

    private void PutTables(Ext4Geometry geometry, byte[] inodes, uint lastInode, ReadOnlySpan<byte> journalInode)
    {
        var file = _store.File;
        var bitmap = new Ext4Bitmap(geometry.TotalBlocks);
        bitmap.Set(0, 1 + (((long)geometry.Groups * Ext4Format.DescriptorBytes) + Ext4Format.BlockBytes - 1) / Ext4Format.BlockBytes);
        bitmap.Set(geometry.FirstTableBlock, geometry.MetadataBlocks);
        foreach (var extent in _live)
        {
            bitmap.Set(extent.FirstBlock, extent.Blocks);
        }

        foreach (var (start, length) in bitmap.FreeRuns(Ext4Format.FirstContentBlock, geometry.FirstTableBlock))
        {
            FileSpace.Punch(file, start * Ext4Format.BlockBytes, length * Ext4Format.BlockBytes);
        }

        RandomAccess.SetLength(file, geometry.TotalBlocks * Ext4Format.BlockBytes);
        RandomAccess.Write(file, inodes, geometry.FirstInodeBlock * Ext4Format.BlockBytes);
        var directories = new int[geometry.Groups];
        foreach (var node in _nodes)
        {
            directories[(node.Inode - 1) / geometry.InodesPerGroup] += node.Node.IsDirectory ? 1 : 0;
        }

        var descriptors = new byte[geometry.Groups * Ext4Format.DescriptorBytes];
        var (freeBlocks, freeInodes) = (0L, 0L);
        for (var group = 0; group < geometry.Groups; group++)
        {
            var blocks = bitmap.Group(group);
            var free = Ext4Format.BlocksPerGroup - Ext4Bitmap.Count(blocks);
            var inodesUsed = (int)Math.Clamp(lastInode - ((long)group * geometry.InodesPerGroup), 0, geometry.InodesPerGroup);
            RandomAccess.Write(file, blocks, (geometry.FirstTableBlock + group) * Ext4Format.BlockBytes);
            RandomAccess.Write(file, Ext4Bitmap.Inodes(inodesUsed, geometry.InodesPerGroup), (geometry.FirstTableBlock + geometry.Groups + group) * Ext4Format.BlockBytes);
            var descriptor = descriptors.AsSpan(group * Ext4Format.DescriptorBytes);
            BinaryPrimitives.WriteUInt32LittleEndian(descriptor, (uint)(geometry.FirstTableBlock + group));
            BinaryPrimitives.WriteUInt32LittleEndian(descriptor[4..], (uint)(geometry.FirstTableBlock + geometry.Groups + group));
            BinaryPrimitives.WriteUInt32LittleEndian(descriptor[8..], (uint)(geometry.FirstInodeBlock + ((long)group * geometry.TableBlocks)));
            BinaryPrimitives.WriteUInt16LittleEndian(descriptor[12..], (ushort)free);
            BinaryPrimitives.WriteUInt16LittleEndian(descriptor[14..], (ushort)(geometry.InodesPerGroup - inodesUsed));
            BinaryPrimitives.WriteUInt16LittleEndian(descriptor[16..], (ushort)directories[group]);
            freeBlocks += free;
            freeInodes += geometry.InodesPerGroup - inodesUsed;
        }

        RandomAccess.Write(file, descriptors, Ext4Format.BlockBytes);
        RandomAccess.Write(file, Ext4Superblock.Build(geometry, freeBlocks, freeInodes, _identity, journalInode), Ext4Format.SuperblockOffset);
    }

    private sealed record Numbered(RootNode Node, string Name, uint Inode, uint Parent, (string Name, RootNode Node)[] Names);
}
