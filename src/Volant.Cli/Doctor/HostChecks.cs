using System.Globalization;
using Volant.Cli.Api;
using Volant.Cli.Output;
using Volant.Linux.Kernel;
using Volant.Linux.Networking;

namespace Volant.Cli.Doctor;

/// <summary>Checks of this host: what volantd needs here, by the variables it reads (contract §7).</summary>
/// <param name="variable">Reads an environment variable.</param>
/// <param name="root">Directory that stands for <c>/</c>; tests have their own.</param>
internal sealed class HostChecks(Func<string, string?> variable, string root = "/")
{
    private const long LeastDisk = 1L << 30;
    private const long GoodDisk = 5L << 30;
    private const string Firmware = "enable virtualisation in the firmware (or nested virtualisation of the VM that this is) and load the module: modprobe kvm_intel or kvm_amd";

    private static readonly string[] Hypervisors = ["qemu-system-x86_64", "qemu-system-aarch64", "cloud-hypervisor"];
    private static readonly string[] ProgramDirectories = ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"];

    /// <summary>All of them, in the order of a start.</summary>
    public IEnumerable<Check> Run() => [Kvm(), Hypervisor(), ImageTool(), Kernel(), Disk(), PacketFilter(), Forwarding(), OpenSslLibrary()];

    private Check Kvm()
    {
        var device = At("/dev/kvm");
        if (!File.Exists(device))
        {
            return new Check("kvm", CheckResult.Warning, "/dev/kvm is not there: guests are emulated, which is many times slower.", Firmware);
        }

        try
        {
            using var opened = File.OpenHandle(device, FileMode.Open, FileAccess.ReadWrite, FileShare.ReadWrite);
            return CpuFeatures.HaveVirtualisation(File.ReadAllText(At("/proc/cpuinfo")))
                ? new Check("kvm", CheckResult.Ok, "/dev/kvm is usable.")
                : new Check("kvm", CheckResult.Warning, "/dev/kvm is there, but the processor offers no virtualisation (no vmx or svm in /proc/cpuinfo): guests are emulated, which is many times slower.", Firmware);
        }
        catch (Exception e) when (e is UnauthorizedAccessException or IOException)
        {
            return new Check("kvm", CheckResult.Warning, $"/dev/kvm cannot be opened by this user: {e.Message}", "add the user that runs volantd to the group kvm: usermod -aG kvm USER");
        }
    }

    private Check Hypervisor()
    {
        if (variable("VOLANT_HYPERVISOR") is { Length: > 0 } set && set.StartsWith('/'))
        {
            return File.Exists(At(set))
                ? new Check("hypervisor", CheckResult.Ok, $"VOLANT_HYPERVISOR is {set}.")
                : new Check("hypervisor", CheckResult.Failed, $"VOLANT_HYPERVISOR is {set}, which does not exist.", "correct it, or unset it to take what is installed");
        }

        var found = Hypervisors.Select(FindProgram).OfType<string>().ToArray();
        return found.Length > 0
            ? new Check("hypervisor", CheckResult.Ok, $"Found {string.Join(", ", found)}.")
            : new Check("hypervisor", CheckResult.Failed, "Neither QEMU nor Cloud Hypervisor is installed.", "install the package qemu-system-x86 (Debian, Ubuntu) or qemu-kvm (Fedora)");
    }

    private Check ImageTool() => FindProgram("qemu-img") is { } program
        ? new Check("qemu-img", CheckResult.Ok, $"Found {program}.")
        : new Check("qemu-img", CheckResult.Warning, "qemu-img is not installed; VMs with disks cannot be made.", "install the package qemu-utils (Debian, Ubuntu) or qemu-img (Fedora)");

    private Check Kernel()
    {
        string[] kernels = [variable("VOLANT_KERNEL_VMLINUX") ?? "/var/lib/volant/kernel/vmlinux", variable("VOLANT_KERNEL_BZIMAGE") ?? "/var/lib/volant/kernel/bzImage"];
        return kernels.FirstOrDefault(kernel => File.Exists(At(kernel))) is { } found
            ? new Check("kernel", CheckResult.Ok, $"Found {found}.")
            : new Check("kernel", CheckResult.Warning, $"Neither {kernels[0]} nor {kernels[1]} exists.", "scripts/kernel.sh DIR fetches one; VOLANT_KERNEL_BZIMAGE says where it is. volantd may know of another place than this shell");
    }

    private Check Disk()
    {
        var home = variable("HOME") is { Length: > 0 } set ? set : "/root";
        var directory = Path.GetDirectoryName(variable("VOLANT_DB_PATH") ?? Path.Combine(home, ".volant", "state.db"));
        while (directory is { Length: > 1 } && !Directory.Exists(At(directory)))
        {
            directory = Path.GetDirectoryName(directory);
        }

        try
        {
            var free = new DriveInfo(At(directory ?? "/")).AvailableFreeSpace;
            var text = string.Create(CultureInfo.InvariantCulture, $"{Amounts.Bytes(free)} are free at {directory}.");
            return free < LeastDisk ? new Check("disk", CheckResult.Failed, text, "free some space: boot media and overlays of VMs need it")
                : free < GoodDisk ? new Check("disk", CheckResult.Warning, text, "free some space soon: boot media and overlays of VMs need it")
                : new Check("disk", CheckResult.Ok, text);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or ArgumentException)
        {
            return new Check("disk", CheckResult.Skipped, $"The free space at {directory} cannot be told: {e.Message}");
        }
    }

    private Check PacketFilter() => variable("VOLANT_FIREWALL") == "off" ? new Check("packet-filter", CheckResult.Warning, "VOLANT_FIREWALL is off: guests with a network may pose as others and reach this host.", "unset it")
        : Nftables.IsAvailable ? new Check("packet-filter", CheckResult.Ok, "libnftables can be loaded.")
        : new Check("packet-filter", CheckResult.Warning, "libnftables.so.1 is not installed; VMs with a network are refused.", "install the package libnftables1 (Debian, Ubuntu) or nftables-libs (Fedora)");

    private Check Forwarding()
    {
        try
        {
            return File.ReadAllText(At("/proc/sys/net/ipv4/ip_forward")).Trim() != "0"
                ? new Check("forwarding", CheckResult.Ok, "This host forwards packets of guests.")
                : new Check("forwarding", CheckResult.Warning, "This host forwards no packets (net.ipv4.ip_forward is 0): guests reach nothing beyond it.", "sysctl -w net.ipv4.ip_forward=1; volar setup keeps it so");
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return new Check("forwarding", CheckResult.Skipped, $"Whether this host forwards packets cannot be told: {e.Message}");
        }
    }

    private static Check OpenSslLibrary()
    {
        try
        {
            OpenSsl.Require("https");
            return new Check("openssl", CheckResult.Ok, "OpenSSL can be loaded.");
        }
        catch (CliException e)
        {
            return new Check("openssl", CheckResult.Warning, e.Message, "without it volar cannot use https and cannot upload boot media");
        }
    }

    private string? FindProgram(string name) => (variable("PATH")?.Split(':', StringSplitOptions.RemoveEmptyEntries) ?? [])
        .Concat(ProgramDirectories)
        .Select(directory => Path.Combine(directory, name))
        .FirstOrDefault(path => File.Exists(At(path)));

    private string At(string path) => root == "/" ? path : root + path;
}
