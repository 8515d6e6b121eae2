namespace Volant.Linux.Files;

/// <summary>The disk that files lie on, by the number that the kernel's I/O controller knows it by.</summary>
public static class DiskNumber
{
    /// <summary>The whole disk, <c>major:minor</c>, for partitions are not told apart; null where the file system has no device of its own, such as btrfs, overlay and tmpfs.</summary>
    /// <param name="device">Device of a file, see <see cref="FileFacts.Device"/>.</param>
    /// <param name="sys">Where sysfs is mounted.</param>
    public static string? Of(ulong device, string sys = "/sys")
    {
        var link = Path.Combine(sys, "dev/block", $"{device >> 32}:{(uint)device}");
        if (!Directory.Exists(link) || Directory.ResolveLinkTarget(link, returnFinalTarget: true)?.FullName is not { } directory)
        {
            return null;
        }

        var disk = File.Exists(Path.Combine(directory, "partition")) ? Path.GetDirectoryName(directory)! : directory;
        return File.ReadAllText(Path.Combine(disk, "dev")).Trim();
    }
}
