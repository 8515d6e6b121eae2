using System.Globalization;
using System.Runtime.CompilerServices;
using Volant.Cli.Api;
using Volant.Cli.Output;
using Volant.Linux.Kernel;

namespace Volant.Cli.Doctor;

/// <summary>Checks of this host: what volantd needs here, by the variables it reads (contract §7).</summary>
/// <param name="root">The host's files and programs.</param>
/// <param name="clock">Limits how long a program may take to say its version.</param>
internal sealed class HostChecks(HostRoot root, TimeProvider clock)
{
    /// <summary>Name of the check of <c>net.ipv4.ip_forward</c>.</summary>
    public const string Forwarding = "forwarding";

    private const int LeastCloudHypervisor = 52;
    private const long LeastDisk = 1L << 30;
    private const long GoodDisk = 5L << 30;
    private const string Firmware = "enable virtualisation in the firmware (or nested virtualisation of the VM that this is) and load the module: modprobe kvm_intel or kvm_amd";

    private static readonly string[] Hypervisors = ["qemu-system-x86_64", "qemu-system-aarch64", "cloud-hypervisor"];
    private static readonly string[] LibraryDirectories = ["/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu", "/usr/lib64", "/usr/lib", "/lib/x86_64-linux-gnu", "/lib/aarch64-linux-gnu", "/lib64", "/lib"];
    private static readonly string[] SubordinateIds = ["/etc/subuid", "/etc/subgid"];
    private static readonly TimeSpan VersionLimit = TimeSpan.FromSeconds(5);

    /// <summary>All of them, in the order of a start.</summary>
    public async IAsyncEnumerable<Check> RunAsync([EnumeratorCancellation] CancellationToken cancellationToken)
    {
        yield return Kvm();
        yield return Hypervisor();
        if (root.FindProgram("cloud-hypervisor") is { } program)
        {
            yield return await CloudHypervisorAsync(program, cancellationToken);
        }

        yield return ImageTool();
        yield return Kernel();
        yield return ControlGroups();
        yield return HypervisorUsers();
        yield return Vsock();
        yield return Forward();
        yield return PacketFilter();
        yield return DhcpServer();
        yield return Disk();
        yield return OpenSslLibrary();
    }

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
        if (root.Variable("VOLANT_HYPERVISOR") is { } set && set.StartsWith('/'))
        {
            return File.Exists(At(set))
                ? new Check("hypervisor", CheckResult.Ok, $"VOLANT_HYPERVISOR is {set}.")
                : new Check("hypervisor", CheckResult.Failed, $"VOLANT_HYPERVISOR is {set}, which does not exist.", "correct it, or unset it to take what is installed");
        }

        var found = Hypervisors.Select(root.FindProgram).OfType<string>().ToArray();
        return found.Length > 0
            ? new Check("hypervisor", CheckResult.Ok, $"Found {string.Join(", ", found)}.")
            : new Check("hypervisor", CheckResult.Failed, "Neither QEMU nor Cloud Hypervisor is installed.", "install the package qemu-system-x86 (Debian, Ubuntu) or qemu-kvm (Fedora)");
    }

    private Check ImageTool() => root.FindProgram("qemu-img") is { } program
        ? new Check("qemu-img", CheckResult.Ok, $"Found {program}.")
        : new Check("qemu-img", CheckResult.Warning, "qemu-img is not installed; VMs with disks cannot be made.", "install the package qemu-utils (Debian, Ubuntu) or qemu-img (Fedora)");

    private Check Kernel()
    {
        string[] kernels = [root.Variable("VOLANT_KERNEL_VMLINUX") ?? "/var/lib/volant/kernel/vmlinux", root.Variable("VOLANT_KERNEL_BZIMAGE") ?? "/var/lib/volant/kernel/bzImage"];
        return kernels.FirstOrDefault(kernel => File.Exists(At(kernel))) is { } found
            ? new Check("kernel", CheckResult.Ok, $"Found {found}.")
            : new Check("kernel", CheckResult.Warning, $"Neither {kernels[0]} nor {kernels[1]} exists.", "scripts/kernel.sh DIR fetches one; VOLANT_KERNEL_BZIMAGE says where it is. volantd may know of another place than this shell");
    }

    private Check Disk()
    {
        var home = root.Variable("HOME") ?? "/root";
        var directory = Path.GetDirectoryName(root.Variable("VOLANT_DB_PATH") ?? Path.Combine(home, ".volant", "state.db"));
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

    private async Task<Check> CloudHypervisorAsync(string program, CancellationToken cancellationToken)
    {
        const string Name = "cloud-hypervisor";
        using var late = new CancellationTokenSource(VersionLimit, clock);
        using var limit = CancellationTokenSource.CreateLinkedTokenSource(late.Token, cancellationToken);
        string output;
        try
        {
            (_, output) = await HostProgram.RunAsync(root.At(program), ["--version"], [], limit.Token);
        }
        catch (OperationCanceledException) when (!cancellationToken.IsCancellationRequested)
        {
            output = $"no answer within {VersionLimit.TotalSeconds:F0} s";
        }
        catch (CliException e)
        {
            output = e.Message;
        }

        // cloud-hypervisor v52.0.0
        var version = output.Split(' ', StringSplitOptions.RemoveEmptyEntries).FirstOrDefault(word => word.Length > 1 && word[0] == 'v' && char.IsAsciiDigit(word[1]))?.Split('\n')[0];
        return !int.TryParse(version?[1..].Split('.')[0], NumberStyles.None, CultureInfo.InvariantCulture, out var major) ? new Check(Name, CheckResult.Warning, $"The version of {program} cannot be told: {output}", "install a release of Cloud Hypervisor, or remove that program")
            : major < LeastCloudHypervisor ? new Check(Name, CheckResult.Warning, $"{program} is {version}, older than v{LeastCloudHypervisor}.", $"install Cloud Hypervisor v{LeastCloudHypervisor} or later; QEMU serves as well")
            : new Check(Name, CheckResult.Ok, $"{program} is {version}.");
    }

    private Check ControlGroups() => File.Exists(At("/sys/fs/cgroup/cgroup.controllers"))
        ? new Check("cgroups", CheckResult.Ok, "Control groups are version 2.")
        : new Check("cgroups", CheckResult.Warning, "Control groups are not version 2 (no /sys/fs/cgroup/cgroup.controllers): what VMs use cannot be limited.", "boot with systemd.unified_cgroup_hierarchy=1, or a distribution of 2021 or later");

    /// <summary>Whether the users of hypervisors are theirs alone: what <c>subuid(5)</c> gives to a person's containers could signal and trace them.</summary>
    private Check HypervisorUsers()
    {
        const string Name = "users", Default = "200000-265535";
        var range = root.Variable("VOLANT_VM_UIDS") ?? Default;
        if (range.Split('-') is not [var from, var to] || !long.TryParse(from, CultureInfo.InvariantCulture, out var first) || !long.TryParse(to, CultureInfo.InvariantCulture, out var last))
        {
            return new Check(Name, CheckResult.Skipped, $"VOLANT_VM_UIDS is {range}.");
        }

        var others =
            from file in SubordinateIds
            where File.Exists(At(file))
            from line in File.ReadLines(At(file))
            let fields = line.Split(':')
            where fields.Length == 3 && long.TryParse(fields[1], CultureInfo.InvariantCulture, out var start) && long.TryParse(fields[2], CultureInfo.InvariantCulture, out var count) && start <= last && first < start + count
            select $"{file} gives some of them to {fields[0]}";
        return others.FirstOrDefault() is { } taken
            ? new Check(Name, CheckResult.Warning, $"Hypervisors run as the users {range}, but {taken}, whose containers could disturb VMs.", "set VOLANT_VM_UIDS to a range that nobody has, such as 1900000000-1900065535")
            : new Check(Name, CheckResult.Ok, $"The users {range} are free for hypervisors.");
    }

    private Check Vsock() => File.Exists(At("/dev/vhost-vsock"))
        ? new Check("vsock", CheckResult.Ok, "/dev/vhost-vsock is there.")
        : new Check("vsock", CheckResult.Warning, "/dev/vhost-vsock is not there: QEMU's guests are reached over a serial port.", "modprobe vhost_vsock, and name it in /etc/modules-load.d");

    private Check Forward() => root.ReadWord("/proc/sys/net/ipv4/ip_forward") switch
    {
        "1" => new Check(Forwarding, CheckResult.Ok, "The host forwards IPv4."),
        null => new Check(Forwarding, CheckResult.Skipped, "/proc/sys/net/ipv4/ip_forward cannot be read."),
        _ => new Check(Forwarding, CheckResult.Warning, "The host forwards no IPv4 (net.ipv4.ip_forward is 0): bridged VMs reach nothing beyond it.", "volar setup, or sysctl -w net.ipv4.ip_forward=1"),
    };

    private Check PacketFilter() => LibraryDirectories.Select(directory => Path.Combine(directory, "libnftables.so.1")).FirstOrDefault(path => File.Exists(At(path))) is { } library
        ? new Check("nftables", CheckResult.Ok, $"Found {library}.")
        : new Check("nftables", CheckResult.Warning, "libnftables.so.1 is not installed: there are no packet filters for bridged VMs.", "install the package libnftables1 (Debian, Ubuntu) or nftables (Fedora)");

    private Check DhcpServer() => root.FindProgram("dnsmasq") is { } program
        ? new Check("dnsmasq", CheckResult.Ok, $"Found {program}.")
        : new Check("dnsmasq", CheckResult.Warning, "dnsmasq is not installed: nobody answers guests that ask for an address by DHCP.", "install the package dnsmasq-base (Debian, Ubuntu) or dnsmasq (Fedora); needed for network mode dhcp only");

    private string At(string path) => root.At(path);
}
