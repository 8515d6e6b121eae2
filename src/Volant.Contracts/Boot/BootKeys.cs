namespace Volant.Contracts.Boot;

/// <summary>Keys of the kernel command line that the agent reads (contract §6).</summary>
public static class BootKeys
{
    /// <summary>The manifest, see <see cref="ManifestCodec"/>, or <see cref="InInitrd"/>.</summary>
    public const string Manifest = "volant.manifest";

    /// <summary>Value of <see cref="Manifest"/> when the manifest is the file <see cref="ManifestFile"/> of the initramfs.</summary>
    public const string InInitrd = "@initrd";

    /// <summary>Where the manifest lies in the initramfs: plain JSON, mode 0600.</summary>
    public const string ManifestFile = "/volant/manifest.json";

    /// <summary>Runtime family.</summary>
    public const string Runtime = "volant.runtime";

    /// <summary>Plugin name.</summary>
    public const string Plugin = "volant.plugin";

    /// <summary>Address that the agent's TCP listener binds; absent means no TCP listener.</summary>
    public const string ApiHost = "volant.api_host";

    /// <summary>Port of the agent's TCP listener.</summary>
    public const string ApiPort = "volant.api_port";

    /// <summary>Boot path: <c>auto</c>, <c>initramfs</c> or <c>rootfs</c>.</summary>
    public const string Boot = "volant.boot";

    /// <summary>Root image reference, for people; the image itself is <see cref="RootfsDevice"/>.</summary>
    public const string Rootfs = "volant.rootfs";

    /// <summary>Checksum of the root image.</summary>
    public const string RootfsChecksum = "volant.rootfs_checksum";

    /// <summary>Device of the root disk; default <c>vda</c>.</summary>
    public const string RootfsDevice = "volant.rootfs_device";

    /// <summary>File system of the root disk; default <c>ext4</c>.</summary>
    public const string RootfsFstype = "volant.rootfs_fstype";

    /// <summary>Serial number of the disk with the cloud-init seed; no word of the command line.</summary>
    public const string SeedSerial = "cidata";

    /// <summary><c>closed</c>: the agent serves nothing, and does not start the workload, before it got its identity, see <see cref="Api.IdentifyRequest"/>. Absent or <c>open</c> otherwise.</summary>
    public const string Gate = "volant.gate";

    /// <summary>Static network configuration, see <see cref="IpArgument"/>.</summary>
    public const string Ip = "ip";

    /// <summary>IPv6 address with the length of its prefix, a comma, and the gateway: <c>fd3c:51a0:77ee::c0a8:7f02/64,fd3c:51a0:77ee::c0a8:7f01</c>.</summary>
    public const string Ip6 = "volant.ip6";

    /// <summary>Host name; a standard kernel parameter, set here also when there is no <see cref="Ip"/>.</summary>
    public const string Hostname = "hostname";
}
