using System.Globalization;
using Volant.Contracts.Api;

namespace Volant.Daemon.Hypervisors;

/// <summary>The control group of one VM's hypervisor: how much of the host it may take (reliability §5.4).</summary>
/// <remarks>Version 2 alone. Source: Linux, Documentation/admin-guide/cgroup-v2.rst. What a kernel has no controller for is not limited.</remarks>
internal static class ResourceGroup
{
    private const long Mebibyte = 1 << 20;
    private const long LeastOverheadMib = 64;
    private const int PeriodMicroseconds = 100_000;

    /// <summary>Threads besides those of the virtual processors: the workers for disks are up to 64.</summary>
    private const int OtherThreads = 128;

    private static readonly string[] Controllers = ["cpu", "io", "memory", "pids"];
    private static readonly TimeSpan RemovePause = TimeSpan.FromMilliseconds(10);
    private const int RemoveAttempts = 100;

    /// <summary>Makes the group that the groups of all VMs are in, and hands its controllers down.</summary>
    /// <param name="parent">Its directory, directly below the mount point of the control groups or deeper.</param>
    /// <exception cref="IOException">It cannot be made.</exception>
    public static void Prepare(string parent)
    {
        Directory.CreateDirectory(parent);
        foreach (var directory in new[] { Path.GetDirectoryName(parent)!, parent })
        {
            foreach (var controller in Controllers)
            {
                TryWrite(Path.Combine(directory, "cgroup.subtree_control"), $"+{controller}");
            }
        }
    }

    /// <summary>Sets the limits of a VM's group: the guest's processors and one more, its memory and what the hypervisor needs itself, and its share of the disk.</summary>
    /// <param name="group">Its directory.</param>
    /// <param name="spec">The VM.</param>
    /// <param name="overheadMib">Memory in MiB that this hypervisor needs besides a tenth of the guest's.</param>
    /// <exception cref="VolantException"><c>hypervisor_unavailable</c>: a limit cannot be set.</exception>
    public static void Limit(string group, LaunchSpec spec, int overheadMib)
    {
        var memory = (spec.MemoryMib + Math.Max(LeastOverheadMib, spec.MemoryMib / 10) + overheadMib) * Mebibyte;
        Set(group, "memory.max", memory.ToString(CultureInfo.InvariantCulture));
        Set(group, "memory.swap.max", "0");
        Set(group, "memory.oom.group", "1");
        Set(group, "pids.max", (spec.CpuCores + OtherThreads).ToString(CultureInfo.InvariantCulture));
        Set(group, "cpu.max", string.Create(CultureInfo.InvariantCulture, $"{(spec.CpuCores + 1L) * PeriodMicroseconds} {PeriodMicroseconds}"));
        if (spec.IoMax is { } io)
        {
            Set(group, "io.max", io);
        }
    }

    /// <summary>Moves a process into a group, with all that it starts from then on.</summary>
    /// <exception cref="VolantException"><c>hypervisor_unavailable</c>: it cannot be moved.</exception>
    public static void Add(string group, int pid) => Set(group, "cgroup.procs", pid.ToString(CultureInfo.InvariantCulture));

    /// <summary>Whether a process of the group was ended because its memory was used up.</summary>
    public static bool RanOutOfMemory(string group)
    {
        try
        {
            return File.ReadLines(Path.Combine(group, "memory.events")).Any(line => line.StartsWith("oom_kill ", StringComparison.Ordinal) && line != "oom_kill 0");
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return false;
        }
    }

    /// <summary>Ends whatever is left in a group and removes it; does nothing when there is none.</summary>
    /// <exception cref="IOException">It cannot be removed.</exception>
    public static async Task RemoveAsync(string group)
    {
        TryWrite(Path.Combine(group, "cgroup.kill"), "1");
        for (var attempt = 1; Directory.Exists(group); attempt++)
        {
            try
            {
                Directory.Delete(group);
            }
            catch (IOException) when (attempt < RemoveAttempts)
            {
                // What was ended is not gone at once.
                await Task.Delay(RemovePause, TimeProvider.System);
            }
        }
    }

    private static void Set(string group, string name, string value)
    {
        if (TryWrite(Path.Combine(group, name), value) is { } problem)
        {
            throw new VolantException(
                ErrorCodes.HypervisorUnavailable, $"'{name}' of the control group '{group}' cannot be set to {value}: {problem} Set VOLANT_CGROUP=off to run hypervisors without limits.");
        }
    }

    /// <summary>Writes to a file of a group; null when that worked, or when the kernel has no such file.</summary>
    private static string? TryWrite(string path, string value)
    {
        try
        {
            using var file = File.OpenHandle(path, FileMode.Open, FileAccess.Write, FileShare.ReadWrite);
            RandomAccess.Write(file, System.Text.Encoding.ASCII.GetBytes(value), 0);
            return null;
        }
        catch (Exception e) when (e is FileNotFoundException or DirectoryNotFoundException)
        {
            return null;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return e.Message;
        }
    }
}
