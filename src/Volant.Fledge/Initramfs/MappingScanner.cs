using Volant.Fledge.Configuration;
using Volant.Fledge.Cpio;
using Volant.Linux.IO;

namespace Volant.Fledge.Initramfs;

/// <summary>What a mapping found on the host for one guest path.</summary>
/// <param name="GuestPath">Absolute guest path.</param>
/// <param name="Status">Kind, mode and size on the host.</param>
/// <param name="HostPath">Where it is.</param>
/// <param name="LinkTarget">Target of a symbolic link.</param>
/// <param name="Origin">For messages: <c>'/src/app' (fledge.toml:3:1)</c>.</param>
internal sealed record FoundEntry(string GuestPath, LinkStatus Status, string HostPath, string? LinkTarget, string Origin);

/// <summary>Walks the host side of the mappings.</summary>
/// <remarks>
/// A mapped path that is itself a link is followed; links inside a mapped directory stay links. Devices, pipes and sockets are refused, and so is
/// a set-ID file that root does not own, because everything in the archive belongs to root.
/// </remarks>
internal sealed class MappingScanner
{
    private const int MaxDepth = 128;
    private const int MaxFaults = 100;
    private const char NotText = '\uFFFD';

    private readonly List<string> _faults = [];
    private readonly List<FoundEntry> _found = [];

    private MappingScanner()
    {
    }

    /// <summary>Finds everything that the mappings name, sorted by guest path so that parents come first.</summary>
    /// <exception cref="FledgeException">Something cannot be packed: every reason.</exception>
    public static IReadOnlyList<FoundEntry> Scan(IReadOnlyList<Mapping> mappings, IReadOnlyList<string> outputs)
    {
        var scanner = new MappingScanner();
        foreach (var mapping in mappings)
        {
            scanner.Scan(mapping, outputs);
        }

        if (scanner._faults.Count > 0)
        {
            throw new FledgeException(scanner._faults);
        }

        // The sort is stable, so two mappings of one guest path are reported in the order of the file.
        return [.. scanner._found.OrderBy(entry => entry.GuestPath, StringComparer.Ordinal)];
    }

    private void Scan(Mapping mapping, IReadOnlyList<string> outputs)
    {
        var host = mapping.HostPath;
        var found = LinkStatus.Find(host);
        if (found?.Kind == LinkKind.SymbolicLink)
        {
            host = File.ResolveLinkTarget(host, returnFinalTarget: true)!.FullName;
            found = LinkStatus.Find(host);
        }

        if (found is not { } status)
        {
            Fault($"{mapping.Place}: '{mapping.HostPath}' does not exist; paths start from the directory of the build file.");
            return;
        }

        if (status.Kind == LinkKind.Directory)
        {
            if (outputs.FirstOrDefault(output => IsBelow(output, host)) is { } output)
            {
                Fault($"{mapping.Place}: '{mapping.HostPath}' contains the output '{output}', which would pack itself; choose an --output outside.");
                return;
            }
        }
        else if (mapping.GuestPath.EndsWith('/'))
        {
            Fault($"{mapping.Place}: '{mapping.HostPath}' is not a directory; write the whole guest path, '{mapping.GuestPath}{Path.GetFileName(mapping.HostPath)}'.");
            return;
        }

        Visit(host, mapping.GuestPath == "/" ? string.Empty : mapping.GuestPath.TrimEnd('/'), status, mapping, depth: 0);
    }

    private void Visit(string host, string guest, LinkStatus status, Mapping mapping, int depth)
    {
        if (_found.Count >= CpioFormat.MaxEntries || depth > MaxDepth)
        {
            Fault(depth > MaxDepth
                ? $"{mapping.Place}: '{host}' lies more than {MaxDepth} directories deep; map a directory further down."
                : $"{mapping.Place}: more than {CpioFormat.MaxEntries} files are mapped; map fewer, or use a root disk.");
            return;
        }

        var origin = $"'{host}' ({mapping.Place})";
        switch (status.Kind)
        {
            case LinkKind.Directory:
                _found.Add(new FoundEntry(guest.Length == 0 ? "/" : guest, status, host, null, origin));
                VisitDirectory(host, guest, mapping, depth);
                break;
            case LinkKind.SymbolicLink:
                var target = new FileInfo(host).LinkTarget;
                if (string.IsNullOrEmpty(target) || target.Contains(NotText, StringComparison.Ordinal))
                {
                    Fault($"{mapping.Place}: the target of the link '{host}' is not UTF-8 text; replace the link.");
                    return;
                }

                _found.Add(new FoundEntry(guest, status, host, target, origin));
                break;
            case LinkKind.File when (status.Mode & Permissions.SetId) != 0 && status.Uid != 0:
                Fault($"{mapping.Place}: '{host}' is set-user-ID or set-group-ID, but belongs to user {status.Uid}; in the guest it would run as root. Remove the bits: chmod ug-s.");
                break;
            case LinkKind.File:
                _found.Add(new FoundEntry(guest, status, host, null, origin));
                break;
            default:
                Fault($"{mapping.Place}: '{host}' is a {Name(status.Kind)}; only files, directories and links can be packed. Remove it, or make it in the guest.");
                break;
        }
    }

    private void VisitDirectory(string host, string guest, Mapping mapping, int depth)
    {
        foreach (var child in Directory.EnumerateFileSystemEntries(host))
        {
            if (_faults.Count >= MaxFaults)
            {
                return;
            }

            var name = Path.GetFileName(child);
            if (name.Contains(NotText, StringComparison.Ordinal) || name.Any(char.IsControl))
            {
                Fault($"{mapping.Place}: a name in '{host}' is not UTF-8 text, or holds a control character ('{Printable(name)}'); rename the file.");
            }
            else if (LinkStatus.Find(child) is { } status)
            {
                Visit(child, $"{guest}/{name}", status, mapping, depth + 1);
            }
        }
    }

    private void Fault(string text) => _faults.Add(text);

    private static bool IsBelow(string path, string directory) =>
        directory == "/" || path.StartsWith(directory + "/", StringComparison.Ordinal);

    private static string Name(LinkKind kind) => kind switch
    {
        LinkKind.Device => "device node",
        LinkKind.Pipe => "named pipe",
        _ => "socket",
    };

    private static string Printable(string name) => string.Concat(name.Select(c => char.IsControl(c) ? '?' : c));
}
