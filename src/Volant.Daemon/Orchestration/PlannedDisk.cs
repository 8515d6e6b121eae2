using System.Globalization;
using Volant.Contracts;
using Volant.Contracts.Api;
using Volant.Contracts.Manifests;

namespace Volant.Daemon.Orchestration;

/// <summary>A disk that a VM is to have.</summary>
/// <param name="Name">Its name in the VM, and its serial number in the guest.</param>
/// <param name="ReadOnly">Whether the guest may only read it.</param>
/// <param name="Image">The image that it begins with; null for a volume, which has the disk's name.</param>
internal sealed record PlannedDisk(string Name, bool ReadOnly, RootfsMedia? Image)
{
    /// <summary>Name of the root disk.</summary>
    public const string Root = "root";

    /// <summary>Device of the root disk.</summary>
    public const string RootDevice = "vda";

    /// <summary>The disks of a VM in the order that gives each the device that it asks for; adds faults where that cannot be.</summary>
    /// <remarks>A guest names its disks in the order in which they are attached: the first is <c>vda</c>.</remarks>
    /// <param name="rootfs">The root image; null for none.</param>
    /// <param name="disks">Further disks of the manifest.</param>
    /// <param name="volumes">Volumes of the configuration.</param>
    /// <param name="faults">Where faults are added.</param>
    public static IReadOnlyList<PlannedDisk> Order(RootfsMedia? rootfs, IReadOnlyList<ManifestDisk> disks, IReadOnlyList<VolumeAttachment> volumes, List<FieldError> faults)
    {
        List<(PlannedDisk Disk, string? Target, string Path)> wanted = [];
        if (rootfs is not null)
        {
            wanted.Add((new PlannedDisk(Root, ReadOnly: false, rootfs), RootDevice, "rootfs"));
        }

        wanted.AddRange(disks.Select((disk, i) => (
            new PlannedDisk(disk.Name!, disk.Readonly ?? false, new RootfsMedia { Url = disk.Source, Checksum = disk.Checksum, Format = disk.Format }),
            disk.Target,
            string.Create(CultureInfo.InvariantCulture, $"manifest.disks[{i}]"))));
        wanted.AddRange(volumes.Select((volume, i) => (
            new PlannedDisk(volume.Name!, volume.Readonly ?? false, Image: null), volume.Target, string.Create(CultureInfo.InvariantCulture, $"volumes[{i}]"))));
        faults.AddRange(wanted.GroupBy(item => item.Disk.Name, StringComparer.Ordinal).SelectMany(group => group.Skip(1))
            .Select(item => new FieldError($"{item.Path}.name", "is that of a disk of the manifest, too; a guest could not tell them apart")));
        var places = new PlannedDisk?[wanted.Count];
        foreach (var (disk, target, path) in wanted.Where(item => item.Target is not null))
        {
            var place = target![^1] - 'a';
            if (place >= places.Length)
            {
                faults.Add(new FieldError($"{path}.target", $"must be one of vda to vd{(char)('a' + places.Length - 1)}, because the VM has {places.Length.ToString(CultureInfo.InvariantCulture)} disks"));
            }
            else if (places[place] is { } other)
            {
                faults.Add(new FieldError($"{path}.target", $"is {target}, which is the device of disk '{other.Name}'"));
            }
            else
            {
                places[place] = disk;
            }
        }

        if (faults.Count > 0)
        {
            return [];
        }

        foreach (var (disk, _, _) in wanted.Where(item => item.Target is null))
        {
            places[Array.IndexOf(places, null)] = disk;
        }

        return [.. places.OfType<PlannedDisk>()];
    }
}
