using System.Globalization;

namespace Volant.Daemon.Hypervisors.CloudHypervisor;

/// <summary>Turns a launch specification into the bodies of <c>vm.create</c> and <c>vm.add-net</c>; pure.</summary>
internal static class VmConfigBuilder
{
    private const long Mebibyte = 1 << 20;

    /// <summary>The first version that calls the identity of the machine <c>system_uuid</c>.</summary>
    private static readonly Version SystemUuidSince = new(53, 0);

    /// <summary>The whole body.</summary>
    /// <remarks>
    /// An overlay's header names the image below it, which is allowed for overlays alone: the daemon wrote that header, and no guest can
    /// reach it. Passed-through devices need files that no rule can name beforehand, so with them nothing is confined.
    /// </remarks>
    /// <exception cref="VolantException"><c>unsupported</c> or <c>invalid_request</c>: the specification breaks a limit.</exception>
    public static VmConfigBody Build(LaunchSpec spec, CloudHypervisorHost host)
    {
        spec.Check();
        var uid = spec.Uid.ToString("D");
        var confined = host.Landlock && spec.PciDevices.Count == 0;
        return new VmConfigBody(
            new PayloadBody(spec.Kernel, KernelCommandLine(spec), spec.Initramfs),
            new CpusBody(spec.CpuCores, spec.CpuCores),
            new MemoryBody(spec.MemoryMib * Mebibyte, Mergeable: false, Shared: false, Hugepages: false, Prefault: false, Thp: true),
            spec.Disks.Count > 0 ? [.. spec.Disks.Select(Disk)] : null,
            spec.VsockCid is { } cid ? new VsockBody(cid, spec.Paths.AgentSocket, "vsock0") : null,
            new SerialBody("Socket", spec.Paths.HypervisorSerialSocket),
            new ConsoleBody("Off"),
            new RngBody("/dev/urandom"),
            new BalloonBody(0, DeflateOnOom: true, FreePageReporting: true),
            spec.PciDevices.Count > 0 ? [.. spec.PciDevices.Select(Device)] : null,
            host.Version >= SystemUuidSince ? new PlatformBody(uid, null) : new PlatformBody(null, uid),
            Iommu: false,
            Watchdog: false,
            Pvpanic: true,
            LandlockEnable: confined,
            confined ? [.. Rules(spec)] : null);
    }

    /// <summary>The network card: one pair of queues, as the tap has.</summary>
    public static NetBody Net(NicSpec nic) => new(nic.Mac, "net0", NumQueues: 2, QueueSize: 256);

    /// <summary>The kernel arguments: this machine needs none of its own.</summary>
    /// <exception cref="VolantException"><c>unsupported</c>: longer than kernels read; <c>invalid_request</c>: a control character or an open quote.</exception>
    public static string KernelCommandLine(LaunchSpec spec) => spec.KernelCommandLine(machine: null);

    private static DiskBody Disk(DiskSpec disk, int index) => new(
        disk.Path, disk.ReadOnly, disk.Format == DiskSpec.Qcow2 ? "Qcow2" : "Raw", disk.Backing is not null, string.Create(CultureInfo.InvariantCulture, $"disk{index}"), disk.Serial);

    private static DeviceBody Device(string address, int index) =>
        new($"/sys/bus/pci/devices/{address}", string.Create(CultureInfo.InvariantCulture, $"device{index}"));

    /// <summary>What Cloud Hypervisor opens: files of the specification by their names, sockets by their directory, because they are not there yet.</summary>
    private static IEnumerable<LandlockBody> Rules(LaunchSpec spec)
    {
        yield return new LandlockBody(spec.Paths.Directory, "rw");
        yield return new LandlockBody("/dev/kvm", "rw");
        yield return new LandlockBody("/dev/urandom", "r");
        yield return new LandlockBody(spec.Kernel, "r");
        if (spec.Initramfs is { } initramfs)
        {
            yield return new LandlockBody(initramfs, "r");
        }

        foreach (var disk in spec.Disks)
        {
            yield return new LandlockBody(disk.Path, disk.ReadOnly ? "r" : "rw");
            if (disk.Backing is { } backing)
            {
                yield return new LandlockBody(backing.Path, "r");
            }
        }
    }
}
