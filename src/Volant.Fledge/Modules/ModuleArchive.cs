using System.Text;
using Volant.Contracts.Boot;
using Volant.Fledge.Cpio;

namespace Volant.Fledge.Modules;

/// <summary>What <see cref="ModuleArchive"/> packed.</summary>
/// <param name="Release">Kernel release.</param>
/// <param name="Packed">Paths of the packed modules below <c>/lib/modules/RELEASE</c>, sorted.</param>
/// <param name="Builtin">Wanted modules that are part of the kernel.</param>
/// <param name="Missing">Wanted modules that this kernel does not know.</param>
internal sealed record PackedModules(string Release, IReadOnlyList<string> Packed, IReadOnlyList<string> Builtin, IReadOnlyList<string> Missing);

/// <summary>Packs the modules that a guest needs into a raw archive, to be placed beside any initramfs as a segment of its own.</summary>
/// <remarks>
/// Holds <c>/lib/modules/RELEASE</c> with the modules, uncompressed, and with a <c>modules.dep</c> and a <c>modules.builtin</c> reduced to them.
/// Without signatures, unless they are asked for: checking one takes an emulated processor as long as all the rest of loading a module (ADR 0016).
/// Raw and padded to four bytes, because that is what the kernel asks of a segment that another one follows.
/// </remarks>
internal static class ModuleArchive
{
    private static readonly string[] Places = ["lib/modules", "usr/lib/modules"];

    /// <summary>The kernel release to take below <paramref name="root"/>: the given one, or the only one.</summary>
    /// <exception cref="FledgeException">There is none, or more than one.</exception>
    public static string FindDirectory(string root, string? release)
    {
        var modules = Places
            .Select(path => Path.GetFullPath(Path.Combine(root, path)))
            .FirstOrDefault(Directory.Exists)
            ?? throw new FledgeException($"There is no 'lib/modules' below '{root}'; --root is the directory that a kernel package was unpacked into (dpkg-deb -x).");
        var releases = Directory.GetDirectories(modules).Select(path => Path.GetFileName(path)).Order(StringComparer.Ordinal).ToArray();
        var known = releases.Length == 0 ? "none" : string.Join(", ", releases);
        if (release is null)
        {
            return releases is [var only]
                ? Path.Combine(modules, only)
                : throw new FledgeException($"'{modules}' holds {releases.Length} kernel releases ({known}); choose one with --release.");
        }

        return releases.Contains(release, StringComparer.Ordinal)
            ? Path.Combine(modules, release)
            : throw new FledgeException($"'{modules}' has no kernel release '{release}' (it has: {known}).");
    }

    /// <summary>Writes the archive.</summary>
    /// <param name="directory">A <c>lib/modules/RELEASE</c>.</param>
    /// <param name="wanted">Names of the modules.</param>
    /// <param name="keepSignatures">Whether signed modules stay signed, for a kernel that takes no others.</param>
    /// <param name="output">Where to.</param>
    /// <param name="scratch">Existing directory for unpacked copies; the caller removes it.</param>
    /// <param name="cancellationToken">Stops the work.</param>
    /// <exception cref="FledgeException">A module or the index is missing or damaged.</exception>
    public static async Task<PackedModules> WriteAsync(
        string directory, IReadOnlyList<string> wanted, bool keepSignatures, Stream output, string scratch, CancellationToken cancellationToken)
    {
        var index = ModuleIndex.Read(directory);
        var selection = Select(directory, index, wanted);
        var release = selection.Release;
        var prefix = $"lib/modules/{release}";
        var entries = new SortedDictionary<string, CpioEntry>(StringComparer.Ordinal);
        var dependencies = new StringBuilder();
        foreach (var path in selection.Packed)
        {
            var file = Path.Combine(directory, path);
            if (!File.Exists(file))
            {
                throw new FledgeException($"'{Path.Combine(directory, "modules.dep")}' names '{path}', which does not exist; unpack the whole kernel package and run depmod again.");
            }

            var plain = await ModuleDecompressor.PlainAsync(file, scratch, cancellationToken);
            var place = $"{prefix}/{PlainPath(path)}";
            var module = await File.ReadAllBytesAsync(plain, cancellationToken);
            entries[place] = CpioEntry.File(place, Permissions.Octal0644, keepSignatures ? module : ModuleSignature.Remove(module));
            dependencies.Append(PlainPath(path)).Append(':');
            foreach (var needed in index.DependenciesOf(path))
            {
                dependencies.Append(' ').Append(PlainPath(needed));
            }

            dependencies.Append('\n');
        }

        Add(entries, $"{prefix}/modules.dep", dependencies.ToString());
        Add(entries, $"{prefix}/modules.builtin", string.Concat(selection.Builtin.Select(name => index.FindBuiltin(name) + "\n")));
        AddParents(entries);

        var writer = new CpioWriter(output);
        foreach (var entry in entries.Values)
        {
            await writer.WriteAsync(entry, cancellationToken);
        }

        await writer.FinishAsync(cancellationToken);
        return selection;
    }

    private static PackedModules Select(string directory, ModuleIndex index, IReadOnlyList<string> wanted)
    {
        var packed = new SortedSet<string>(StringComparer.Ordinal);
        var builtin = new List<string>();
        var missing = new List<string>();
        foreach (var name in wanted)
        {
            if (index.FindPath(name) is { } path)
            {
                packed.Add(path);
                packed.UnionWith(index.DependenciesOf(path));
            }
            else
            {
                (index.FindBuiltin(name) is null ? missing : builtin).Add(name);
            }
        }

        return GuestModules.Essential.All(name => missing.Contains(name, StringComparer.Ordinal))
            ? throw new FledgeException($"'{directory}' has none of the modules that a guest needs ({string.Join(", ", GuestModules.Essential)}); is it a kernel for virtual machines?")
            : new PackedModules(Path.GetFileName(directory), [.. packed], builtin, missing);
    }

    private static string PlainPath(string path) => path[..(path.LastIndexOf(".ko", StringComparison.Ordinal) is > 0 and var dot ? dot : path.Length)] + ".ko";

    private static void Add(SortedDictionary<string, CpioEntry> entries, string path, string text) =>
        entries[path] = CpioEntry.File(path, Permissions.Octal0644, Encoding.UTF8.GetBytes(text));

    private static void AddParents(SortedDictionary<string, CpioEntry> entries)
    {
        foreach (var path in entries.Keys.ToArray())
        {
            for (var slash = path.LastIndexOf('/'); slash > 0; slash = path.LastIndexOf('/', slash - 1))
            {
                entries[path[..slash]] = CpioEntry.Directory(path[..slash], Permissions.Octal0755);
            }
        }
    }
}
