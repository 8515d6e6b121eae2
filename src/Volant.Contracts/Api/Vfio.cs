using System.Text.Json.Serialization;

namespace Volant.Contracts.Api;

/// <summary>Body of <c>POST /api/v1/vfio/devices/info</c>.</summary>
[JsonUnmappedMemberHandling(JsonUnmappedMemberHandling.Disallow)]
public sealed record VfioDeviceRequest
{
    /// <summary>PCI address, <c>0000:01:00.0</c>.</summary>
    public string? PciAddress { get; init; }
}

/// <summary>Body of the other routes below <c>/api/v1/vfio/devices</c>.</summary>
[JsonUnmappedMemberHandling(JsonUnmappedMemberHandling.Disallow)]
public sealed record VfioDevicesRequest
{
    /// <summary>PCI addresses, <c>0000:01:00.0</c>. <c>iommu-groups</c> lists every group of the host when there are none.</summary>
    public IReadOnlyList<string>? PciAddresses { get; init; }

    /// <summary><c>vendor:device</c> or <c>vendor:*</c>: what the caller allows, within what the operator allows. Counts for <c>validate</c> and <c>bind</c>.</summary>
    public IReadOnlyList<string>? Allowlist { get; init; }
}

/// <summary>A PCI device of the host.</summary>
public sealed record VfioDeviceInfo
{
    /// <summary>PCI address.</summary>
    public required string Address { get; init; }

    /// <summary>Vendor id, four hex digits.</summary>
    public required string Vendor { get; init; }

    /// <summary>Device id, four hex digits.</summary>
    public required string Device { get; init; }

    /// <summary>Driver that it is bound to; empty for none.</summary>
    public required string Driver { get; init; }

    /// <summary>Number of its IOMMU group; empty without an IOMMU.</summary>
    public required string IommuGroup { get; init; }

    /// <summary>NUMA node; -1 when the host does not say.</summary>
    public required string NumaNode { get; init; }
}

/// <summary>Answer of <c>POST /api/v1/vfio/devices/validate</c>.</summary>
public sealed record VfioValidation
{
    /// <summary>Whether the devices could be bound now.</summary>
    public required bool Valid { get; init; }

    /// <summary>The outcome in words.</summary>
    public string? Message { get; init; }

    /// <summary>Everything that stands against it.</summary>
    public IReadOnlyList<string>? Errors { get; init; }
}

/// <summary>An IOMMU group of the host: what can only be passed through together.</summary>
public sealed record VfioGroup
{
    /// <summary>Number of the group.</summary>
    public required string Id { get; init; }

    /// <summary>Every device of the group, bridges included.</summary>
    public required IReadOnlyList<string> Devices { get; init; }
}

/// <summary>Answer of <c>POST /api/v1/vfio/devices/bind</c>.</summary>
public sealed record VfioBinding
{
    /// <summary>True: what cannot be bound is a problem response.</summary>
    public required bool Success { get; init; }

    /// <summary>The outcome in words.</summary>
    public string? Message { get; init; }

    /// <summary>Devices that are bound to vfio-pci, those of the same groups included.</summary>
    public required IReadOnlyList<string> BoundDevices { get; init; }
}

/// <summary>Answer of <c>POST /api/v1/vfio/devices/unbind</c>.</summary>
public sealed record VfioUnbinding
{
    /// <summary>Whether every device has its original driver again.</summary>
    public required bool Success { get; init; }

    /// <summary>The outcome in words.</summary>
    public string? Message { get; init; }

    /// <summary>Devices that vfio-pci has let go of, those of the same groups included.</summary>
    public required IReadOnlyList<string> UnboundDevices { get; init; }
}

/// <summary>Answer of <c>POST /api/v1/vfio/devices/group-paths</c>.</summary>
public sealed record VfioGroupPaths
{
    /// <summary>Device node of each group, <c>/dev/vfio/7</c>.</summary>
    public required IReadOnlyList<string> GroupPaths { get; init; }
}
