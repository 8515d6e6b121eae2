namespace Volant.Fledge.Manifests;

/// <summary>Which medium of a manifest a build makes.</summary>
internal enum BootMedium
{
    /// <summary>The initramfs.</summary>
    Initramfs,

    /// <summary>The root disk.</summary>
    Rootfs,
}
