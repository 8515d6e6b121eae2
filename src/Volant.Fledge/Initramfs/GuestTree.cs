using Volant.Fledge.Cpio;

namespace Volant.Fledge.Initramfs;

/// <summary>The guest's file tree as it is planned: at most one entry per path, parents made as needed, links in parents resolved.</summary>
/// <remarks>Pure. Every path is absolute; <c>/</c> itself is not an entry, because the kernel has it already.</remarks>
internal sealed class GuestTree
{
    private const int MaxLinks = 40;

    private readonly SortedDictionary<string, Node> _nodes = new(StringComparer.Ordinal);

    /// <summary>Number of entries.</summary>
    public int Count => _nodes.Count;

    /// <summary>Every entry; a directory comes before what it holds.</summary>
    public IEnumerable<CpioEntry> Entries => _nodes.Values.Select(node => node.Entry);

    /// <summary>Every entry, and whether it gives way to what an image has in its place.</summary>
    public IEnumerable<(CpioEntry Entry, bool IsSpare)> EntriesAboveImage => _nodes.Values.Select(node => (node.Entry, node.IsSpare));

    /// <summary>Plans a directory. Directories merge: the mode of the last explicit one wins. A link to a directory stands for one.</summary>
    /// <exception cref="FledgeException">The path is taken by something else.</exception>
    public void AddDirectory(string path, int permissions, string origin)
    {
        var place = Resolve(path);
        if (place == "/")
        {
            return;
        }

        if (!_nodes.TryGetValue(place, out var existing) || existing.IsDirectory)
        {
            Put(place, CpioEntry.Directory(place[1..], permissions), origin);
        }
        else if (existing.LinkTarget is null || !MayBeDirectory(FollowLast(place)))
        {
            throw Taken(path, existing.Origin, origin);
        }
    }

    /// <summary>Plans a directory unless the path is taken by anything.</summary>
    public void AddDirectoryIfFree(string path, int permissions, string origin)
    {
        if (!IsTaken(path))
        {
            AddDirectory(path, permissions, origin);
            Spare(path);
        }
    }

    /// <summary>Plans a file from the host.</summary>
    /// <exception cref="FledgeException">The path is taken.</exception>
    public void AddFile(string path, int permissions, string hostFile, long sizeBytes, string origin) =>
        AddLeaf(path, origin, place => CpioEntry.File(place, permissions, hostFile, sizeBytes));

    /// <summary>Plans a file from the host unless the path is taken; true when it was free.</summary>
    public bool AddFileIfFree(string path, int permissions, string hostFile, long sizeBytes, string origin)
    {
        if (IsTaken(path))
        {
            return false;
        }

        AddFile(path, permissions, hostFile, sizeBytes, origin);
        Spare(path);
        return true;
    }

    /// <summary>Plans a file with fixed content unless the path is taken.</summary>
    public void AddFileIfFree(string path, int permissions, ReadOnlyMemory<byte> data, string origin)
    {
        if (!IsTaken(path))
        {
            AddLeaf(path, origin, place => CpioEntry.File(place, permissions, data));
            Spare(path);
        }
    }

    /// <summary>Plans a symbolic link.</summary>
    /// <exception cref="FledgeException">The path is taken.</exception>
    public void AddSymlink(string path, string target, string origin) =>
        AddLeaf(path, origin, place => CpioEntry.Symlink(place, target), target);

    /// <summary>Plans a symbolic link unless the path is taken.</summary>
    public void AddSymlinkIfFree(string path, string target, string origin)
    {
        if (!IsTaken(path))
        {
            AddSymlink(path, target, origin);
            Spare(path);
        }
    }

    /// <summary>The entry that the guest will find at a path, links followed; null when there is none.</summary>
    public CpioEntry? Find(string path) => _nodes.TryGetValue(FollowLast(Resolve(path)), out var node) ? node.Entry : null;

    /// <summary>Whether something is planned at the path itself.</summary>
    public bool IsTaken(string path) => _nodes.ContainsKey(Resolve(path));

    private void Spare(string path) => _nodes[Resolve(path)].IsSpare = true;

    private void AddLeaf(string path, string origin, Func<string, CpioEntry> create, string? linkTarget = null)
    {
        var place = Resolve(path);
        if (_nodes.TryGetValue(place, out var existing))
        {
            throw Taken(path, existing.Origin, origin);
        }

        Put(place, create(place[1..]), origin, linkTarget);
    }

    private void Put(string place, CpioEntry entry, string origin, string? linkTarget = null)
    {
        for (var parent = Parent(place); parent != "/" && !_nodes.ContainsKey(parent); parent = Parent(parent))
        {
            _nodes[parent] = new Node(CpioEntry.Directory(parent[1..], Permissions.Octal0755), origin, null);
        }

        if (Parent(place) is { Length: > 1 } holder && !_nodes[holder].IsDirectory)
        {
            throw new FledgeException($"'{holder}' is a file ({_nodes[holder].Origin}), so '{place}' ({origin}) cannot lie below it; change one of the guest paths.");
        }

        _nodes[place] = new Node(entry, origin, linkTarget);
    }

    /// <summary>The path with every link in its parents resolved, as the kernel does when it unpacks; the last segment is left as it is.</summary>
    private string Resolve(string path)
    {
        var done = "/";
        var segments = new Stack<string>(path.Split('/', StringSplitOptions.RemoveEmptyEntries).Reverse());
        var links = 0;
        while (segments.TryPop(out var segment))
        {
            if (segment is "." or "..")
            {
                done = segment == "." ? done : Parent(done);
                continue;
            }

            var place = done == "/" ? "/" + segment : $"{done}/{segment}";
            if (segments.Count > 0 && _nodes.TryGetValue(place, out var node) && node.LinkTarget is { } target)
            {
                if (++links > MaxLinks)
                {
                    throw new FledgeException($"'{path}' leads through more than {MaxLinks} symbolic links ({node.Origin}); remove the loop.");
                }

                done = target.StartsWith('/') ? "/" : done;
                foreach (var part in target.Split('/', StringSplitOptions.RemoveEmptyEntries).Reverse())
                {
                    segments.Push(part);
                }

                continue;
            }

            done = place;
        }

        return done;
    }

    private string FollowLast(string place)
    {
        for (var links = 0; links < MaxLinks && _nodes.TryGetValue(place, out var node) && node.LinkTarget is { } target; links++)
        {
            place = Resolve(target.StartsWith('/') ? target : $"{Parent(place)}/{target}");
        }

        return place;
    }

    private bool MayBeDirectory(string place) => !_nodes.TryGetValue(place, out var node) || node.IsDirectory;

    private static string Parent(string path) => path.LastIndexOf('/') is > 0 and var slash ? path[..slash] : "/";

    private static FledgeException Taken(string path, string first, string second) =>
        new($"Two things claim '{path}' in the guest: {first} and {second}. Change one of the guest paths.");

    private sealed record Node(CpioEntry Entry, string Origin, string? LinkTarget)
    {
        public bool IsSpare { get; set; }

        public bool IsDirectory => (Entry.Mode & CpioFormat.TypeMask) == CpioFormat.TypeDirectory;
    }
}
