namespace Volant.Fledge.Modules;

/// <summary>What <c>modules.dep</c> and <c>modules.builtin</c> of one kernel say (modules.dep(5), depmod(8)).</summary>
internal sealed class ModuleIndex
{
    private const int MaxLines = 100_000;

    private readonly Dictionary<string, string> _paths = new(StringComparer.Ordinal);
    private readonly Dictionary<string, string[]> _dependencies = new(StringComparer.Ordinal);
    private readonly Dictionary<string, string> _builtin = new(StringComparer.Ordinal);

    private ModuleIndex()
    {
    }

    /// <summary>Reads the index of <paramref name="directory"/>, a <c>lib/modules/RELEASE</c>.</summary>
    /// <exception cref="FledgeException"><c>modules.dep</c> is missing or malformed.</exception>
    public static ModuleIndex Read(string directory)
    {
        var file = Path.Combine(directory, "modules.dep");
        if (!File.Exists(file))
        {
            var release = Path.GetFileName(directory);
            var root = Path.GetFullPath(Path.Combine(directory, "..", "..", ".."));
            throw new FledgeException($"'{file}' does not exist; make it with: depmod -b '{root}' '{release}' (package kmod).");
        }

        var index = new ModuleIndex();
        var number = 0;
        foreach (var line in File.ReadLines(file))
        {
            var colon = line.IndexOf(':', StringComparison.Ordinal);
            if (colon <= 0 || ++number > MaxLines)
            {
                throw new FledgeException($"'{file}' has no 'module: dependencies' in line {number + 1}; make it again with depmod.");
            }

            var path = Checked(line[..colon], file);
            index._paths[NameOf(path)] = path;
            index._dependencies[path] = [.. line[(colon + 1)..].Split(' ', StringSplitOptions.RemoveEmptyEntries).Select(item => Checked(item, file))];
        }

        var builtin = Path.Combine(directory, "modules.builtin");
        foreach (var line in File.Exists(builtin) ? File.ReadLines(builtin).Where(line => line.Length > 0) : [])
        {
            index._builtin[NameOf(line)] = line;
        }

        return index;
    }

    /// <summary>Path of a module by its name with underscores; null when the kernel has no such module file.</summary>
    public string? FindPath(string name) => _paths.GetValueOrDefault(name);

    /// <summary>Line of <c>modules.builtin</c> for a module that is part of the kernel itself; null when it is not.</summary>
    public string? FindBuiltin(string name) => _builtin.GetValueOrDefault(name);

    /// <summary>All direct and indirect dependencies, in the order of the file: the last one is loaded first.</summary>
    public IReadOnlyList<string> DependenciesOf(string path) => _dependencies.GetValueOrDefault(path) ?? [];

    /// <summary>Module name of a path: <c>kernel/net/vmw_vsock/a-b.ko.xz</c> is <c>a_b</c>.</summary>
    public static string NameOf(string path)
    {
        var file = Path.GetFileName(path);
        var dot = file.IndexOf(".ko", StringComparison.Ordinal);
        return (dot < 0 ? file : file[..dot]).Replace('-', '_');
    }

    private static string Checked(string path, string file) =>
        path.StartsWith('/') || path.Split('/').Contains("..", StringComparer.Ordinal)
            ? throw new FledgeException($"'{file}' names '{path}', which lies outside its directory; make it again with: depmod -b ROOT RELEASE.")
            : path;
}
