namespace Volant.Contracts.Boot;

/// <summary>The kernel modules that a guest needs on a modular distribution kernel, by module name with underscores.</summary>
/// <remarks>Dependencies come from <c>modules.dep</c>; a module that the kernel has built in, or does not know, is skipped.</remarks>
public static class GuestModules
{
    /// <summary>Loaded at every boot, in this order.</summary>
    public static IReadOnlyList<string> Essential { get; } =
    [
        "virtio_mmio", "virtio_pci", "virtio_console", "virtio_rng", "virtio_blk", "virtio_net",
        "vmw_vsock_virtio_transport", "button", "evdev", "pvpanic_pci",
    ];

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
