using Volant.Fledge.Cpio;
using Volant.Fledge.Oci;
using Volant.Fledge.Rootfs;
using Volant.Fledge.Rootfs.Ext4;
using Volant.Fledge.Tar;

namespace Volant.Fledge.Initramfs;

/// <summary>Writes a tree as the archive of an initramfs, owners and devices included.</summary>
/// <remarks>Extended attributes have no place in the format, and times are left out.</remarks>
internal sealed class ImageArchive(ContentStore store, CpioWriter writer)
{
    private readonly Dictionary<RootNode, (uint Inode, int Names)> _files = new(ReferenceEqualityComparer.Instance);
    private readonly Dictionary<RootNode, int> _seen = new(ReferenceEqualityComparer.Instance);

    /// <summary>Number of bytes of all contents.</summary>
    public static long Sum(RootTree tree) => All(tree.Root).Distinct<RootNode>(ReferenceEqualityComparer.Instance).Sum(node => node.Content.SizeBytes);

    /// <summary>Writes everything but the root directory, which the kernel has already.</summary>
    /// <param name="tree">What to write.</param>
    /// <param name="report">Called before every member.</param>
    /// <param name="cancellationToken">Stops it.</param>
    public async Task WriteAsync(RootTree tree, Action report, CancellationToken cancellationToken)
    {
        store.Flush();
        foreach (var node in All(tree.Root))
        {
            _files[node] = _files.TryGetValue(node, out var known) ? (known.Inode, known.Names + 1) : ((uint)_files.Count + 1, 1);
        }

        await WriteAsync(tree.Root, string.Empty, report, cancellationToken);
    }

    private async Task WriteAsync(RootNode directory, string path, Action report, CancellationToken cancellationToken)
    {
        foreach (var (name, child) in Sorted(directory))
        {
            cancellationToken.ThrowIfCancellationRequested();
            report();
            var node = child.Node;
            var (inode, names) = _files[node];
            _seen[node] = _seen.GetValueOrDefault(node) + 1;

            // The content of a file with several names comes with the last of them.
            await using var content = _seen[node] < names ? null
                : node.LinkTarget is { } target ? new MemoryStream(ByteText.Bytes(target))
                : node.Content.SizeBytes > 0 ? (Stream)new FileRange(store.File, node.Content.FirstBlock * ContentStore.BlockBytes, node.Content.SizeBytes, ownsFile: false) : null;
            await writer.WriteAsync(
                ByteText.Bytes(path + name), inode, Ext4Inode.TypeBits(node.Kind) | node.Permissions, node.IsDirectory ? 2 : names, (node.Uid, node.Gid), (node.Major, node.Minor), content, cancellationToken);
            if (node.IsDirectory)
            {
                await WriteAsync(node, $"{path}{name}/", report, cancellationToken);
            }
        }
    }

    private static IEnumerable<RootNode> All(RootNode directory) =>
        Sorted(directory).SelectMany(entry => entry.Value.Node.IsDirectory ? All(entry.Value.Node).Prepend(entry.Value.Node) : [entry.Value.Node]);

    private static IOrderedEnumerable<KeyValuePair<string, RootName>> Sorted(RootNode directory) => directory.Children!.OrderBy(entry => entry.Key, StringComparer.Ordinal);
}
