using Volant.Fledge.Tar;

namespace Volant.Fledge.Rootfs;

/// <summary>Writes a tree as one tar archive: every path once, in order, and no path leads through a link.</summary>
internal sealed class RootTarWriter(ContentStore store, Stream output, CancellationToken cancellationToken)
{
    private readonly TarWriter _tar = new(output);
    private readonly Dictionary<RootNode, (RootNode Directory, string Name)> _written = new(ReferenceEqualityComparer.Instance);
    private readonly byte[] _buffer = new byte[256 * 1024];

    /// <summary>Writes everything, the root directory as <c>./</c> first.</summary>
    /// <returns>Number of files and directories, the root included.</returns>
    public int Write(RootTree tree)
    {
        store.Flush();
        _tar.WriteHeader(Describe(tree.Root, "./"));
        Write(tree.Root, string.Empty);
        _tar.WriteEnd();
        output.Flush();
        return _written.Count + 1;
    }

    private void Write(RootNode directory, string path)
    {
        foreach (var (name, child) in directory.Children!.OrderBy(entry => entry.Key, StringComparer.Ordinal))
        {
            cancellationToken.ThrowIfCancellationRequested();
            var place = path + name;
            if (_written.TryGetValue(child.Node, out var first))
            {
                _tar.WriteHeader(Describe(child.Node, place) with { Kind = TarKind.HardLink, LinkName = Path(first), SizeBytes = 0, Attributes = null });
                continue;
            }

            _written[child.Node] = (directory, name);
            _tar.WriteHeader(Describe(child.Node, child.Node.IsDirectory ? place + "/" : place));
            Copy(child.Node.Content);
            if (child.Node.IsDirectory)
            {
                Write(child.Node, place + "/");
            }
        }
    }

    /// <summary>The path of what was written. Paths are not kept: a million deep ones would take gigabytes.</summary>
    private string Path((RootNode Directory, string Name) place)
    {
        var parts = new Stack<string>([place.Name]);
        for (var directory = place.Directory; _written.TryGetValue(directory, out var above); directory = above.Directory)
        {
            parts.Push(above.Name);
        }

        return string.Join('/', parts);
    }

    private static TarEntry Describe(RootNode node, string name) => new()
    {
        Kind = node.Kind,
        Name = name,
        LinkName = node.LinkTarget ?? string.Empty,
        Permissions = node.Permissions,
        Uid = node.Uid,
        Gid = node.Gid,
        SizeBytes = node.Content.SizeBytes,
        ModifiedAt = node.ModifiedAt,
        Major = node.Major,
        Minor = node.Minor,
        Attributes = node.Attributes,
    };

    private void Copy(Extent content)
    {
        var offset = content.FirstBlock * ContentStore.BlockBytes;
        for (var left = content.SizeBytes; left > 0;)
        {
            cancellationToken.ThrowIfCancellationRequested();
            var read = RandomAccess.Read(store.File, _buffer.AsSpan(0, (int)Math.Min(left, _buffer.Length)), offset);
            if (read == 0)
            {
                throw new IOException("A scratch file was cut short meanwhile.");
            }

            output.Write(_buffer.AsSpan(0, read));
            offset += read;
            left -= read;
        }

        _tar.EndContent(content.SizeBytes);
    }
}
