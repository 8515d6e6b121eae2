using Volant.Fledge.Tar;

namespace Volant.Fledge.Rootfs;

/// <summary>Puts the layers of an image on top of each other.</summary>
/// <remarks>OCI Image Format Specification 1.1, <c>layer.md</c>: "Applying Changesets" and "Whiteouts".</remarks>
internal sealed class LayerMerger(RootTree tree, ContentStore store)
{
    private const string Whiteout = ".wh.";
    private const string Opaque = ".wh..wh..opq";

    /// <summary>Other names that begin so belong to the storage driver that made the layer.</summary>
    private const string Reserved = ".wh..wh.";

    private int _layer;

    /// <summary>Applies the next layer.</summary>
    /// <param name="layer">Its archive.</param>
    /// <param name="cancellationToken">Ends it between two members, and inside a large one.</param>
    /// <param name="report">Called at every member.</param>
    /// <exception cref="FledgeException">The archive is damaged, or holds what no image may hold.</exception>
    public void Apply(TarReader layer, CancellationToken cancellationToken, Action? report = null)
    {
        _layer++;
        while (layer.Next() is { } entry)
        {
            cancellationToken.ThrowIfCancellationRequested();
            report?.Invoke();
            Apply(entry, layer, cancellationToken);
        }
    }

    private void Apply(TarEntry entry, TarReader layer, CancellationToken cancellationToken)
    {
        var parts = RootTree.Split(entry.Name);
        if (parts.Length == 0)
        {
            if (entry.Kind != TarKind.Directory)
            {
                throw new FledgeException($"The layer holds '{ByteText.Show(entry.Name)}', which would replace the root directory.");
            }

            Describe(tree.Root, entry);
            return;
        }

        var name = parts[^1];
        if (name.StartsWith(Whiteout, StringComparison.Ordinal))
        {
            Hide(parts, name);
            return;
        }

        var parent = tree.Parent(parts, _layer)!;
        if (entry.Kind == TarKind.Directory)
        {
            AddDirectory(parent, name, entry);
            return;
        }

        var node = entry.Kind == TarKind.HardLink ? Target(entry) : Make(entry, layer, cancellationToken);
        tree.Put(parent, name, node, _layer);
    }

    private void AddDirectory(RootNode parent, string name, TarEntry entry)
    {
        // A directory in the place of a directory is the same one with other properties.
        var node = parent.Children!.TryGetValue(name, out var old) && old.Node.IsDirectory ? old.Node : RootNode.NewDirectory(entry.Permissions);
        Describe(node, entry);
        tree.Put(parent, name, node, _layer);
    }

    private RootNode Make(TarEntry entry, TarReader layer, CancellationToken cancellationToken)
    {
        if (entry.Kind == TarKind.SymbolicLink && (entry.LinkName.Length is 0 or > RootTree.MaxPathBytes || entry.LinkName.Contains('\0', StringComparison.Ordinal)))
        {
            throw new FledgeException($"The link '{ByteText.Show(entry.Name)}' has a target of {entry.LinkName.Length} bytes; 1 to {RootTree.MaxPathBytes} are possible.");
        }

        var node = new RootNode
        {
            Kind = entry.Kind,
            LinkTarget = entry.Kind == TarKind.SymbolicLink ? entry.LinkName : null,
            Major = entry.Major,
            Minor = entry.Minor,
            Content = entry.Kind == TarKind.File ? store.Append(layer.Read, entry.SizeBytes, cancellationToken) : default,
        };
        Describe(node, entry);
        return node;
    }

    private RootNode Target(TarEntry entry)
    {
        var parts = RootTree.Split(entry.LinkName);
        return parts.Length > 0 && tree.Parent(parts, layer: null) is { } parent && parent.Children!.TryGetValue(parts[^1], out var found)
            ? found.Node.IsDirectory
                ? throw new FledgeException($"'{ByteText.Show(entry.Name)}' is a hard link to the directory '{ByteText.Show(entry.LinkName)}'.")
                : found.Node
            : throw new FledgeException($"'{ByteText.Show(entry.Name)}' is a hard link to '{ByteText.Show(entry.LinkName)}', which is not in the image.");
    }

    private static void Describe(RootNode node, TarEntry entry)
    {
        node.Permissions = entry.Permissions;
        node.Uid = entry.Uid;
        node.Gid = entry.Gid;
        node.ModifiedAt = entry.ModifiedAt;
        node.Attributes = entry.Attributes;
    }

    private void Hide(string[] parts, string name)
    {
        var hidden = name[Whiteout.Length..];
        if (name != Opaque && (hidden is "" or "." or ".."))
        {
            throw new FledgeException($"The layer holds the whiteout '{ByteText.Show(string.Join('/', parts))}', which names nothing.");
        }

        if (tree.Parent(parts, layer: null) is not { } parent)
        {
            return;
        }

        if (name == Opaque)
        {
            HideOlder(parent);
        }
        else if (!name.StartsWith(Reserved, StringComparison.Ordinal) && parent.Children!.TryGetValue(hidden, out var child) && !Keeps(child))
        {
            parent.Children.Remove(hidden);
        }
    }

    /// <summary>Removes what older layers put into a directory; true when something of this layer is left.</summary>
    private bool HideOlder(RootNode directory)
    {
        // Once is enough: what comes later is of this layer. A layer may hold millions of whiteouts of one directory.
        var older = directory.HiddenIn == _layer ? [] : directory.Children!.ToArray();
        directory.HiddenIn = _layer;
        foreach (var (name, child) in older)
        {
            if (!Keeps(child))
            {
                directory.Children!.Remove(name);
            }
        }

        return directory.Children!.Count > 0;
    }

    /// <summary>Whether a name stays where everything older is hidden. Of a directory, only what is of this layer stays.</summary>
    private bool Keeps(RootName name) => (name.Node.IsDirectory && HideOlder(name.Node)) || name.Layer == _layer;
}
