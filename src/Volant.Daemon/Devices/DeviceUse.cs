using System.Globalization;
using System.Text.RegularExpressions;
using Volant.Linux.Files;
using Volant.Linux.Networking;

namespace Volant.Daemon.Devices;

/// <summary>Finds out whether the host uses a device: taking it away then would take the network or a disk away.</summary>
internal static partial class DeviceUse
{
    /// <summary>Deepest directory below a PCI device that is looked at: a disk behind several USB hubs.</summary>
    private const int MaxDepth = 20;

    private const int FlagUp = 1; // IFF_UP

    // Symbolic links lead to other devices.
    private static readonly EnumerationOptions Below = new() { RecurseSubdirectories = true, MaxRecursionDepth = MaxDepth, AttributesToSkip = FileAttributes.ReparsePoint, IgnoreInaccessible = false };

    /// <summary>What the host does with a device, as the end of a sentence; null when nothing is known.</summary>
    /// <exception cref="VolantException"><c>device_unavailable</c>: it cannot be told.</exception>
    public static string? Find(PciBus bus, PciDevice device)
    {
        if (device.IsBootVga)
        {
            return "is the host's boot display";
        }

        var path = bus.PathOf(device.Address);
        if (PciBus.ReadText($"{path}/sriov_numvfs") is { } functions && functions != "0")
        {
            return $"has {functions} virtual functions, which would vanish";
        }

        return PciBus.Explain(path, () => Directory.EnumerateDirectories(Path.GetFullPath(ResolvedPath(path)), "*", Below).Select(child => Path.GetFileName(child) switch
        {
            // The directory stays where an interface was moved away from.
            "net" when !Directory.EnumerateFileSystemEntries(child).Any() => "holds a network interface that is in another network namespace",
            var name => PciBus.LinkedName($"{child}/subsystem") switch
            {
                "net" => FindInterfaceUse(child, name),
                "block" => FindDiskUse(bus, child, name),
                _ => null,
            },
        }).FirstOrDefault(use => use is not null));
    }

    /// <summary>The entry in bus/pci/devices is a link itself.</summary>
    private static string ResolvedPath(string path) => new DirectoryInfo(path).ResolveLinkTarget(returnFinalTarget: true)?.FullName ?? path;

    private static string? FindInterfaceUse(string path, string name)
    {
        if (ParseFlags(PciBus.ReadText($"{path}/flags")) is not { } flags || (flags & FlagUp) != 0)
        {
            return $"holds the network interface '{name}', which is up";
        }

        if (PciBus.LinkedName($"{path}/master") is { } master)
        {
            return $"holds the network interface '{name}', which belongs to '{master}'";
        }

        using var netlink = Netlink.Open();
        return netlink.FindLink(name) is { } link && netlink.ListAddresses(link.Index) is [var first, ..]
            ? $"holds the network interface '{name}', which has the address {first.Address}"
            : null;
    }

    private static string? FindDiskUse(PciBus bus, string path, string name)
    {
        // With several paths to an NVMe disk, nvme0c1n1 is one of them and nvme0n1 the disk.
        var disk = NvmePath().Replace(name, "${controller}${namespace}");
        if (Directory.Exists($"{path}/holders") && Directory.EnumerateFileSystemEntries($"{path}/holders").FirstOrDefault() is { } holder)
        {
            return $"holds the disk '{disk}', which '{Path.GetFileName(holder)}' uses";
        }

        var number = PciBus.ReadText($"{path}/dev");
        var node = $"/dev/{disk}";
        foreach (var mount in File.ReadLines(bus.PathOf("proc/self/mountinfo")).Select(line => line.Split(' ')))
        {
            // man 5 proc: number, parent, device, root, mount point, options, optional fields, "-", type, source.
            var separator = Array.IndexOf(mount, "-");
            if (mount.Length > 4 && (mount[2] == number || (separator > 0 && separator + 2 < mount.Length && mount[separator + 2] == node)))
            {
                return $"holds the disk '{disk}', which is mounted at '{mount[4]}'";
            }
        }

        var swaps = bus.PathOf("proc/swaps");
        if (File.Exists(swaps) && File.ReadLines(swaps).Any(line => line.Split(' ', '\t')[0] == node))
        {
            return $"holds the disk '{disk}', which is used as swap";
        }

        return DeviceNode.IsClaimed(bus.PathOf(node.TrimStart('/'))) ? $"holds the disk '{disk}', which is in use" : null;
    }

    private static int? ParseFlags(string? text) =>
        text is not null && text.StartsWith("0x", StringComparison.Ordinal) && int.TryParse(text.AsSpan(2), NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture, out var flags) ? flags : null;

    [GeneratedRegex("^(?<controller>nvme[0-9]+)c[0-9]+(?<namespace>n[0-9]+.*)$", RegexOptions.ExplicitCapture | RegexOptions.NonBacktracking)]
    private static partial Regex NvmePath();
}
