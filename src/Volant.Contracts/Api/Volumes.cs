using System.Globalization;
using System.Text.Json.Serialization;
using Volant.Contracts.Manifests;

namespace Volant.Contracts.Api;

/// <summary>A disk with a name that outlives VMs. It begins empty; what a guest writes to it stays until it is deleted.</summary>
public sealed record Volume
{
    /// <summary>Number of the volume, never used again.</summary>
    public required long Id { get; init; }

    /// <summary>Unique name, and serial number of the disk in a guest.</summary>
    public required string Name { get; init; }

    /// <summary>Identity that names its file on the host.</summary>
    public required Guid Uid { get; init; }

    /// <summary>Size in MiB.</summary>
    public required int SizeMb { get; init; }

    /// <summary>VMs whose configuration names it, by name.</summary>
    public required IReadOnlyList<string> AttachedTo { get; init; }

    /// <summary>When it was created.</summary>
    public required DateTimeOffset CreatedAt { get; init; }

    /// <summary>When it last changed.</summary>
    public required DateTimeOffset UpdatedAt { get; init; }
}

/// <summary>Body of <c>POST /api/v1/volumes</c>.</summary>
[JsonUnmappedMemberHandling(JsonUnmappedMemberHandling.Disallow)]
public sealed record CreateVolumeRequest
{
    /// <summary>A DNS label of at most <see cref="ManifestRules.MaxDiskName"/> characters.</summary>
    public string? Name { get; init; }

    /// <summary>Size in MiB, 1 to <see cref="VolumeRules.MaxSizeMib"/>.</summary>
    public int? SizeMb { get; init; }
}

/// <summary>Body of <c>PATCH /api/v1/volumes/{volume}</c>.</summary>
[JsonUnmappedMemberHandling(JsonUnmappedMemberHandling.Disallow)]
public sealed record ResizeVolumeRequest
{
    /// <summary>New size in MiB, not smaller than the old one.</summary>
    public int? SizeMb { get; init; }
}

/// <summary>A volume that a VM has while it runs. Many may read it, or one may write to it.</summary>
[JsonUnmappedMemberHandling(JsonUnmappedMemberHandling.Disallow)]
public sealed record VolumeAttachment
{
    /// <summary>Name of the volume.</summary>
    public string? Name { get; init; }

    /// <summary>Whether the guest may only read it; false when absent.</summary>
    public bool? Readonly { get; init; }

    /// <summary>Device name wanted in the guest, as in <see cref="ManifestDisk.Target"/>.</summary>
    public string? Target { get; init; }
}

/// <summary>Rules of volumes. Pure; reports every fault at once.</summary>
public static class VolumeRules
{
    /// <summary>Largest size in MiB: 16 TiB, the largest file of ext4.</summary>
    public const int MaxSizeMib = (16 * 1024 * 1024) - 1;

    /// <summary>Faults of a request to create one.</summary>
    public static IReadOnlyList<FieldError> Validate(CreateVolumeRequest request)
    {
        ArgumentNullException.ThrowIfNull(request);
        var faults = new FaultList();
        faults.Require(ManifestRules.IsDiskName(request.Name), "name", ManifestRules.DiskNameRule);
        faults.Range("size_mb", request.SizeMb, 1, MaxSizeMib);
        return faults.All;
    }

    /// <summary>Faults of a request to resize one.</summary>
    public static IReadOnlyList<FieldError> Validate(ResizeVolumeRequest request)
    {
        ArgumentNullException.ThrowIfNull(request);
        var faults = new FaultList();
        faults.Range("size_mb", request.SizeMb, 1, MaxSizeMib);
        return faults.All;
    }

    /// <summary>Trims and lower-cases.</summary>
    public static IReadOnlyList<VolumeAttachment>? Normalise(IReadOnlyList<VolumeAttachment>? volumes) => volumes?.Select(volume => volume is null ? null! : volume with
    {
        Name = volume.Name?.Trim(),
        Target = volume.Target?.Trim().ToLowerInvariant() is { Length: > 0 } target ? target : null,
    }).ToArray();

    /// <summary>Checks the volumes of a configuration.</summary>
    internal static void Validate(FaultList faults, string path, IReadOnlyList<VolumeAttachment>? volumes)
    {
        faults.Require(volumes is null or { Count: <= ManifestRules.MaxDisks }, path, string.Create(CultureInfo.InvariantCulture, $"must be at most {ManifestRules.MaxDisks}"));
        var names = new HashSet<string>(StringComparer.Ordinal);
        foreach (var (i, volume) in (volumes ?? []).Index())
        {
            var at = string.Create(CultureInfo.InvariantCulture, $"{path}[{i}]");
            if (volume is null)
            {
                faults.Add(at, "must be an object");
                continue;
            }

            faults.Require(ManifestRules.IsDiskName(volume.Name), $"{at}.name", ManifestRules.DiskNameRule);
            faults.Require(volume.Name is not { } name || names.Add(name), $"{at}.name", "is listed twice");
            faults.Require(volume.Target is null || ManifestRules.IsDiskDevice(volume.Target), $"{at}.target", "must be a device such as 'vdb'");
        }
    }
}
