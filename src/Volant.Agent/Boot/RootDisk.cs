using System.ComponentModel;
using Volant.Contracts.Boot;
using Volant.Linux.IO;
using Volant.Linux.Kernel;

namespace Volant.Agent.Boot;

/// <summary>Mounts the root disk, with a writable layer in memory where it cannot be written.</summary>
/// <param name="plan">What the boot asks for.</param>
/// <param name="load">Loads kernel modules by name; returns what went wrong.</param>
/// <param name="console">Where it is told what was mounted.</param>
/// <param name="clock">Clock of the wait.</param>
internal sealed class RootDisk(RootPlan plan, Func<IReadOnlyList<string>, IReadOnlyList<string>> load, ConsoleLog console, TimeProvider clock)
{
    /// <summary>How long the device may take to appear.</summary>
    public static readonly TimeSpan DeviceWait = TimeSpan.FromSeconds(10);

    private const int MaxDeviceName = 32;
    private const string DiskPoint = "/volant/disk";
    private const string MemoryPoint = "/volant/memory";
    private const string LayeredPoint = "/volant/root";
    private const string BlockDevices = "/sys/class/block";

    private static readonly TimeSpan Poll = TimeSpan.FromMilliseconds(5);
    private static readonly (string Name, UnixFileMode Mode)[] MountPoints =
    [
        ("dev", (UnixFileMode)0b111_101_101), ("proc", (UnixFileMode)0b101_101_101), ("sys", (UnixFileMode)0b101_101_101),
        ("run", (UnixFileMode)0b111_101_101), ("tmp", UnixFileMode.StickyBit | (UnixFileMode)0b111_111_111),
    ];

    /// <summary>Mounts the disk and returns where: a directory that has the mount points that a guest needs.</summary>
    /// <exception cref="BootFailedException">It cannot be done; the message says why.</exception>
    public async Task<string> MountAsync(CancellationToken cancellationToken)
    {
        var name = CheckedName();
        var device = await WaitAsync(name, cancellationToken);
        var found = RootFileSystem.Detect(ReadStart(device));
        var wanted = Choose(device, found);
        var problems = load([.. GuestModules.RootFileSystems.Where(module => module.StartsWith("crc32c", StringComparison.Ordinal)), wanted.Name, .. HasSeed() ? GuestModules.Seed : []]);
        var isReadOnly = wanted.IsArchive || IsReadOnly(name);
        try
        {
            MountDisk(device, wanted, isReadOnly);
        }
        catch (Win32Exception e)
        {
            throw new BootFailedException(string.Join(' ', [$"The root device {device} cannot be mounted as {wanted.Name}: {e.Message}.", .. Hints(wanted, found), .. problems]), e);
        }

        var root = isReadOnly || !MakeMountPoints(DiskPoint) ? AddLayer(isReadOnly) : DiskPoint;
        console.Say($"root: {device} ({wanted.Name}{(isReadOnly ? ", read-only" : string.Empty)}){(root == LayeredPoint ? " below a layer in memory: what is written is lost at power off" : string.Empty)}");
        return root;
    }

    /// <summary>Makes the directories that file systems will be mounted on; false when one is missing and cannot be made.</summary>
    /// <exception cref="BootFailedException">Something else is in the place of one.</exception>
    internal static bool MakeMountPoints(string root)
    {
        foreach (var (name, mode) in MountPoints)
        {
            var path = Path.Combine(root, name);
            switch (LinkStatus.Find(path)?.Kind)
            {
                case LinkKind.Directory or LinkKind.SymbolicLink:
                    // Where a link leads is the image's affair; it is followed inside of it, later.
                    break;
                case null:
                    try
                    {
                        Directory.CreateDirectory(path);
                        File.SetUnixFileMode(path, mode);
                    }
                    catch (Exception e) when (e is IOException or UnauthorizedAccessException)
                    {
                        return false;
                    }

                    break;
                default:
                    throw new BootFailedException($"The root image has a file named /{name}, where a directory must be; correct the image.");
            }
        }

        return true;
    }

    private string CheckedName()
    {
        var name = plan.Device.StartsWith("/dev/", StringComparison.Ordinal) ? plan.Device["/dev/".Length..] : plan.Device;
        return name.Length is > 0 and <= MaxDeviceName && name.All(char.IsAsciiLetterOrDigit)
            ? name
            : throw new BootFailedException($"The boot argument {BootKeys.RootfsDevice}={plan.Device} is not the name of a disk such as vda or vda1.");
    }

    private async Task<string> WaitAsync(string name, CancellationToken cancellationToken)
    {
        var device = $"/dev/{name}";
        var start = clock.GetTimestamp();
        while (!File.Exists(device))
        {
            if (clock.GetElapsedTime(start) > DeviceWait)
            {
                var others = Directory.Exists(BlockDevices) ? Directory.GetFileSystemEntries(BlockDevices).Select(path => Path.GetFileName(path)).Order(StringComparer.Ordinal).ToArray() : [];
                throw new BootFailedException(
                    $"The root device {device} did not appear within {DeviceWait.TotalSeconds} s; this guest's disks are: {(others.Length == 0 ? "none" : string.Join(", ", others))}.");
            }

            await Task.Delay(Poll, clock, cancellationToken);
        }

        return device;
    }

    private static byte[] ReadStart(string device)
    {
        try
        {
            using var stream = new FileStream(device, FileMode.Open, FileAccess.Read, FileShare.ReadWrite, bufferSize: 0);
            var start = new byte[RootFileSystem.ProbeLength];
            return start[..stream.ReadAtLeast(start, start.Length, throwOnEndOfStream: false)];
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new BootFailedException($"The root device {device} cannot be read: {e.Message}", e);
        }
    }

    private RootFileSystem Choose(string device, RootFileSystem? found)
    {
        var known = string.Join(", ", RootFileSystem.All.Select(fs => fs.Name));
        return plan.FileSystem is not { } wanted
            ? found ?? throw new BootFailedException($"The root device {device} holds no file system of these: {known}.")
            : RootFileSystem.All.FirstOrDefault(fs => fs.Name == wanted)
                ?? throw new BootFailedException($"The boot argument {BootKeys.RootfsFstype}={wanted} is none of {known}.");
    }

    private static IEnumerable<string> Hints(RootFileSystem wanted, RootFileSystem? found)
    {
        if (found != wanted)
        {
            yield return found is null
                ? "It holds no file system that is known here."
                : $"It holds {found.Name}: set {BootKeys.RootfsFstype}={found.Name}, or leave it out.";
        }
        else if (!File.ReadAllText("/proc/filesystems").Contains($"\t{wanted.Name}\n", StringComparison.Ordinal))
        {
            yield return $"The kernel {KernelVersion.Release} has no {wanted.Name}, and no module for it travels with it: run scripts/kernel.sh --update, or use another kernel.";
        }
    }

    /// <summary>Whether a cloud-init seed is attached. On the root disk there may be no module for it.</summary>
    private static bool HasSeed() => Directory.Exists(BlockDevices) && Directory.GetFileSystemEntries(BlockDevices).Any(
        device => File.Exists($"{device}/serial") && File.ReadAllText($"{device}/serial").Trim() == BootKeys.SeedSerial);

    private static bool IsReadOnly(string name) =>
        File.Exists($"{BlockDevices}/{name}/ro") && File.ReadAllText($"{BlockDevices}/{name}/ro").Trim() == "1";

    private static void MountDisk(string device, RootFileSystem type, bool isReadOnly)
    {
        Directory.CreateDirectory(DiskPoint);
        Mounts.Mount(device, DiskPoint, type.Name, isReadOnly ? MountOptions.ReadOnly : MountOptions.None, isReadOnly ? type.ReadOnlyData : null);
    }

    /// <summary>Shows the disk below a layer that takes what is written.</summary>
    private string AddLayer(bool isReadOnly)
    {
        var problems = load(["overlay"]);
        try
        {
            if (!isReadOnly)
            {
                Mounts.Mount(null, DiskPoint, null, MountOptions.Remount | MountOptions.ReadOnly);
            }

            Directory.CreateDirectory(MemoryPoint);
            Mounts.Mount("memory", MemoryPoint, "tmpfs", MountOptions.None, "mode=0755");
            var (upper, work) = (Path.Combine(MemoryPoint, "upper"), Path.Combine(MemoryPoint, "work"));
            Directory.CreateDirectory(upper);
            Directory.CreateDirectory(work);
            Directory.CreateDirectory(LayeredPoint);
            Mounts.Mount("root", LayeredPoint, "overlay", MountOptions.None, $"lowerdir={DiskPoint},upperdir={upper},workdir={work}");
            return MakeMountPoints(LayeredPoint) ? LayeredPoint : throw new IOException("The layer cannot be written.");
        }
        catch (Exception e) when (e is Win32Exception or IOException)
        {
            throw new BootFailedException(string.Join(' ', [$"The root disk cannot be written, and a writable layer above it could not be made: {e.Message.TrimEnd('.')}.", .. problems]), e);
        }
    }
}
