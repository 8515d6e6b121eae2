using System.Globalization;
using Volant.Contracts.Api;
using Volant.Linux.Files;
using Volant.Linux.Kernel;

namespace Volant.Agent.Workloads;

/// <summary>Reads what the kernel counts (<c>man 5 proc</c>; Linux, admin-guide/iostats.rst). Files that are missing count nothing.</summary>
/// <param name="processes">Mount point of proc.</param>
/// <param name="system">Mount point of sysfs.</param>
/// <param name="group">Control group of workload and commands.</param>
internal sealed class Measurements(string processes = "/proc", string system = "/sys", string group = "/sys/fs/cgroup/workload")
{
    private const double TicksPerSecond = 100; // USER_HZ, the same on every architecture
    private const int SectorSize = 512; // of /proc/diskstats, whatever the device's
    private const int Kib = 1024;

    /// <summary>Memory of the guest in bytes.</summary>
    public long TotalMemory => Memory().TotalBytes;

    /// <summary>How many processes of workload and commands were ended because there was no memory.</summary>
    public long OutOfMemoryKills => InGroup("memory.events", "oom_kill");

    /// <summary>Everything at once.</summary>
    public GuestMetrics Read(int commands) => new()
    {
        Uptime = GuestFacts.UptimeMs / 1000.0,
        Cpu = Cpu(),
        Memory = Memory(),
        FileSystems = FileSystems(),
        Disks = Disks(),
        Network = Network(),
        Agent = Agent(commands),
        Workload = Workload(),
    };

    private CpuMetrics Cpu()
    {
        // cpu user nice system idle iowait irq softirq steal
        var lines = Lines("stat");
        var all = lines.Select(Words).FirstOrDefault(words => words is ["cpu", ..]) ?? [];
        double Seconds(params int[] columns) => columns.Sum(column => column < all.Length ? Parse(all[column]) : 0) / TicksPerSecond;
        return new CpuMetrics
        {
            Count = lines.Count(line => line.StartsWith("cpu", StringComparison.Ordinal) && !line.StartsWith("cpu ", StringComparison.Ordinal)),
            UserSeconds = Seconds(1, 2),
            SystemSeconds = Seconds(3, 6, 7),
            IdleSeconds = Seconds(4),
            WaitSeconds = Seconds(5),
            StealSeconds = Seconds(8),
            Load = [.. Words(Text("loadavg")).Take(3).Select(word => double.TryParse(word, NumberStyles.Float, CultureInfo.InvariantCulture, out var load) ? load : 0)],
        };
    }

    private MemoryMetrics Memory()
    {
        var values = Lines("meminfo").Select(Words).Where(words => words.Length >= 2).ToDictionary(words => words[0].TrimEnd(':'), words => Parse(words[1]) * Kib, StringComparer.Ordinal);
        long Of(string name) => values.GetValueOrDefault(name);
        return new MemoryMetrics
        {
            TotalBytes = Of("MemTotal"),
            AvailableBytes = Of("MemAvailable"),
            FreeBytes = Of("MemFree"),
            CachedBytes = Of("Cached"),
            SwapTotalBytes = Of("SwapTotal"),
            SwapFreeBytes = Of("SwapFree"),
        };
    }

    private static List<FileSystemMetrics> FileSystems()
    {
        var found = new Dictionary<string, FileSystemMetrics>(StringComparer.Ordinal);
        foreach (var mount in Mounts().Where(mount => mount.Source.StartsWith('/') || mount.Target == "/"))
        {
            try
            {
                // What was mounted last over a directory is what programs see.
                var space = FileSystemSpace.Of(mount.Target);
                found[mount.Target] = new FileSystemMetrics
                {
                    Mount = mount.Target,
                    Device = mount.Source,
                    Type = mount.Type,
                    TotalBytes = space.TotalBytes,
                    AvailableBytes = space.AvailableBytes,
                };
            }
            catch (System.ComponentModel.Win32Exception)
            {
                // Unmounted meanwhile, or broken: it has no size.
            }
        }

        return [.. found.Values.OrderBy(mount => mount.Mount, StringComparer.Ordinal)];
    }

    private static IReadOnlyList<MountEntry> Mounts()
    {
        try
        {
            return MountTable.Read();
        }
        catch (IOException)
        {
            return [];
        }
    }

    private List<DiskMetrics> Disks()
    {
        var disks = new List<DiskMetrics>();
        foreach (var words in Lines("diskstats").Select(Words).Where(words => words.Length >= 10))
        {
            // A whole device has a directory in /sys/block, one with hardware behind it a link to that.
            if (Directory.Exists(Path.Combine(system, "block", words[2], "device")))
            {
                disks.Add(new DiskMetrics
                {
                    Name = words[2],
                    Reads = Parse(words[3]),
                    ReadBytes = Parse(words[5]) * SectorSize,
                    Writes = Parse(words[7]),
                    WrittenBytes = Parse(words[9]) * SectorSize,
                });
            }
        }

        return disks;
    }

    private List<NetworkMetrics> Network()
    {
        var interfaces = new List<NetworkMetrics>();
        foreach (var line in Lines("net/dev"))
        {
            // name: bytes packets errs drop fifo frame compressed multicast, then the same for what was sent
            var colon = line.IndexOf(':', StringComparison.Ordinal);
            var words = colon > 0 ? Words(line[(colon + 1)..]) : [];
            if (words.Length >= 12 && line[..colon].Trim() is var name && name != "lo")
            {
                interfaces.Add(new NetworkMetrics
                {
                    Name = name,
                    ReceivedBytes = Parse(words[0]),
                    ReceivedPackets = Parse(words[1]),
                    SentBytes = Parse(words[8]),
                    SentPackets = Parse(words[9]),
                    Errors = Parse(words[2]) + Parse(words[10]),
                    Dropped = Parse(words[3]) + Parse(words[11]),
                });
            }
        }

        return interfaces;
    }

    private AgentMetrics Agent(int commands)
    {
        var status = Lines("self/status").Select(Words).Where(words => words.Length >= 2).ToDictionary(words => words[0].TrimEnd(':'), words => Parse(words[1]), StringComparer.Ordinal);

        // After the name, which ends with the last parenthesis: state is field 3, user time 14, system time 15.
        var stat = Text("self/stat");
        var fields = Words(stat[(stat.LastIndexOf(')') + 1)..]);
        return new AgentMetrics
        {
            CpuSeconds = fields.Length > 12 ? (Parse(fields[11]) + Parse(fields[12])) / TicksPerSecond : 0,
            ResidentBytes = status.GetValueOrDefault("VmRSS") * Kib,
            Threads = (int)status.GetValueOrDefault("Threads"),
            OpenFiles = CountOpenFiles(),
            Commands = commands,
        };
    }

    private int CountOpenFiles()
    {
        try
        {
            return Directory.EnumerateFileSystemEntries(Path.Combine(processes, "self/fd")).Count();
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return 0;
        }
    }

    private WorkloadMetrics? Workload() => !Directory.Exists(group) ? null : new WorkloadMetrics
    {
        CpuSeconds = InGroup("cpu.stat", "usage_usec") / 1e6,
        MemoryBytes = Parse(TextOf(Path.Combine(group, "memory.current"))),
        MemoryLimitBytes = Limit("memory.max"),
        Processes = Parse(TextOf(Path.Combine(group, "pids.current"))),
        ProcessLimit = Limit("pids.max"),
        OutOfMemoryKills = OutOfMemoryKills,
        ForksRefused = InGroup("pids.events", "max"),
    };

    /// <summary>A limit of the group; null for "max".</summary>
    private long? Limit(string file) =>
        long.TryParse(TextOf(Path.Combine(group, file)), NumberStyles.None, CultureInfo.InvariantCulture, out var limit) ? limit : null;

    /// <summary>The number behind a word in a file of the group.</summary>
    private long InGroup(string file, string word) =>
        TextOf(Path.Combine(group, file)).Split('\n').Select(Words).Where(words => words.Length == 2 && words[0] == word).Select(words => Parse(words[1])).FirstOrDefault();

    private string[] Lines(string file) => Text(file).Split('\n', StringSplitOptions.RemoveEmptyEntries);

    private string Text(string file) => TextOf(Path.Combine(processes, file));

    private static string TextOf(string path)
    {
        try
        {
            return File.ReadAllText(path).Trim();
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return string.Empty;
        }
    }

    private static string[] Words(string line) => line.Split((char[]?)null, StringSplitOptions.RemoveEmptyEntries);

    private static long Parse(string word) => long.TryParse(word, NumberStyles.None, CultureInfo.InvariantCulture, out var number) ? number : 0;
}
