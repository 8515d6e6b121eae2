using System.Globalization;

namespace Volant.Linux.Processes;

/// <summary>What a process has used and holds (proc(5), <c>/proc/PID/stat</c>).</summary>
/// <param name="CpuTime">Processor time of all its threads, in user and kernel mode, since its start.</param>
/// <param name="ResidentBytes">Memory that is in RAM now, shared pages included.</param>
/// <param name="Threads">Threads now.</param>
public sealed record ProcessUsage(TimeSpan CpuTime, long ResidentBytes, int Threads)
{
    // Counted from the state, field 3, which is index 0 behind the name in parentheses.
    private const int UserTime = 11;
    private const int SystemTime = 12;
    private const int ThreadCount = 17;
    private const int ResidentPages = 21;

    // USER_HZ is 100 on every architecture that Volant runs on.
    private const int TicksPerSecond = 100;

    /// <summary>Usage of a process; null when it is gone.</summary>
    public static ProcessUsage? Find(int pid)
    {
        try
        {
            var text = File.ReadAllText(string.Create(CultureInfo.InvariantCulture, $"/proc/{pid}/stat"));
            var fields = text[(text.LastIndexOf(')') + 2)..].Split(' ');
            return new ProcessUsage(
                TimeSpan.FromSeconds((Number(UserTime) + Number(SystemTime)) / (double)TicksPerSecond), Number(ResidentPages) * Environment.SystemPageSize, (int)Number(ThreadCount));

            long Number(int index) => long.Parse(fields[index], CultureInfo.InvariantCulture);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return null;
        }
    }
}
