using System.Globalization;
using System.Text;
using Volant.Contracts.Api;

namespace Volant.Daemon.Devices;

/// <summary>Reads PCI devices and IOMMU groups from sysfs (Linux, Documentation/ABI/testing/sysfs-bus-pci, sysfs-kernel-iommu_groups).</summary>
/// <param name="root">Directory that holds <c>sys</c>, <c>proc</c> and <c>dev</c>: <c>/</c>, or a tree of that shape.</param>
internal sealed class PciBus(string root)
{
    private const int MaxAttribute = 4096;

    /// <summary>Name of a group of a device that no IOMMU guards.</summary>
    private const string WithoutIommu = "vfio-noiommu";

    /// <summary>What the kernel shows where no override is set.</summary>
    private const string None = "(null)";

    /// <summary>A path below the root.</summary>
    public string PathOf(string relative) => Path.Combine(root, relative);

    /// <summary>Directory of a device.</summary>
    public string PathOf(PciAddress address) => PathOf($"sys/bus/pci/devices/{address}");

    /// <summary>Whether the host divides its devices into IOMMU groups.</summary>
    public bool HasIommu => Names(PathOf("sys/kernel/iommu_groups")).Count > 0;

    /// <summary>A device; null when the host has none at that address.</summary>
    /// <exception cref="VolantException"><c>device_unavailable</c>: what the kernel shows of it cannot be read.</exception>
    public PciDevice? FindDevice(PciAddress address)
    {
        var path = PathOf(address);
        return !Directory.Exists(path) ? null : new PciDevice
        {
            Address = address,
            Vendor = ReadHex($"{path}/vendor", 4).ToString("x4", CultureInfo.InvariantCulture),
            Device = ReadHex($"{path}/device", 4).ToString("x4", CultureInfo.InvariantCulture),
            Class = ReadHex($"{path}/class", 6),
            Driver = LinkedName($"{path}/driver"),
            DriverOverride = ReadText($"{path}/driver_override") is { Length: > 0 } name && name != None ? name : null,
            Group = GroupOf(path),
            NumaNode = int.TryParse(ReadText($"{path}/numa_node"), NumberStyles.None, CultureInfo.InvariantCulture, out var node) ? node : null,
            IsBootVga = ReadText($"{path}/boot_vga") == "1",
        };
    }

    /// <summary>A group with every device in it; null when there is none of that number.</summary>
    public IommuGroup? FindGroup(int id)
    {
        var path = PathOf(string.Create(CultureInfo.InvariantCulture, $"sys/kernel/iommu_groups/{id}"));
        return Directory.Exists(path) ? new IommuGroup(id, Names($"{path}/devices")) : null;
    }

    /// <summary>Every group, by number.</summary>
    public IReadOnlyList<IommuGroup> ListGroups() =>
    [
        .. from name in Names(PathOf("sys/kernel/iommu_groups"))
           let id = ParseId(name)
           where id is not null
           orderby id
           select FindGroup(id.Value),
    ];

    /// <summary>Last part of what a symbolic link points to; null when there is no such link.</summary>
    public static string? LinkedName(string path) => Explain(path, () => Path.GetFileName(new FileInfo(path).LinkTarget));

    /// <summary>The text of an attribute without white space around it; null when there is no such file.</summary>
    /// <exception cref="VolantException"><c>device_unavailable</c>.</exception>
    public static string? ReadText(string path) => Explain(path, () =>
    {
        if (!File.Exists(path))
        {
            return null;
        }

        using var file = File.OpenHandle(path, FileMode.Open, FileAccess.Read, FileShare.ReadWrite | FileShare.Delete);
        var buffer = new byte[MaxAttribute];
        return Encoding.UTF8.GetString(buffer, 0, RandomAccess.Read(file, buffer, 0)).Trim();
    });

    /// <summary>Turns what the system says of a path into a failure that a caller understands.</summary>
    public static T Explain<T>(string path, Func<T> run)
    {
        try
        {
            return run();
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or System.ComponentModel.Win32Exception)
        {
            throw new VolantException(ErrorCodes.DeviceUnavailable, $"The kernel refused '{path}': {e.Message.TrimEnd('.')}. Passing devices through needs root.", e);
        }
    }

    private static int? GroupOf(string device)
    {
        var name = LinkedName($"{device}/iommu_group");
        return name is null || ReadText($"{device}/iommu_group/name") == WithoutIommu ? null
            : ParseId(name) ?? throw Unreadable($"{device}/iommu_group", name, "a group's number");
    }

    private static int ReadHex(string path, int digits)
    {
        var text = ReadText(path) ?? string.Empty;
        return text.Length == digits + 2 && text.StartsWith("0x", StringComparison.Ordinal) && int.TryParse(text.AsSpan(2), NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture, out var value)
            ? value
            : throw Unreadable(path, text, $"0x and {digits} hex digits");
    }

    private static int? ParseId(string name) => int.TryParse(name, NumberStyles.None, CultureInfo.InvariantCulture, out var id) ? id : null;

    private static IReadOnlyList<string> Names(string directory) => Explain(directory, IReadOnlyList<string> () => Directory.Exists(directory)
        ? [.. Directory.EnumerateFileSystemEntries(directory).Select(path => Path.GetFileName(path)).Order(StringComparer.Ordinal)]
        : []);

    private static VolantException Unreadable(string path, string text, string expected) =>
        new(ErrorCodes.DeviceUnavailable, $"'{path}' says '{(text.Length > 40 ? text[..40] : text)}' where {expected} was expected.");
}
