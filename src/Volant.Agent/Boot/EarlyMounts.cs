using System.ComponentModel;
using Volant.Linux.Kernel;

namespace Volant.Agent.Boot;

/// <summary>The file systems that every program expects, which nobody mounts in an initramfs.</summary>
internal static class EarlyMounts
{
    private const int Busy = 16; // EBUSY

    private const MountOptions Plain = MountOptions.NoSetUserId | MountOptions.NoDevices | MountOptions.NoExecute;

    /// <summary>What must be there before anything else: /proc, /sys and /dev.</summary>
    /// <returns>What went wrong, one sentence each.</returns>
    public static IReadOnlyList<string> MountFirst() => MountEach(
    [
        // Each mount of proc is a new one, so the kernel would not refuse a second.
        .. File.Exists("/proc/mounts") ? [] : new Entry[] { new("proc", "/proc", "proc", Plain, null) },
        new("sysfs", "/sys", "sysfs", Plain, null),
        new("devtmpfs", "/dev", "devtmpfs", MountOptions.NoSetUserId | MountOptions.NoExecute, "mode=0755"),
    ]);

    /// <summary>Where programs keep what lives as long as the guest: /run.</summary>
    /// <returns>What went wrong, one sentence each.</returns>
    public static IReadOnlyList<string> MountRun() =>
        MountEach([new("tmpfs", "/run", "tmpfs", MountOptions.NoSetUserId | MountOptions.NoDevices, "mode=0755")]);

    /// <summary>The rest. What is mounted already stays; not every kernel has control groups, and their absence is no problem.</summary>
    /// <returns>What went wrong, one sentence each.</returns>
    public static IReadOnlyList<string> MountRest()
    {
        var mounted = MountTable.Read().Select(mount => mount.Target).ToHashSet(StringComparer.Ordinal);
        List<string> problems =
        [
            .. mounted.Contains("/run") ? [] : MountRun(),
            .. MountEach(
            [
                .. new Entry[]
                {
                    new("devpts", "/dev/pts", "devpts", MountOptions.NoSetUserId | MountOptions.NoExecute, "gid=5,mode=620,ptmxmode=666"),
                    new("tmpfs", "/dev/shm", "tmpfs", MountOptions.NoSetUserId | MountOptions.NoDevices, "mode=1777"),
                    new("tmpfs", "/tmp", "tmpfs", MountOptions.NoSetUserId | MountOptions.NoDevices, "mode=1777"),
                }.Where(entry => !mounted.Contains(entry.Target)),
            ]),
        ];
        _ = MountEach([new("cgroup2", "/sys/fs/cgroup", "cgroup2", Plain, null)]);
        Link("/dev/fd", "/proc/self/fd");
        Link("/dev/stdin", "/proc/self/fd/0");
        Link("/dev/stdout", "/proc/self/fd/1");
        Link("/dev/stderr", "/proc/self/fd/2");
        return problems;
    }

    private static List<string> MountEach(Entry[] entries)
    {
        var problems = new List<string>();
        foreach (var entry in entries)
        {
            try
            {
                Directory.CreateDirectory(entry.Target);
                Mounts.Mount(entry.Source, entry.Target, entry.Type, entry.Flags, entry.Data);
            }
            catch (Win32Exception e) when (e.NativeErrorCode == Busy)
            {
                // The kernel or an earlier init was first.
            }
            catch (Exception e) when (e is Win32Exception or IOException or UnauthorizedAccessException)
            {
                problems.Add($"{e.Message}.");
            }
        }

        return problems;
    }

    private static void Link(string path, string target)
    {
        try
        {
            File.CreateSymbolicLink(path, target);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            // It is there already; devtmpfs of some kernels makes them.
        }
    }

    private sealed record Entry(string Source, string Target, string Type, MountOptions Flags, string? Data);
}
