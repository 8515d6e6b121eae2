namespace Volant.Agent.Boot;

/// <summary>The dependencies of kernel modules, from <c>modules.dep</c> (<c>man 5 modules.dep</c>): <c>file: direct and indirect needs</c>.</summary>
/// <remarks>Pure. Lines of another form are skipped, and cycles do no harm.</remarks>
internal sealed class ModuleIndex
{
    private readonly Dictionary<string, Entry> _byName = new(StringComparer.Ordinal);
    private readonly Dictionary<string, Entry> _byPath = new(StringComparer.Ordinal);

    /// <summary>Reads the text of <c>modules.dep</c>.</summary>
    public static ModuleIndex Parse(string text)
    {
        var index = new ModuleIndex();
        foreach (var line in text.AsSpan().EnumerateLines())
        {
            var colon = line.IndexOf(':');
            if (colon <= 0)
            {
                continue;
            }

            var path = line[..colon].Trim().ToString();
            var entry = new Entry(path, line[(colon + 1)..].ToString().Split(' ', StringSplitOptions.RemoveEmptyEntries));
            index._byPath.TryAdd(path, entry);
            index._byName.TryAdd(NameOf(path), entry);
        }

        return index;
    }

    /// <summary>Name of the module in a file: <c>kernel/drivers/char/virtio-rng.ko.xz</c> holds <c>virtio_rng</c>.</summary>
    public static string NameOf(string path)
    {
        var file = path.AsSpan()[(path.LastIndexOf('/') + 1)..];
        var end = file.IndexOf(".ko", StringComparison.Ordinal);
        return (end < 0 ? file : file[..end]).ToString().Replace('-', '_');
    }

    /// <summary>Files to load for the named modules, each once and after what it needs; unknown names are left out.</summary>
    public IReadOnlyList<string> Resolve(IEnumerable<string> names)
    {
        var order = new List<string>();
        var seen = new HashSet<string>(StringComparer.Ordinal);
        foreach (var name in names)
        {
            if (_byName.TryGetValue(name.Replace('-', '_'), out var entry))
            {
                Visit(entry);
            }
        }

        return order;

        void Visit(Entry entry)
        {
            if (!seen.Add(entry.Path))
            {
                return;
            }

            // The last one listed is the one that the others need: depmod's order, but hand-made lists may name direct needs only.
            for (var i = entry.Needs.Length - 1; i >= 0; i--)
            {
                if (_byPath.TryGetValue(entry.Needs[i], out var need))
                {
                    Visit(need);
                }
                else if (seen.Add(entry.Needs[i]))
                {
                    order.Add(entry.Needs[i]);
                }
            }

            order.Add(entry.Path);
        }
    }

    private sealed record Entry(string Path, string[] Needs);
}
