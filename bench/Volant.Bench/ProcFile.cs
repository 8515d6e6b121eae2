using System.Globalization;

namespace Volant.Bench;

/// <summary>Reads texts of <c>/proc</c> (proc(5)), of this host or of a guest.</summary>
internal static class ProcFile
{
    private const int UserTimeField = 11;
    private const int SystemTimeField = 12;

    /// <summary>A value in KiB of <c>/proc/PID/status</c> or <c>/proc/meminfo</c>.</summary>
    /// <exception cref="FormatException">There is no such line.</exception>
    public static long Kilobytes(string text, string name)
    {
        var line = text.Split('\n').FirstOrDefault(line => line.StartsWith($"{name}:", StringComparison.Ordinal))
            ?? throw new FormatException($"There is no line '{name}' in: {text}");
        return long.Parse(line.Split(' ', StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries)[1], CultureInfo.InvariantCulture);
    }

    /// <summary>Processor time that a process has used, in ticks of 10 ms: fields <c>utime</c> and <c>stime</c> of a line of <c>/proc/PID/stat</c>.</summary>
    public static long Ticks(string stat)
    {
        // The command name, field 2, may itself hold spaces and parentheses: count from the last one, which field 3 follows.
        var fields = stat[(stat.LastIndexOf(')') + 2)..].Split(' ');
        return long.Parse(fields[UserTimeField], CultureInfo.InvariantCulture) + long.Parse(fields[SystemTimeField], CultureInfo.InvariantCulture);
    }
}
