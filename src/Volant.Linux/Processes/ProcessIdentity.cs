using System.Globalization;

namespace Volant.Linux.Processes;

/// <summary>What tells one process from every other on this host, now and after a reboot.</summary>
/// <param name="Pid">Process id, reused by the kernel over time.</param>
/// <param name="StartTime">Clock ticks from boot to the start of the process (<c>/proc/PID/stat</c>, field 22).</param>
/// <param name="BootId">The kernel's boot id (<c>/proc/sys/kernel/random/boot_id</c>).</param>
public sealed record ProcessIdentity(int Pid, long StartTime, string BootId)
{
    private const int StateField = 0;
    private const int StartTimeField = 19;

    /// <summary>Boot id of the running kernel.</summary>
    public static string CurrentBootId { get; } = File.ReadAllText("/proc/sys/kernel/random/boot_id").Trim();

    /// <summary>Whether exactly this process is alive; a zombie is not.</summary>
    public bool IsAlive() => BootId == CurrentBootId && Find(Pid) == this;

    /// <summary>Identity of a live process; null when there is none, or only a zombie.</summary>
    public static ProcessIdentity? Find(int pid)
    {
        string text;
        try
        {
            text = File.ReadAllText(string.Create(CultureInfo.InvariantCulture, $"/proc/{pid}/stat"));
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return null;
        }

        // The command name, field 2, may itself hold spaces and parentheses: count from the last one.
        var fields = text[(text.LastIndexOf(')') + 2)..].Split(' ');
        return fields[StateField] is "Z" or "X"
            ? null
            : new ProcessIdentity(pid, long.Parse(fields[StartTimeField], CultureInfo.InvariantCulture), CurrentBootId);
    }

    /// <summary>Command line of a process; empty when it is gone, a zombie or a kernel thread.</summary>
    public static IReadOnlyList<string> CommandLine(int pid)
    {
        try
        {
            var text = File.ReadAllText(string.Create(CultureInfo.InvariantCulture, $"/proc/{pid}/cmdline"));
            return text.Length == 0 ? [] : text.TrimEnd('\0').Split('\0');
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return [];
        }
    }

    /// <summary>Process ids on this host, in no order.</summary>
    public static IEnumerable<int> AllPids() =>
        from directory in Directory.EnumerateDirectories("/proc")
        let name = Path.GetFileName(directory)
        where char.IsAsciiDigit(name[0])
        select int.Parse(name, CultureInfo.InvariantCulture);
}
