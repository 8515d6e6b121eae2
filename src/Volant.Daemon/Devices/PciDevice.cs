namespace Volant.Daemon.Devices;

/// <summary>A PCI device as the kernel shows it at one moment.</summary>
internal sealed record PciDevice
{
    private const int BridgeClass = 0x06;

    /// <summary>Its address.</summary>
    public required PciAddress Address { get; init; }

    /// <summary>Vendor id, four hex digits.</summary>
    public required string Vendor { get; init; }

    /// <summary>Device id, four hex digits.</summary>
    public required string Device { get; init; }

    /// <summary>Class code of 24 bits: base class, subclass, programming interface.</summary>
    public required int Class { get; init; }

    /// <summary>Driver that it is bound to.</summary>
    public string? Driver { get; init; }

    /// <summary>The only driver that it may be bound to.</summary>
    public string? DriverOverride { get; init; }

    /// <summary>Number of its IOMMU group; null when no IOMMU guards it.</summary>
    public int? Group { get; init; }

    /// <summary>NUMA node; null when the host does not say.</summary>
    public int? NumaNode { get; init; }

    /// <summary>Whether the firmware shows its messages on it.</summary>
    public bool IsBootVga { get; init; }

    /// <summary>Vendor and device as an allow-list writes them.</summary>
    public string Id => $"{Vendor}:{Device}";

    /// <summary>A bridge of any kind: it belongs to the board and is never passed through.</summary>
    public bool IsBridge => Class >> 16 == BridgeClass;

    /// <summary>Whether VFIO accepts that it stays with the host: a bridge whose driver, if any, does no DMA of its own.</summary>
    /// <remarks>Linux, drivers that set <c>driver_managed_dma</c>.</remarks>
    public bool IsHarmless => IsBridge && Driver is null or "pcieport" or "pci-stub";

    /// <summary>Whether an allow-list names it, by address, <c>vendor:device</c> or <c>vendor:*</c>.</summary>
    public bool IsIn(IReadOnlyList<string> allowlist) => allowlist.Any(entry => entry == Id || entry == $"{Vendor}:*" || entry == Address.ToString());

    /// <summary>Address and ids, for messages.</summary>
    public override string ToString() => $"{Address} ({Id})";
}
