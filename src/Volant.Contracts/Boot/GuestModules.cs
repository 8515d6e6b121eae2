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

    /// <summary>File systems of root disks, and what they look up by name without saying so in <c>modules.dep</c>. Loaded when a root disk needs them.</summary>
    public static IReadOnlyList<string> RootFileSystems { get; } = ["crc32c_generic", "crc32c_intel", "ext4", "xfs", "btrfs", "squashfs", "overlay"];

    /// <summary>All that travels with a kernel.</summary>
    public static IReadOnlyList<string> Packed { get; } = [.. Essential, .. RootFileSystems];
}
