using System.Net;
using System.Text;
using Volant.Contracts.Api;
using Volant.Contracts.Boot;
using Volant.Contracts.Manifests;
using Volant.Daemon.Artifacts;
using Volant.Daemon.Hypervisors;
using Volant.Daemon.Networking;
using Volant.Daemon.Store;
using Volant.Linux.Files;

namespace Volant.Daemon.Orchestration;

/// <summary>Kernel and initramfs of a launch, staged and checked before anything is recorded.</summary>
/// <param name="Kernel">Kernel image.</param>
/// <param name="Initramfs">Initramfs in the cache, unpacked, kernel modules included.</param>
internal sealed record StagedBoot(string Kernel, string Initramfs);

/// <summary>Turns a plan into what a launcher needs: stages the boot media and writes what the guest is told (design §6).</summary>
internal sealed class BootPreparation(BootImages images, HostResources resources, DaemonOptions options, Subnet subnet)
{
    /// <summary>Finds the kernel and brings the initramfs into the cache.</summary>
    /// <exception cref="VolantException">A medium is missing, not allowed or not what it should be.</exception>
    public async Task<StagedBoot> StageAsync(LaunchPlan plan, CancellationToken cancellationToken)
    {
        var kernel = await FindKernelAsync(plan, cancellationToken);
        var initramfs = plan.Initramfs is { } media ? await images.StageAsync(media, cancellationToken) : await images.StageAgentAsync(options.Agent, cancellationToken);
        BootFiles.CheckKernel(kernel);
        BootFiles.CheckInitramfs(initramfs.Path);
        var modules = GuestModules.SegmentsOf(kernel, hasRootDisk: plan.Rootfs is not null).FirstOrDefault(File.Exists);
        return new StagedBoot(kernel, await images.ComposeAsync(modules, initramfs, cancellationToken));
    }

    /// <summary>The whole specification of a launch.</summary>
    /// <remarks>Writes the private initramfs when the manifest does not fit on the command line, or holds what must not stand there.</remarks>
    public LaunchSpec Specify(VmRecord vm, LaunchPlan plan, StagedBoot boot, VmPaths paths, NicSpec? nic, IReadOnlyList<DiskSpec> disks, IHypervisorLauncher launcher)
    {
        var spec = new LaunchSpec
        {
            Uid = vm.Vm.Uid,
            CpuCores = plan.CpuCores,
            MemoryMib = plan.MemoryMib,
            Kernel = boot.Kernel,
            Initramfs = boot.Initramfs,
            KernelArguments = string.Empty,
            Disks = disks,
            Nic = nic,
            VsockCid = launcher.Capabilities.Vsock ? vm.Vm.VsockCid : null,
            PciDevices = plan.Devices,
            ControlGroup = HostResources.GroupOf(options, vm.Vm.Uid),
            IoMax = options.IoMax is { } limits ? $"{DiskOf(options.StateDirectory)} {limits}" : null,
            User = options.VmUserOf(vm.Id),
            Paths = paths,
        };
        // The documents may hold secrets, and travel in the seed.
        var manifest = plan.Manifest with { CloudInit = null };
        if (manifest.Workload?.Env is not { Count: > 0 } && Fit(spec, Arguments(vm, plan, ManifestCodec.Encode(manifest)), launcher) is { } whole)
        {
            return whole;
        }

        var apart = Fit(spec with { Initramfs = paths.Initramfs }, Arguments(vm, plan, BootKeys.InInitrd), launcher) ?? throw new VolantException(
            ErrorCodes.Unsupported, $"The kernel command line has more than {KernelCommandLine.MaxBytes} bytes even without the manifest; shorten kernel_cmdline or runtime.")
        {
            Fields = [new("config.kernel_cmdline", "is too long")],
        };
        BootImages.Prepend(paths.Initramfs, CpioSegment(manifest), boot.Initramfs);
        return apart;
    }

    private static string DiskOf(string directory)
    {
        using var handle = DirectoryHandle.Open(directory);
        return DiskNumber.Of(handle.Stat().Device) ?? throw new VolantException(
            ErrorCodes.HypervisorUnavailable, $"VOLANT_IO_MAX cannot be kept: '{directory}' lies on a file system without a disk of its own, such as btrfs, overlay or tmpfs. Set VOLANT_IO_MAX=none, or VOLANT_DB_PATH to a place on another one.");
    }

    /// <summary>The specification with its kernel's words; null when the kernel would not read them all.</summary>
    private static LaunchSpec? Fit(LaunchSpec spec, KernelCommandLine line, IHypervisorLauncher launcher)
    {
        if (line.ByteCount > KernelCommandLine.MaxBytes)
        {
            return null;
        }

        spec = spec with { KernelArguments = line.ToString() };
        return Fits(spec, launcher) ? spec : null;
    }

    private static bool Fits(LaunchSpec spec, IHypervisorLauncher launcher)
    {
        try
        {
            return Encoding.UTF8.GetByteCount(launcher.KernelCommandLine(spec)) <= KernelCommandLine.MaxBytes;
        }
        catch (VolantException e) when (e.Code == ErrorCodes.Unsupported)
        {
            return false;
        }
    }

    private KernelCommandLine Arguments(VmRecord vm, LaunchPlan plan, string manifest)
    {
        var line = new KernelCommandLine()
            .Add("console", "ttyS0").Add("reboot", "k").Add("panic", "1").Add("quiet").Add("loglevel", "1")

            // The last one counts: a reset by the keyboard's controller, which not every machine has, left a guest hanging once.
            .Add("reboot", "t")

            // The distribution's kernel checks its own ciphers at every boot, which takes a tenth of it (Documentation/admin-guide/kernel-parameters.txt).
            .Add("cryptomgr.notests")
            .Add(BootKeys.Runtime, plan.Runtime)
            .Add(BootKeys.Plugin, plan.Manifest.Name)
            .Add(BootKeys.Hostname, vm.Name);
        if (plan.NetworkMode == NetworkModes.Bridged)
        {
            line.Add(BootKeys.Ip, IpArgument.Static(IPAddress.Parse(vm.Vm.IpAddress), options.HostIp, subnet.PrefixLength, vm.Name, resources.NameServer).ToString());
        }
        else if (plan.NetworkMode == NetworkModes.Dhcp)
        {
            line.Add(BootKeys.Ip, IpArgument.FromDhcp.ToString());
        }

        if (vm.Vm.Ipv6Address is { } ipv6 && subnet.IPv6 is { } prefix)
        {
            line.Add(BootKeys.Ip6, new Ip6Argument(IPAddress.Parse(ipv6), UniqueLocalPrefix.Length, prefix.AddressOf(options.HostIp)).ToString());
        }

        if (plan.Api is { Port: { } port })
        {
            line.Add(BootKeys.ApiHost, plan.Api.Host ?? "0.0.0.0").Add(BootKeys.ApiPort, port.ToString(System.Globalization.CultureInfo.InvariantCulture));
        }

        if (plan.Rootfs is not null)
        {
            line.Add(BootKeys.RootfsDevice, PlannedDisk.RootDevice);
        }

        return line.Add(BootKeys.Manifest, manifest).AddRaw(plan.KernelWords);
    }

    private static byte[] CpioSegment(PluginManifest manifest) => CpioHeader.EncodeArchive(
    [
        (Path.GetDirectoryName(BootKeys.ManifestFile)!.TrimStart('/'), 0b111_000_000, null),
        (BootKeys.ManifestFile.TrimStart('/'), 0b110_000_000, ManifestCodec.ToJson(manifest)),
    ]);

    private async Task<string> FindKernelAsync(LaunchPlan plan, CancellationToken cancellationToken)
    {
        if (plan.KernelOverride is { } kernel)
        {
            return (await images.StageAsync(new BootMedia { Url = kernel }, cancellationToken)).Path;
        }

        // Guests without a root disk get the kernel that starts fastest; the other one is the distribution's, with drivers for every file system.
        string[] kernels = plan.Rootfs is null ? [options.KernelVmlinux, options.KernelBzImage] : [options.KernelBzImage, options.KernelVmlinux];
        return kernels.FirstOrDefault(File.Exists)
            ?? throw new VolantException(
                ErrorCodes.HypervisorUnavailable,
                $"There is no guest kernel at '{options.KernelBzImage}' or '{options.KernelVmlinux}'; run scripts/kernel.sh, or set VOLANT_KERNEL_BZIMAGE.");
    }
}
