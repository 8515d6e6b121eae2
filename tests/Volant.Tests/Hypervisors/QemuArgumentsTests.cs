using Volant.Contracts.Api;
using Volant.Daemon;
using Volant.Daemon.Hypervisors;
using Volant.Daemon.Hypervisors.Qemu;

namespace Volant.Tests.Hypervisors;

public sealed class QemuArgumentsTests
{
    private const string Head = """
        /usr/bin/qemu-system-x86_64
        -name guest=01997a5e-1c00-7000-8000-0123456789ab,process=volant-456789ab,debug-threads=on
        -uuid 01997a5e-1c00-7000-8000-0123456789ab
        -chardev socket,id=qmp0,path=/run/volant/vms/vaaaa/control.sock,server=on,wait=off
        -mon chardev=qmp0,mode=control

        """;

    private const string Machine = """
        -m 512M
        -smp 2
        -nodefaults
        -no-user-config
        -no-reboot
        -display none
        -sandbox on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny
        -msg timestamp=on
        -action panic=exit-failure
        -device pvpanic-pci

        """;

    private const string Serial = """
        -chardev socket,id=serial0,path=/run/volant/vms/vaaaa/serial.sock,server=on,wait=off,logfile=/var/log/volant/vaaaa/console.log,logappend=on
        -serial chardev:serial0

        """;

    [Fact]
    public void Build_for_microvm_under_emulation_is_golden() => AssertGolden(
        Head + """
        -machine microvm,pcie=on,isa-serial=on,rtc=on,pic=off,dump-guest-core=off,mem-merge=off
        -accel tcg,thread=multi
        -cpu max

        """ + Machine + """
        -global virtio-mmio.force-legacy=false
        -kernel /var/lib/volant/kernel/vmlinux
        -initrd /var/lib/volant/media/agent.cpio.gz
        -append tsc_early_khz=2096020 console=ttyS0 reboot=t panic=-1 quiet

        """ + Serial + """
        -device virtio-serial-device,max_ports=2
        -chardev socket,id=agent0,path=/run/volant/vms/vaaaa/agent.sock,server=on,wait=off
        -device virtserialport,chardev=agent0,name=org.volant.agent.0
        -object rng-random,id=rng0,filename=/dev/urandom
        -device virtio-rng-device,rng=rng0
        -device virtio-balloon-device,free-page-reporting=on,deflate-on-oom=on
        """,
        QemuArguments.Build(Specs.Plain, Specs.Emulated));

    [Fact]
    public void Build_for_microvm_with_kvm_and_vsock_is_golden() => AssertGolden(
        Head + """
        -machine microvm,pcie=on,isa-serial=on,rtc=on,pic=off,dump-guest-core=off,mem-merge=off
        -accel kvm
        -cpu host

        """ + Machine + """
        -global virtio-mmio.force-legacy=false
        -kernel /var/lib/volant/kernel/vmlinux
        -append console=ttyS0 reboot=t panic=-1 quiet

        """ + Serial + """
        -device vhost-vsock-device,guest-cid=4711
        -object rng-random,id=rng0,filename=/dev/urandom
        -device virtio-rng-device,rng=rng0
        -device virtio-balloon-device,free-page-reporting=on,deflate-on-oom=on
        """,
        QemuArguments.Build(Specs.Plain with { VsockCid = 4711, Initramfs = null }, Specs.Accelerated));

    [Fact]
    public void Build_with_disks_and_network_is_golden() => AssertGolden(
        Head + """
        -machine microvm,pcie=on,isa-serial=on,rtc=on,pic=off,dump-guest-core=off,mem-merge=off
        -accel tcg,thread=multi
        -cpu max

        """ + Machine + """
        -global virtio-mmio.force-legacy=false
        -kernel /var/lib/volant/kernel/vmlinux
        -initrd /var/lib/volant/media/agent.cpio.gz
        -append tsc_early_khz=2096020 console=ttyS0 reboot=t panic=-1 quiet

        """ + Serial + """
        -device virtio-serial-device,max_ports=2
        -chardev socket,id=agent0,path=/run/volant/vms/vaaaa/agent.sock,server=on,wait=off
        -device virtserialport,chardev=agent0,name=org.volant.agent.0
        -blockdev driver=qcow2,node-name=disk0,discard=unmap,file.driver=file,file.filename=/var/lib/volant/a,,b.qcow2,file.locking=on,backing.driver=raw,backing.read-only=on,backing.file.driver=file,backing.file.filename=/var/cache/im,,age,backing.file.read-only=on,backing.file.locking=on
        -device virtio-blk-device,drive=disk0,serial=root
        -blockdev driver=raw,node-name=disk1,discard=unmap,read-only=on,file.read-only=on,file.driver=file,file.filename=/run/volant/seed.img,file.locking=on
        -device virtio-blk-device,drive=disk1,serial=cidata
        -netdev tap,id=net0,ifname=vaaaa,script=no,downscript=no
        -device virtio-net-device,netdev=net0,mac=02:00:00:00:00:01
        -object rng-random,id=rng0,filename=/dev/urandom
        -device virtio-rng-device,rng=rng0
        -device virtio-balloon-device,free-page-reporting=on,deflate-on-oom=on
        """,
        QemuArguments.Build(
            Specs.Plain with
            {
                Disks = [new DiskSpec("/var/lib/volant/a,b.qcow2", "qcow2", false, "root", new DiskBacking("/var/cache/im,age", "raw")), new DiskSpec("/run/volant/seed.img", "raw", true, "cidata")],
                Nic = new NicSpec("vaaaa", "02:00:00:00:00:01"),
            },
            Specs.Emulated));

    [Fact]
    public void Build_with_a_passed_through_device_is_golden() => AssertGolden(
        Head + """
        -machine q35,smm=off,vmport=off,dump-guest-core=off,mem-merge=off
        -accel kvm
        -cpu host

        """ + Machine + """
        -kernel /var/lib/volant/kernel/vmlinux
        -initrd /var/lib/volant/media/agent.cpio.gz
        -append console=ttyS0 reboot=t panic=-1 quiet

        """ + Serial + """
        -device vhost-vsock-pci,guest-cid=3
        -blockdev driver=raw,node-name=disk0,discard=unmap,file.driver=file,file.filename=/d.raw,file.locking=on
        -device virtio-blk-pci,drive=disk0,serial=data
        -netdev tap,id=net0,ifname=vaaaa,script=no,downscript=no,vhost=on
        -device virtio-net-pci,netdev=net0,mac=02:00:00:00:00:01,romfile=
        -object rng-random,id=rng0,filename=/dev/urandom
        -device virtio-rng-pci,rng=rng0
        -device virtio-balloon-pci,free-page-reporting=on,deflate-on-oom=on
        -device pcie-root-port,id=port0,chassis=1
        -device vfio-pci,host=0000:01:00.0,bus=port0
        """,
        QemuArguments.Build(
            Specs.Plain with
            {
                VsockCid = 3,
                PciDevices = ["0000:01:00.0"],
                Disks = [new DiskSpec("/d.raw", "raw", false, "data")],
                Nic = new NicSpec("vaaaa", "02:00:00:00:00:01"),
            },
            Specs.Accelerated));

    [Theory]
    [InlineData(21, "microvm")]
    [InlineData(22, "q35")]
    [InlineData(26, "q35")]
    public void Build_takes_q35_when_the_disks_do_not_fit_microvm(int disks, string machine)
    {
        var arguments = QemuArguments.Build(WithDisks(disks), Specs.Emulated);

        Assert.StartsWith(machine + ",", arguments[arguments.ToList().IndexOf("-machine") + 1], StringComparison.Ordinal);
    }

    [Fact]
    public void Build_refuses_more_disks_than_q35_has_slots() =>
        AssertRefused(ErrorCodes.Unsupported, "27 disks", () => QemuArguments.Build(WithDisks(27), Specs.Emulated));

    [Fact]
    public void Build_refuses_a_socket_path_of_108_bytes_but_not_of_107()
    {
        var directory = "/run/" + new string('x', 107 - "/run/".Length - "/control.sock".Length);
        QemuArguments.Build(Specs.Plain with { Paths = new VmPaths(directory, "/l") }, Specs.Emulated);

        AssertRefused(
            ErrorCodes.Unsupported,
            "108 bytes",
            () => QemuArguments.Build(Specs.Plain with { Paths = new VmPaths(directory + "x", "/l") }, Specs.Emulated));
    }

    [Fact]
    public void Build_refuses_what_QEMU_would_misread()
    {
        AssertRefused(ErrorCodes.Unsupported, "vmdk", () => QemuArguments.Build(
            Specs.Plain with { Disks = [new DiskSpec("/d", "vmdk", false, "d")] }, Specs.Emulated));
        AssertRefused(ErrorCodes.Unsupported, "vhdx", () => QemuArguments.Build(
            Specs.Plain with { Disks = [new DiskSpec("/d", "qcow2", false, "d", new DiskBacking("/b", "vhdx"))] }, Specs.Emulated));
        AssertRefused(ErrorCodes.Unsupported, "longer than 20", () => QemuArguments.Build(
            Specs.Plain with { Disks = [new DiskSpec("/d", "raw", false, new string('s', 21))] }, Specs.Emulated));
        AssertRefused(ErrorCodes.InvalidRequest, "NUL", () => QemuArguments.Build(
            Specs.Plain with { Kernel = "/boot/vmlinux\0-monitor" }, Specs.Emulated));
        AssertRefused(ErrorCodes.InvalidRequest, "control character", () => QemuArguments.Build(
            Specs.Plain with { KernelArguments = "quiet\npanic=0" }, Specs.Emulated));
    }

    [Theory]
    [InlineData(false, 2047)]
    [InlineData(true, 2047)]
    public void KernelCommandLine_counts_what_the_machine_adds(bool kvm, int longest)
    {
        var host = kvm ? Specs.Accelerated : Specs.Emulated;
        var added = kvm ? 0 : "tsc_early_khz=2096020 ".Length;
        var fits = Specs.Plain with { KernelArguments = "ä" + new string('x', longest - added - 2) };

        Assert.EndsWith("xx", QemuArguments.KernelCommandLine(fits, host), StringComparison.Ordinal);
        AssertRefused(
            ErrorCodes.Unsupported,
            "2048 bytes",
            () => QemuArguments.KernelCommandLine(fits with { KernelArguments = fits.KernelArguments + "x" }, host));
    }

    private static LaunchSpec WithDisks(int count) => Specs.Plain with
    {
        Disks = [.. Enumerable.Range(0, count).Select(i => new DiskSpec($"/d{i}", "raw", false, $"d{i}"))],
    };

    private static void AssertRefused(string code, string words, Action action)
    {
        var refusal = Assert.Throws<VolantException>(action);
        Assert.Equal(code, refusal.Code);
        Assert.Contains(words, refusal.Message, StringComparison.Ordinal);
    }

    /// <summary>One option a line: a line break before each argument that starts with a dash.</summary>
    private static void AssertGolden(string expected, IReadOnlyList<string> arguments) => Assert.Equal(
        expected.ReplaceLineEndings("\n"),
        arguments.Skip(1).Aggregate(arguments[0], (text, argument) => text + (argument.StartsWith('-') ? '\n' : ' ') + argument));
}
