namespace Volant.Contracts.Boot;

/// <summary>A driver of devices that a guest may have.</summary>
/// <param name="Name">Name of the module.</param>
/// <param name="Devices">How the <c>modalias</c> of its devices begins (Linux, Documentation/ABI/testing/sysfs-bus-*); null to load it wherever it is.</param>
public sealed record GuestDriver(string Name, string? Devices);

/// <summary>The kernel modules that a guest needs on a modular distribution kernel, by module name with underscores.</summary>
/// <remarks>Dependencies come from <c>modules.dep</c>; a module that the kernel has built in, or does not know, is skipped.</remarks>
public static class GuestModules
{
    /// <summary>Drivers that are looked for at every boot, in this order: buses before what they bring to light.</summary>
    public static IReadOnlyList<GuestDriver> Drivers { get; } =
    [
        // Where a kernel is told of these devices on its command line, nothing but this module knows of them.
        new("virtio_mmio", null),
        new("virtio_pci", "pci:v00001AF4"),
        new("pvpanic_pci", "pci:v00001B36d00000011"),
        new("button", "acpi:PNP0C0C:"),
        new("evdev", "acpi:PNP0C0C:"), // reads the button
        new("virtio_net", "virtio:d00000001"),
        new("virtio_blk", "virtio:d00000002"),
        new("virtio_console", "virtio:d00000003"),
        new("virtio_rng", "virtio:d00000004"),
        new("vmw_vsock_virtio_transport", "virtio:d00000013"),
    ];

    /// <summary>Names of <see cref="Drivers"/>.</summary>
    public static IReadOnlyList<string> Essential { get; } = [.. Drivers.Select(driver => driver.Name)];

    /// <summary>File systems of root disks and of cloud-init seeds, and what they look up by name without saying so in <c>modules.dep</c>. Loaded when a guest has such a disk.</summary>
    public static IReadOnlyList<string> RootFileSystems { get; } = ["crc32c_generic", "crc32c_intel", "ext4", "xfs", "btrfs", "squashfs", "overlay", .. Seed];

    /// <summary>The file system of a cloud-init seed, with the code page and the character set that the kernel takes for it.</summary>
    public static IReadOnlyList<string> Seed => ["vfat", "nls_cp437", "nls_ascii"];

    /// <summary>What a guest with a root disk may need.</summary>
    public static IReadOnlyList<string> All { get; } = [.. Essential, .. RootFileSystems];

    /// <summary>Where the modules of a kernel are looked for, the best place first: each is an initramfs segment that is complete by itself.</summary>
    /// <param name="kernel">Path of the kernel.</param>
    /// <param name="hasRootDisk">Whether the guest boots from a disk; the file systems for that are ten times as large as all the rest.</param>
    public static IReadOnlyList<string> SegmentsOf(string kernel, bool hasRootDisk) =>
        hasRootDisk ? [$"{kernel}.disks.cpio", $"{kernel}.modules.cpio"] : [$"{kernel}.modules.cpio"];
}
