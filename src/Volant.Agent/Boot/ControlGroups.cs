using System.Globalization;

namespace Volant.Agent.Boot;

/// <summary>Keeps the agent alive beside its workload: a control group (v2) for each, and an agent that is never chosen when memory runs out.</summary>
/// <remarks>
/// A child starts in the agent's group, where <c>posix_spawn</c> puts it, and is moved at once; what it may have forked before is moved
/// with it. Without control groups only the choice of the memory killer is set. Source: Linux, Documentation/admin-guide/cgroup-v2.rst.
/// </remarks>
/// <param name="root">Mount point of the control groups.</param>
/// <param name="proc">Mount point of proc.</param>
internal sealed class ControlGroups(string root = "/sys/fs/cgroup", string proc = "/proc")
{
    private const string NeverKill = "-1000"; // OOM_SCORE_ADJ_MIN
    private const string Usual = "0";
    private const int MaxSweeps = 16;
    private const int AgentWeight = 1000; // against 100 of all others together
    private const long AgentMemory = 16 << 20;
    private const long MostAgentMemory = 32 << 20;
    private const int Kib = 1024;

    private static readonly string[] Controllers = ["cpu", "io", "memory", "pids"];
    private static readonly string[] Limits = ["threads-max", "pid_max"];

    private bool _isActive;

    private string Agent => Path.Combine(root, "agent");

    private string Workload => Path.Combine(root, "workload");

    /// <summary>Makes the groups and moves this process into its own.</summary>
    /// <returns>What went wrong, one sentence each; a kernel without control groups is no problem.</returns>
    public IReadOnlyList<string> SetUp()
    {
        var problems = new List<string>();
        Note(TryWrite(Path.Combine(proc, "self", "oom_score_adj"), NeverKill));
        if (!File.Exists(Path.Combine(root, "cgroup.controllers")))
        {
            return problems;
        }

        try
        {
            Directory.CreateDirectory(Agent);
            Directory.CreateDirectory(Workload);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            problems.Add($"The control groups could not be made: {e.Message}");
            return problems;
        }

        // Not every kernel has every controller.
        foreach (var controller in Controllers)
        {
            TryWrite(Path.Combine(root, "cgroup.subtree_control"), $"+{controller}");
        }

        var moved = TryWrite(Path.Combine(Agent, "cgroup.procs"), Environment.ProcessId.ToString(CultureInfo.InvariantCulture));
        Note(moved);
        _isActive = moved is null;
        WriteIfThere(Path.Combine(Agent, "cpu.weight"), AgentWeight);
        WriteIfThere(Path.Combine(Agent, "memory.min"), AgentMemory);
        if (MostProcesses() is { } most)
        {
            WriteIfThere(Path.Combine(Workload, "pids.max"), most);
        }

        if (MostMemory() is { } memory)
        {
            WriteIfThere(Path.Combine(Workload, "memory.max"), memory);
        }

        return problems;

        void Note(string? problem)
        {
            if (problem is not null)
            {
                problems.Add(problem);
            }
        }
    }

    /// <summary>Moves a child that has just been started, with what it has forked since, to the workload's group.</summary>
    /// <remarks>The caller makes sure that the child is not reaped meanwhile: its id could then be another's.</remarks>
    public void Place(int pid)
    {
        Move(pid);
        for (var sweep = 0; _isActive && sweep < MaxSweeps; sweep++)
        {
            var strays = Strays();
            if (strays.Count == 0)
            {
                return;
            }

            strays.ForEach(Move);
        }
    }

    /// <summary>A tenth of the processes that the kernel could have stays for the agent.</summary>
    private long? MostProcesses()
    {
        long[] limits =
        [
            .. Limits
                .Select(name => Path.Combine(proc, "sys", "kernel", name))
                .Where(File.Exists)
                .Select(path => long.Parse(File.ReadAllText(path), CultureInfo.InvariantCulture)),
        ];
        return limits.Length > 0 ? limits.Min() * 9 / 10 : null;
    }

    /// <summary>
    /// All that is there now but what the agent may still need: a quarter, 16 to 32 MiB. Without that limit files in memory could fill the guest: no process owns those, so the
    /// kernel would end every process that it may, find none left, and panic.
    /// </summary>
    private long? MostMemory()
    {
        var file = Path.Combine(proc, "meminfo");
        var words = File.Exists(file) ? File.ReadLines(file).Select(line => line.Split(' ', StringSplitOptions.RemoveEmptyEntries)) : [];
        return words.FirstOrDefault(words => words is ["MemAvailable:", _, "kB"]) is { } available && long.Parse(available[1], CultureInfo.InvariantCulture) * Kib is > 2 * AgentMemory and var bytes
            ? bytes - Math.Clamp(bytes / 4, AgentMemory, MostAgentMemory)
            : null;
    }

    private List<int> Strays()
    {
        try
        {
            return [.. File.ReadAllLines(Path.Combine(Agent, "cgroup.procs")).Select(line => int.Parse(line, CultureInfo.InvariantCulture)).Where(pid => pid > 0 && pid != Environment.ProcessId)];
        }
        catch (IOException)
        {
            return [];
        }
    }

    private void Move(int pid)
    {
        // In this order: what it forks in between is still in the agent's group, and found by the next sweep. A process that has ended is no loss.
        TryWrite(Path.Combine(proc, pid.ToString(CultureInfo.InvariantCulture), "oom_score_adj"), Usual);
        if (_isActive)
        {
            TryWrite(Path.Combine(Workload, "cgroup.procs"), pid.ToString(CultureInfo.InvariantCulture));
        }
    }

    private static void WriteIfThere(string path, long value)
    {
        if (File.Exists(path))
        {
            TryWrite(path, value.ToString(CultureInfo.InvariantCulture));
        }
    }

    /// <summary>Writes one value with one system call, as the kernel wants it; returns what went wrong.</summary>
    private static string? TryWrite(string path, string value)
    {
        try
        {
            using var file = new FileStream(path, FileMode.Open, FileAccess.Write, FileShare.ReadWrite, bufferSize: 0);
            file.Write(System.Text.Encoding.ASCII.GetBytes(value));
            return null;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return $"{path} could not be set to {value}: {e.Message}";
        }
    }
}
