using Volant.Daemon.Hypervisors;
using Volant.Daemon.Hypervisors.Qemu;

namespace Volant.Tests.Hypervisors;

/// <summary>Launch specifications and hosts to start from.</summary>
internal static class Specs
{
    public static LaunchSpec Plain { get; } = new()
    {
        Uid = Guid.Parse("01997a5e-1c00-7000-8000-0123456789ab"),
        CpuCores = 2,
        MemoryMib = 512,
        Kernel = "/var/lib/volant/kernel/vmlinux",
        Initramfs = "/var/lib/volant/media/agent.cpio.gz",
        KernelArguments = "console=ttyS0 reboot=t panic=-1 quiet",
        Paths = new VmPaths("/run/volant/vms/vaaaa", "/var/log/volant/vaaaa"),
    };

    public static QemuHost Emulated { get; } = new("/usr/bin/qemu-system-x86_64", new Version(7, 2, 22), Kvm: false, Vsock: false, VhostNet: false, 2096020);

    public static QemuHost Accelerated { get; } = new("/usr/bin/qemu-system-x86_64", new Version(9, 2), Kvm: true, Vsock: true, VhostNet: true, 2096020);
}
