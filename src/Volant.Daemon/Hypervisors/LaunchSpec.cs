using System.Text;
using Volant.Contracts.Api;
using Volant.Contracts.Boot;
using Volant.Linux.Processes;

namespace Volant.Daemon.Hypervisors;

/// <summary>Everything a launcher needs, complete and immutable: what is not in it, a launcher cannot know.</summary>
internal sealed record LaunchSpec
{
    /// <summary>Identity of the VM; part of the process's command line, so that an orphan names its owner.</summary>
    public required Guid Uid { get; init; }

    /// <summary>Virtual CPUs, 1 or more.</summary>
    public required int CpuCores { get; init; }

    /// <summary>Guest memory in MiB.</summary>
    public required int MemoryMib { get; init; }

    /// <summary>Kernel image: bzImage, or ELF with a PVH note. Read in place, never copied.</summary>
    public required string Kernel { get; init; }

    /// <summary>Initial RAM filesystem, if any. Read in place.</summary>
    public string? Initramfs { get; init; }

    /// <summary>Kernel arguments without what the machine itself needs; the launcher appends that and checks the length.</summary>
    public required string KernelArguments { get; init; }

    /// <summary>Disks in the order that the guest sees them.</summary>
    public IReadOnlyList<DiskSpec> Disks { get; init; } = [];

    /// <summary>Ethernet interface, if any.</summary>
    public NicSpec? Nic { get; init; }

    /// <summary>Vsock context id when guests are reached over vsock; null for the virtio-serial link.</summary>
    public long? VsockCid { get; init; }

    /// <summary>PCI devices to pass through, as addresses.</summary>
    public IReadOnlyList<string> PciDevices { get; init; } = [];

    /// <summary>Whose rights the hypervisor has; the daemon's own when null.</summary>
    public ProcessUser? User { get; init; }

    /// <summary>Directory of the control group that the hypervisor is put into; null for that of the daemon.</summary>
    public string? ControlGroup { get; init; }

    /// <summary>What the hypervisor may read and write in a second: a line of <c>io.max</c>; null for no limit.</summary>
    public string? IoMax { get; init; }

    /// <summary>Where the sockets and logs of this VM lie.</summary>
    public required VmPaths Paths { get; init; }

    /// <summary>The kernel arguments, and in front of them what the machine needs: they may end in "-- arguments for init".</summary>
    /// <exception cref="VolantException"><c>unsupported</c>: longer than kernels read; <c>invalid_request</c>: a control character or an open quote.</exception>
    public string KernelCommandLine(string? machine)
    {
        var line = new KernelCommandLine();
        try
        {
            line.AddRaw(machine).AddRaw(KernelArguments);
        }
        catch (FormatException e)
        {
            throw new VolantException(ErrorCodes.InvalidRequest, e.Message, e);
        }

        return line.ByteCount <= Contracts.Boot.KernelCommandLine.MaxBytes
            ? line.ToString()
            : throw new VolantException(
                ErrorCodes.Unsupported,
                $"The kernel command line has {line.ByteCount} bytes; kernels read at most {Contracts.Boot.KernelCommandLine.MaxBytes}. " +
                "Shorten the kernel arguments or the manifest.");
    }

    /// <summary>Makes sure of what every hypervisor wants.</summary>
    /// <exception cref="VolantException"><c>unsupported</c> or <c>invalid_request</c>: a value breaks a limit; the message names it.</exception>
    public void Check()
    {
        foreach (var disk in Disks)
        {
            if (new[] { disk.Format, disk.Backing?.Format ?? DiskSpec.Raw }.FirstOrDefault(format => format is not (DiskSpec.Raw or DiskSpec.Qcow2)) is { } format)
            {
                throw new VolantException(ErrorCodes.Unsupported, $"The disk '{disk.Path}' has the format '{format}'; use raw or qcow2.");
            }

            if (Encoding.UTF8.GetByteCount(disk.Serial) > DiskSpec.MaxSerial)
            {
                throw new VolantException(ErrorCodes.Unsupported, $"The disk serial '{disk.Serial}' is longer than {DiskSpec.MaxSerial} bytes; shorten it.");
            }
        }

        foreach (var socket in Paths.Sockets)
        {
            if (Encoding.UTF8.GetByteCount(socket) > VmPaths.MaxSocketPath)
            {
                throw new VolantException(
                    ErrorCodes.Unsupported,
                    $"The socket path '{socket}' has {Encoding.UTF8.GetByteCount(socket)} bytes; the kernel allows {VmPaths.MaxSocketPath}. " +
                    "Set VOLANT_RUNTIME_DIR to a shorter directory.");
            }
        }

        var values = Disks.SelectMany(disk => new[] { disk.Path, disk.Backing?.Path, disk.Serial }).Concat(PciDevices)
            .Concat([Kernel, Initramfs, Nic?.Tap, Nic?.Mac, Paths.Directory, Paths.LogDirectory]);
        if (values.FirstOrDefault(value => value?.Contains('\0', StringComparison.Ordinal) is true) is { } bad)
        {
            throw new VolantException(ErrorCodes.InvalidRequest, $"'{bad.Replace("\0", "\\0", StringComparison.Ordinal)}' holds a NUL character.");
        }
    }
}

/// <summary>A disk of a VM.</summary>
/// <param name="Path">Image file on the host.</param>
/// <param name="Format">"raw" or "qcow2"; never detected.</param>
/// <param name="ReadOnly">Whether the guest may only read it.</param>
/// <param name="Serial">Serial number that identifies it in the guest, at most 20 characters.</param>
/// <param name="Backing">The image that it is an overlay of; null when it stands for itself.</param>
internal sealed record DiskSpec(string Path, string Format, bool ReadOnly, string Serial, DiskBacking? Backing = null)
{
    /// <summary>The format without any structure.</summary>
    public const string Raw = "raw";

    /// <summary>QEMU's copy-on-write format.</summary>
    public const string Qcow2 = "qcow2";

    /// <summary>Longest serial number in bytes (virtio 1.2, 5.2.6.1).</summary>
    public const int MaxSerial = 20;
}

/// <summary>The image below an overlay; only read. What the overlay's own header says of it is not used.</summary>
/// <param name="Path">Image file on the host.</param>
/// <param name="Format">"raw" or "qcow2"; it must stand for itself.</param>
internal sealed record DiskBacking(string Path, string Format);

/// <summary>An Ethernet interface of a VM.</summary>
/// <param name="Tap">Name of an existing tap interface on the host.</param>
/// <param name="Mac">MAC address that the guest sees, <c>02:…</c>.</param>
internal sealed record NicSpec(string Tap, string Mac);

/// <summary>The files of one VM, all derived from its identity.</summary>
/// <param name="Directory">Absolute runtime directory of this VM alone (mode 0700): sockets.</param>
/// <param name="LogDirectory">Absolute log directory of this VM alone (mode 0700).</param>
internal sealed record VmPaths(string Directory, string LogDirectory)
{
    /// <summary>Longest path of a unix socket in bytes (<c>sun_path</c> less the terminator).</summary>
    public const int MaxSocketPath = 107;

    /// <summary>Control socket of the hypervisor: QMP, or Cloud Hypervisor's REST API.</summary>
    public string ControlSocket => Path.Combine(Directory, "control.sock");

    /// <summary>Serial console.</summary>
    public string SerialSocket => Path.Combine(Directory, "serial.sock");

    /// <summary>Host end of the guest channel: virtio-serial port, or Cloud Hypervisor's vsock.</summary>
    public string AgentSocket => Path.Combine(Directory, "agent.sock");

    /// <summary>Serial console as the hypervisor serves it, where the daemon stands between it and <see cref="SerialSocket"/>.</summary>
    public string HypervisorSerialSocket => Path.Combine(Directory, "uart.sock");

    /// <summary>All of them.</summary>
    public IEnumerable<string> Sockets => [ControlSocket, SerialSocket, AgentSocket, HypervisorSerialSocket];

    /// <summary>Initramfs of this VM alone, when its manifest travels inside it (mode 0600).</summary>
    public string Initramfs => Path.Combine(Directory, "initramfs");

    /// <summary>What the hypervisor says happened, where it writes that to a file.</summary>
    public string EventLog => Path.Combine(Directory, "events.json");

    /// <summary>All that the guest wrote to its serial console, appended across restarts.</summary>
    public string ConsoleLog => Path.Combine(LogDirectory, "console.log");

    /// <summary>Standard output and error of the hypervisor.</summary>
    public string HypervisorLog => Path.Combine(LogDirectory, "hypervisor.log");
}
