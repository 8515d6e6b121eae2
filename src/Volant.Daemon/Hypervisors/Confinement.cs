using System.ComponentModel;
using Volant.Contracts.Api;
using Volant.Linux.Files;
using Volant.Linux.Processes;

namespace Volant.Daemon.Hypervisors;

/// <summary>Starts a hypervisor as a user of its own that sees nothing but its program and the files of its VM, and can make no connection (reliability §5.4).</summary>
/// <remarks>
/// Its writable files become its own; what it shares with others it may read. All of it is named by the specification, so a file that is
/// not in there cannot be opened, whatever the guest makes of the hypervisor.
/// </remarks>
internal static class Confinement
{
    private const UnixFileMode OwnerOnly = UnixFileMode.UserRead | UnixFileMode.UserWrite;

    /// <summary>Where a distribution keeps the libraries and firmware of programs below <c>/usr</c>.</summary>
    private static readonly string[] SystemDirectories = ["/lib", "/lib64", "/usr/lib", "/usr/lib64", "/usr/share/qemu", "/usr/share/seabios", "/etc/ld.so.cache"];

    private const string PciBus = "/sys/bus/pci/devices";

    private static readonly string[] Devices = ["/dev/null", "/dev/urandom", "/dev/random", "/dev/kvm", "/dev/net/tun", "/dev/vhost-net", "/dev/vhost-vsock"];

    /// <summary>The start of a specification's hypervisor: without new rights, with few sockets, and if it has a user as that. Gives that user its files.</summary>
    /// <param name="request">The start, with the sockets that this kind of hypervisor needs.</param>
    /// <param name="spec">What is started.</param>
    /// <exception cref="VolantException"><c>hypervisor_unavailable</c>: a shared file may not be read by others, or cannot be given away.</exception>
    public static SpawnRequest Apply(SpawnRequest request, LaunchSpec spec)
    {
        request = request with { NoNewPrivileges = true };
        if (spec.User is not { } user)
        {
            return request;
        }

        try
        {
            var mountPoint = Path.Combine(spec.Paths.Directory, "root");
            Directory.CreateDirectory(mountPoint);
            return request with
            {
                User = user,
                View = new FileView(mountPoint, [.. ProgramFiles(request.Arguments[0]), .. FilesOf(spec, user), .. spec.PciDevices.SelectMany(FilesOfDevice).Distinct()]),
            };
        }
        catch (Exception e) when (e is Win32Exception or IOException or UnauthorizedAccessException)
        {
            throw new VolantException(ErrorCodes.HypervisorUnavailable, $"The files of VM {spec.Uid} cannot be given to its hypervisor's user {user.Uid}: {e.Message}", e);
        }
    }

    private static IEnumerable<FileViewEntry> ProgramFiles(string program)
    {
        var paths = new List<string>(SystemDirectories) { program };
        if (File.ResolveLinkTarget(program, returnFinalTarget: true) is { } target)
        {
            paths.Add(target.FullName);
        }

        // One that was installed apart has its own files beside it, for all to read.
        var apart = paths.Where(path => !path.StartsWith("/usr/bin/", StringComparison.Ordinal) && !SystemDirectories.Contains(path))
            .Select(path => Path.GetDirectoryName(path)!).Where(directory => File.GetUnixFileMode(directory).HasFlag(UnixFileMode.OtherExecute));
        paths.AddRange([.. apart]);
        return paths.Where(Path.Exists).Distinct(StringComparer.Ordinal).OrderBy(path => path.Length).Select(path => new FileViewEntry(path, FileViewAccess.Read))
            .Concat(Devices.Where(File.Exists).Select(device => new FileViewEntry(device, FileViewAccess.Device)));
    }

    private static IEnumerable<FileViewEntry> FilesOf(LaunchSpec spec, ProcessUser user)
    {
        yield return Own(spec.Paths.Directory, user);
        foreach (var log in new[] { spec.Paths.ConsoleLog, spec.Paths.HypervisorLog })
        {
            using (new FileStream(log, new FileStreamOptions { Mode = FileMode.OpenOrCreate, Access = FileAccess.Write, Share = FileShare.ReadWrite | FileShare.Delete, UnixCreateMode = OwnerOnly }))
            {
                // It is there now.
            }

            yield return Own(log, user);
        }

        yield return Read(spec.Kernel, spec, user);
        if (spec.Initramfs is { } initramfs)
        {
            yield return Read(initramfs, spec, user);
        }

        foreach (var disk in spec.Disks)
        {
            yield return disk.ReadOnly ? Read(disk.Path, spec, user) : Own(disk.Path, user);
            if (disk.Backing is { } backing)
            {
                yield return Read(backing.Path, spec, user);
            }
        }
    }

    /// <summary>A passed-through device: its group's node, and what sysfs says of it (<c>Documentation/driver-api/vfio.rst</c>).</summary>
    private static IEnumerable<FileViewEntry> FilesOfDevice(string address)
    {
        yield return new FileViewEntry("/dev/vfio/vfio", FileViewAccess.Device);
        yield return new FileViewEntry(PciBus, FileViewAccess.Read);
        var device = new DirectoryInfo(Path.Combine(PciBus, address)).ResolveLinkTarget(returnFinalTarget: true)!;
        yield return new FileViewEntry(device.FullName, FileViewAccess.Read);
        if (new FileInfo(Path.Combine(device.FullName, "iommu_group")).LinkTarget is { } group)
        {
            yield return new FileViewEntry($"/dev/vfio/{Path.GetFileName(group)}", FileViewAccess.Device);
        }
    }

    private static FileViewEntry Own(string path, ProcessUser user)
    {
        FileOwner.Set(path, user.Uid, user.Gid);
        return new FileViewEntry(path, FileViewAccess.Write);
    }

    /// <summary>A file that is only read: the VM's own, in a directory that is named after it, or one that all may read.</summary>
    private static FileViewEntry Read(string path, LaunchSpec spec, ProcessUser user)
    {
        if (Path.GetFileName(Path.GetDirectoryName(path)) == spec.Uid.ToString("D"))
        {
            FileOwner.Set(path, user.Uid, user.Gid);
        }
        else if (!File.GetUnixFileMode(path).HasFlag(UnixFileMode.OtherRead))
        {
            throw new VolantException(
                ErrorCodes.HypervisorUnavailable, $"The hypervisor's user {user.Uid} may not read '{path}'; allow it (chmod o+r '{path}'), or run hypervisors as this user (VOLANT_VM_UIDS=off).");
        }

        return new FileViewEntry(path, FileViewAccess.Read);
    }
}
