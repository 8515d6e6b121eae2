using Volant.Fledge.Tar;

namespace Volant.Fledge.Rootfs;

/// <summary>The root file system as it is put together, in memory: nothing of it ever touches the host's own file names.</summary>
/// <remarks>Paths and names are <see cref="ByteText"/>. A path may not lead out of the root, and links in it are followed inside only.</remarks>
/// <param name="maxEntries">Most names that may be made.</param>
internal sealed class RootTree(int maxEntries = RootTree.MaxEntries)
{
    /// <summary>Most names, those that a later layer hides included.</summary>
    public const int MaxEntries = 1_000_000;

    /// <summary>Longest name in bytes (NAME_MAX).</summary>
    public const int MaxNameBytes = 255;

    /// <summary>Longest path and longest link target in bytes (PATH_MAX less the NUL).</summary>
    public const int MaxPathBytes = 4095;

    private const int MaxLinks = 40;
    private const int MaxDepth = 1024;

    /// <summary>The directory <c>/</c>.</summary>
    public RootNode Root { get; } = RootNode.NewDirectory(Cpio.Permissions.Octal0755);

    /// <summary>Names made so far, those that are gone included.</summary>
    public int Made { get; private set; }

    /// <summary>Splits a path of an archive.</summary>
    /// <exception cref="FledgeException">It is absolute, leads up, or is too long.</exception>
    public static string[] Split(string path)
    {
        if (path.StartsWith('/'))
        {
            throw new FledgeException($"The path '{ByteText.Show(path)}' is absolute; paths of an image are relative to its root.");
        }

        if (path.Length > MaxPathBytes || path.Contains('\0', StringComparison.Ordinal))
        {
            throw new FledgeException($"The path '{ByteText.Show(path)}' has {path.Length} bytes or holds a NUL; at most {MaxPathBytes} are possible.");
        }

        var parts = path.Split('/', StringSplitOptions.RemoveEmptyEntries).Where(part => part != ".").ToArray();
        if (parts.Contains("..", StringComparer.Ordinal))
        {
            throw new FledgeException($"The path '{ByteText.Show(path)}' leads out of its directory with '..'.");
        }

        return parts.FirstOrDefault(part => part.Length > MaxNameBytes) is { } longest
            ? throw new FledgeException($"The name '{ByteText.Show(longest)}' has {longest.Length} bytes; at most {MaxNameBytes} are possible.")
            : parts;
    }

    /// <summary>The directory of a path, links followed, missing ones made; the path's last part is left.</summary>
    /// <param name="parts">The path, split.</param>
    /// <param name="layer">Whose they are when made; null: none are made, and null is returned when one is missing or no directory.</param>
    /// <exception cref="FledgeException">Something on the way is no directory, or a link leads out of the root.</exception>
    public RootNode? Parent(ReadOnlySpan<string> parts, int? layer) => Walk(parts[..^1], layer, string.Join('/', parts!));

    /// <summary>What a path leads to, links followed; null when there is nothing.</summary>
    /// <param name="path">Absolute or relative to the root.</param>
    public RootNode? Find(string path) => Walk(path.Split('/', StringSplitOptions.RemoveEmptyEntries), layer: null, path, directoryOnly: false);

    /// <summary>Gives a name in a directory a new meaning.</summary>
    public void Put(RootNode directory, string name, RootNode node, int layer)
    {
        if (++Made > maxEntries)
        {
            throw new FledgeException($"The image has more than {maxEntries} files; put less into it, or attach a disk.");
        }

        directory.Children![name] = new RootName(node, layer);
    }

    private RootNode? Walk(ReadOnlySpan<string> parts, int? layer, string path, bool directoryOnly = true)
    {
        var stack = new List<RootNode> { Root };
        var todo = new Stack<string>();
        Push(todo, parts);
        for (var links = 0; todo.TryPop(out var part);)
        {
            if (part is "." or "..")
            {
                if (part == ".." && stack.Count == 1)
                {
                    throw new FledgeException($"The path '{ByteText.Show(path)}' leads out of the image through a symbolic link.");
                }

                stack.RemoveRange(stack.Count - (part.Length - 1), part.Length - 1);
                continue;
            }

            var here = stack[^1];
            if (!here.IsDirectory || !here.Children!.TryGetValue(part, out var found))
            {
                if (layer is not { } maker)
                {
                    return null;
                }

                found = new RootName(here.IsDirectory ? RootNode.NewDirectory(Cpio.Permissions.Octal0755) : throw NoDirectory(path), maker);
                Put(here, part, found.Node, maker);
            }

            if (found.Node.LinkTarget is not { } target)
            {
                stack.Add(stack.Count < MaxDepth ? found.Node : throw new FledgeException($"The path '{ByteText.Show(path)}' lies more than {MaxDepth} directories deep."));
                continue;
            }

            if (++links > MaxLinks)
            {
                throw new FledgeException($"The path '{ByteText.Show(path)}' leads through more than {MaxLinks} symbolic links.");
            }

            if (target.StartsWith('/'))
            {
                stack.RemoveRange(1, stack.Count - 1);
            }

            Push(todo, target.Split('/', StringSplitOptions.RemoveEmptyEntries));
        }

        return !directoryOnly || stack[^1].IsDirectory ? stack[^1] : layer is null ? null : throw NoDirectory(path);
    }

    private static void Push(Stack<string> todo, ReadOnlySpan<string> parts)
    {
        for (var i = parts.Length - 1; i >= 0; i--)
        {
            todo.Push(parts[i]);
        }
    }

    private static FledgeException NoDirectory(string path) =>
        new($"The path '{ByteText.Show(path)}' leads through something that is no directory.");
}
