using System.Globalization;
using Volant.Contracts.Api;
using Volant.Contracts.Boot;

namespace Volant.Daemon.Hypervisors.Qemu;

/// <summary>Turns a launch specification into a QEMU command line; pure.</summary>
/// <remarks>
/// Two machines. <c>microvm</c>, the default: virtio over MMIO, no firmware tables to walk, the fastest boot. <c>q35</c> when PCI devices
/// are passed through or when the disks need more slots than <c>microvm</c> has.
/// A value never becomes an option: option strings go through <see cref="QemuOption"/>, and the arguments of <c>-kernel</c>,
/// <c>-initrd</c> and <c>-append</c> are taken by QEMU as they are. Identity and control socket come first, before any foreign value,
/// where <see cref="QemuIdentity"/> finds them again.
/// </remarks>
internal static class QemuArguments
{
    /// <summary>Id of the control socket's character device.</summary>
    internal const string ControlDevice = "qmp0";

    /// <summary>How the argument of the vsock device begins.</summary>
    internal const string VsockDevice = "vhost-vsock-";

    /// <summary>Virtio-MMIO slots of <c>microvm</c> with two I/O APICs, which it has with ACPI.</summary>
    private const int MmioSlots = 24;

    /// <summary>Free slots of q35's root bus: 32 less the host bridge and the south bridge.</summary>
    private const int RootBusSlots = 30;

    /// <summary>The kernel takes the TSC's frequency from here instead of measuring it, see <see cref="KernelCommandLine"/>.</summary>
    private const string TscKey = "tsc_early_khz";

    /// <summary>The whole command line, the program first.</summary>
    /// <exception cref="VolantException"><c>unsupported</c> or <c>invalid_request</c>: the specification breaks a limit of QEMU.</exception>
    public static IReadOnlyList<string> Build(LaunchSpec spec, QemuHost host)
    {
        Check(spec);
        var q35 = NeedsQ35(spec);
        var bus = q35 ? "pci" : "device";
        var uid = spec.Uid.ToString();
        List<string> arguments =
        [
            host.Program,
            "-name", QemuOption.Join("", ("guest", uid), ("process", $"volant-{uid[^8..]}"), ("debug-threads", "on")),
            "-uuid", uid,
            "-chardev", Socket(ControlDevice, spec.Paths.ControlSocket),
            "-mon", $"chardev={ControlDevice},mode=control",
            "-machine", q35
                ? "q35,smm=off,vmport=off,dump-guest-core=off,mem-merge=off"
                : "microvm,pcie=on,isa-serial=on,rtc=on,pic=off,dump-guest-core=off,mem-merge=off",
            "-accel", host.Kvm ? "kvm" : "tcg,thread=multi",
            "-cpu", host.Kvm ? "host" : "max",
            "-m", string.Create(CultureInfo.InvariantCulture, $"{spec.MemoryMib}M"),
            "-smp", spec.CpuCores.ToString(CultureInfo.InvariantCulture),
            "-nodefaults", "-no-user-config", "-no-reboot",
            "-display", "none",
            "-sandbox", "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny",
            "-msg", "timestamp=on",
            "-action", "panic=exit-failure",
            "-device", "pvpanic-pci",
        ];
        if (!q35)
        {
            // Without it the devices are "legacy" ones, before virtio 1.0.
            arguments.AddRange(["-global", "virtio-mmio.force-legacy=false"]);
        }

        AddBoot(arguments, spec, host);
        arguments.AddRange(
        [
            "-chardev", Socket("serial0", spec.Paths.SerialSocket, ("logfile", spec.Paths.ConsoleLog), ("logappend", "on")),
            "-serial", "chardev:serial0",
        ]);
        AddAgentLink(arguments, spec, bus);
        for (var i = 0; i < spec.Disks.Count; i++)
        {
            AddDisk(arguments, spec.Disks[i], $"disk{i}", bus);
        }

        if (spec.Nic is { } nic)
        {
            AddNic(arguments, nic, bus, vhost: host is { Kvm: true, VhostNet: true }, q35);
        }

        arguments.AddRange(
        [
            "-object", "rng-random,id=rng0,filename=/dev/urandom",
            "-device", $"virtio-rng-{bus},rng=rng0",
            "-device", $"virtio-balloon-{bus},free-page-reporting=on,deflate-on-oom=on",
        ]);
        AddPciDevices(arguments, spec.PciDevices);
        return arguments;
    }

    /// <summary>The caller's kernel arguments and what the machine needs.</summary>
    /// <remarks>
    /// Under software emulation the kernel's calibration of the TSC fails on a busy host, and <c>microvm</c> has no other clock to
    /// fall back on: the guest hangs without a word. So it is told the frequency. And it is told to trust the counter, which is the host's:
    /// the only other clock counts interrupts, loses those that a busy host delays, and in comparison makes the right one look wrong.
    /// Never under KVM, which has its own clock. Source: Linux, Documentation/admin-guide/kernel-parameters.txt.
    /// </remarks>
    /// <exception cref="VolantException"><c>unsupported</c>: longer than kernels read; <c>invalid_request</c>: a control character or an open quote.</exception>
    public static string KernelCommandLine(LaunchSpec spec, QemuHost host) =>
        spec.KernelCommandLine(host is { Kvm: false, TscKhz: { } khz } ? string.Create(CultureInfo.InvariantCulture, $"{TscKey}={khz} tsc=reliable") : null);

    private static bool NeedsQ35(LaunchSpec spec) => spec.PciDevices.Count > 0 || VirtioDevices(spec) > MmioSlots;

    /// <summary>Agent link, random numbers, balloon, network interface and disks.</summary>
    private static int VirtioDevices(LaunchSpec spec) => 3 + (spec.Nic is null ? 0 : 1) + spec.Disks.Count;

    private static void Check(LaunchSpec spec)
    {
        // One more for the panic device.
        var slots = VirtioDevices(spec) + spec.PciDevices.Count + 1;
        if (NeedsQ35(spec) && slots > RootBusSlots)
        {
            throw new VolantException(
                ErrorCodes.Unsupported,
                $"{spec.Disks.Count} disks and {spec.PciDevices.Count} PCI devices need {slots} slots; QEMU's q35 machine has {RootBusSlots}. Use fewer.");
        }

        spec.Check();
    }

    private static void AddBoot(List<string> arguments, LaunchSpec spec, QemuHost host)
    {
        arguments.AddRange(["-kernel", spec.Kernel]);
        if (spec.Initramfs is { } initramfs)
        {
            arguments.AddRange(["-initrd", initramfs]);
        }

        arguments.AddRange(["-append", KernelCommandLine(spec, host)]);
    }

    private static void AddAgentLink(List<string> arguments, LaunchSpec spec, string bus)
    {
        if (spec.VsockCid is { } cid)
        {
            arguments.AddRange(["-device", string.Create(CultureInfo.InvariantCulture, $"{VsockDevice}{bus},guest-cid={cid}")]);
            return;
        }

        arguments.AddRange(
        [
            "-device", $"virtio-serial-{bus},max_ports=2",
            "-chardev", Socket("agent0", spec.Paths.AgentSocket),
            "-device", $"virtserialport,chardev=agent0,name={GuestLink.PortName}",
        ]);
    }

    private static void AddDisk(List<string> arguments, DiskSpec disk, string name, string bus)
    {
        List<(string, string)> node = [("driver", disk.Format), ("node-name", name), ("discard", "unmap")];
        if (disk.ReadOnly)
        {
            node.AddRange([("read-only", "on"), ("file.read-only", "on")]);
        }

        node.AddRange([("file.driver", "file"), ("file.filename", disk.Path), ("file.locking", "on")]);
        if (disk.Backing is { } backing)
        {
            node.AddRange(
            [
                ("backing.driver", backing.Format), ("backing.read-only", "on"),
                ("backing.file.driver", "file"), ("backing.file.filename", backing.Path), ("backing.file.read-only", "on"), ("backing.file.locking", "on"),
            ]);
        }

        arguments.AddRange(
        [
            "-blockdev", QemuOption.Join("", [.. node]),
            "-device", QemuOption.Join($"virtio-blk-{bus}", ("drive", name), ("serial", disk.Serial)),
        ]);
    }

    private static void AddNic(List<string> arguments, NicSpec nic, string bus, bool vhost, bool q35)
    {
        List<(string, string)> backend = [("id", "net0"), ("ifname", nic.Tap), ("script", "no"), ("downscript", "no")];
        if (vhost)
        {
            backend.Add(("vhost", "on"));
        }

        List<(string, string)> device = [("netdev", "net0"), ("mac", nic.Mac)];
        if (q35)
        {
            // No boot ROM: nothing boots from the network, and distributions package the ROMs apart.
            device.Add(("romfile", ""));
        }

        arguments.AddRange(["-netdev", QemuOption.Join("tap", [.. backend]), "-device", QemuOption.Join($"virtio-net-{bus}", [.. device])]);
    }

    /// <summary>Each behind a root port of its own, as on a real board: drivers expect an endpoint there.</summary>
    private static void AddPciDevices(List<string> arguments, IReadOnlyList<string> addresses)
    {
        for (var i = 0; i < addresses.Count; i++)
        {
            arguments.AddRange(
            [
                "-device", string.Create(CultureInfo.InvariantCulture, $"pcie-root-port,id=port{i},chassis={i + 1}"),
                "-device", QemuOption.Join("vfio-pci", ("host", addresses[i]), ("bus", $"port{i}")),
            ]);
        }
    }

    private static string Socket(string id, string path, params ReadOnlySpan<(string, string)> more) =>
        QemuOption.Join("socket", [("id", id), ("path", path), ("server", "on"), ("wait", "off"), .. more]);
}
