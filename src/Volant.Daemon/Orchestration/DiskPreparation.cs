using Volant.Contracts.Api;
using Volant.Contracts.Boot;
using Volant.Contracts.Manifests;
using Volant.Daemon.Artifacts;
using Volant.Daemon.CloudInit;
using Volant.Daemon.Hypervisors;
using Volant.Daemon.Networking;
using Volant.Daemon.Store;

namespace Volant.Daemon.Orchestration;

/// <summary>The disks of a VM: images into the cache, overlays on them, and what a launcher is told.</summary>
/// <remarks>
/// A disk is made once, from the image that its VM names then, and is never made again: what a guest wrote outlives every stop, crash
/// and restart, and an image that changes later changes no disk. No launch reads or copies an image.
/// </remarks>
internal sealed class DiskPreparation(BootImages images, ArtifactCache cache, VolumeKeeper volumes, SeedImage seeds, VolantStore store, HostResources resources, DaemonOptions options)
{
    /// <summary>Brings the images of the disks that are not there yet into the cache, and checks them.</summary>
    /// <param name="plan">The plan.</param>
    /// <param name="known">Disks that the VM has already.</param>
    /// <param name="cancellationToken">Gives up.</param>
    /// <returns>One record for each disk of the plan that comes from an image.</returns>
    /// <exception cref="VolantException">An image is missing, not allowed or not what it should be.</exception>
    public async Task<IReadOnlyList<DiskRecord>> StageAsync(LaunchPlan plan, IReadOnlyList<DiskRecord> known, CancellationToken cancellationToken)
    {
        var records = new List<DiskRecord>();
        foreach (var disk in plan.Disks.Where(disk => disk.Image is not null))
        {
            records.Add(known.FirstOrDefault(record => record.Name == disk.Name && record.IsMade) ?? await StageAsync(disk, cancellationToken));
        }

        return records;
    }

    /// <summary>Makes what is not there yet, and tells what the launcher attaches.</summary>
    /// <param name="vm">The VM; its disks are recorded.</param>
    /// <param name="plan">The plan.</param>
    /// <exception cref="VolantException"><c>disk_missing</c>: a file that a guest may have written to is gone; <c>disk_full</c>.</exception>
    public async Task<IReadOnlyList<DiskSpec>> MakeAsync(VmRecord vm, LaunchPlan plan)
    {
        var records = store.ListDisks(vm.Id).ToDictionary(record => record.Name, StringComparer.Ordinal);
        List<DiskSpec> specs = [.. plan.Disks.Select(disk => disk.Image is null
            ? new DiskSpec(volumes.Open(store.GetVolume(disk.Name)), DiskFormats.Raw, disk.ReadOnly, disk.Name)
            : Make(vm, disk, records[disk.Name]))];
        var made = plan.Disks.Where(disk => records.TryGetValue(disk.Name, out var record) && record is { ReadOnly: false, IsMade: false }).Select(disk => disk.Name).ToArray();
        if (made.Length > 0)
        {
            await store.SetDisksMadeAsync(vm.Id, made, CancellationToken.None);
        }

        var seed = Path.Combine(resources.DisksOf(vm.Vm.Uid), "seed.img");
        if (plan.CloudInit is { } documents)
        {
            await WriteSeedAsync(seed, documents, vm, plan);
            specs.Add(new DiskSpec(seed, DiskFormats.Raw, ReadOnly: true, BootKeys.SeedSerial));
        }
        else if (Directory.Exists(resources.DisksOf(vm.Vm.Uid)))
        {
            // Of an earlier configuration; it may hold secrets.
            File.Delete(seed);
        }

        return specs;
    }

    /// <summary>The seed is written at every start, so that it is always that of the configuration.</summary>
    private async Task WriteSeedAsync(string path, Contracts.Manifests.CloudInit documents, VmRecord vm, LaunchPlan plan)
    {
        var network = plan.NetworkMode == NetworkModes.Bridged
            ? new SeedNetwork(
                vm.Vm.MacAddress,
                [
                    ($"{vm.Vm.IpAddress}/{options.Subnet.PrefixLength}", options.HostIp.ToString()),
                    .. vm.Vm.Ipv6Address is { } ipv6 && options.IPv6 is { } prefix ? new[] { ($"{ipv6}/{UniqueLocalPrefix.Length}", prefix.AddressOf(options.HostIp).ToString()) } : [],
                ],
                resources.NameServer?.ToString())
            : null;
        try
        {
            await seeds.WriteAsync(path, SeedDocuments.Build(documents, new SeedInstance(vm.Vm.Uid, vm.Name, network)));
        }
        catch (IOException e) when (ArtifactCache.IsDiskFull(e))
        {
            throw new VolantException(ErrorCodes.DiskFull, $"The disk that holds '{path}' is full; free space and try again.", e);
        }
    }

    private async Task<DiskRecord> StageAsync(PlannedDisk disk, CancellationToken cancellationToken)
    {
        var format = disk.Image!.Format ?? DiskFormats.Raw;
        var media = await images.StageAsync(disk.Image, cancellationToken);
        _ = SizeOf(media.Path, format, disk.Image.Url!);
        return new DiskRecord(disk.Name, media.Sha256, format, disk.ReadOnly);
    }

    private DiskSpec Make(VmRecord vm, PlannedDisk disk, DiskRecord record)
    {
        var image = cache.PathOf(record.Sha256);
        if (!File.Exists(image))
        {
            throw new VolantException(
                ErrorCodes.ArtifactNotFound,
                $"The image {record.Sha256} below disk '{disk.Name}' of VM '{vm.Name}' is gone from the artifact cache; upload it again (PUT /api/v1/artifacts/{record.Sha256}), what the guest wrote is kept.");
        }

        if (record.ReadOnly)
        {
            return new DiskSpec(image, record.Format, ReadOnly: true, disk.Name);
        }

        var path = Path.Combine(resources.DisksOf(vm.Vm.Uid), $"{disk.Name}.qcow2");
        if (!record.IsMade)
        {
            MakeOverlay(path, image, record);
        }
        else if (!File.Exists(path))
        {
            throw new VolantException(
                ErrorCodes.DiskMissing, $"The disk '{disk.Name}' of VM '{vm.Name}' is gone from '{path}', and what the guest wrote with it; put it back from a copy, or delete the VM.");
        }

        return new DiskSpec(path, DiskFormats.Qcow2, disk.ReadOnly, disk.Name, new DiskBacking(image, record.Format));
    }

    /// <summary>Whatever lies there is of an attempt that did not get as far as a launch.</summary>
    private static void MakeOverlay(string path, string image, DiskRecord record)
    {
        try
        {
            File.Delete(path);
            Qcow2Image.CreateOverlay(path, image, record.Format, SizeOf(image, record.Format, image));
        }
        catch (IOException e) when (ArtifactCache.IsDiskFull(e))
        {
            throw new VolantException(ErrorCodes.DiskFull, $"The disk that holds '{path}' is full; free space and try again.", e);
        }
    }

    private static long SizeOf(string path, string format, string name)
    {
        if (format == DiskFormats.Qcow2)
        {
            return Qcow2Image.Check(path, name);
        }

        Span<byte> start = stackalloc byte[Qcow2Image.Magic.Length];
        using var file = File.OpenHandle(path);
        var length = RandomAccess.GetLength(file);
        return RandomAccess.Read(file, start, 0) == start.Length && start.SequenceEqual(Qcow2Image.Magic)
            ? throw new VolantException(ErrorCodes.InvalidMedia, $"The image '{name}' is a qcow2 image, but its format is given as raw; set the format to 'qcow2'.")
            : length is > 0 and <= Qcow2Image.MaxBytes ? length
            : throw new VolantException(ErrorCodes.InvalidMedia, $"The image '{name}' has {length} bytes; a disk needs 1 to {Qcow2Image.MaxBytes}.");
    }
}
