using System.Globalization;

namespace Volant.Linux.Kernel;

/// <summary>How busy this host is (proc(5): <c>/proc/stat</c>, <c>/proc/meminfo</c>). Safe for concurrent use.</summary>
public sealed class HostLoad
{
    private readonly Lock _gate = new();
    private (long Busy, long Total) _last;

    /// <summary>Share of processor time that was used since the last call, or since the boot, from 0 to 100.</summary>
    /// <exception cref="IOException">The file cannot be read.</exception>
    public double CpuPercent()
    {
        // cpu user nice system idle iowait irq softirq steal …; guest time is part of user time.
        var fields = File.ReadLines("/proc/stat").First().Split(' ', StringSplitOptions.RemoveEmptyEntries);
        var times = fields.Skip(1).Take(8).Select(field => long.Parse(field, NumberStyles.None, CultureInfo.InvariantCulture)).ToArray();
        var total = times.Sum();
        var busy = total - times[3] - times[4];
        lock (_gate)
        {
            var (wasBusy, wasTotal) = _last;
            if (total - wasTotal <= 0)
            {
                return 0;
            }

            _last = (busy, total);
            return Math.Clamp(100.0 * (busy - wasBusy) / (total - wasTotal), 0, 100);
        }
    }

    /// <summary>Share of memory that is not available to new programs, from 0 to 100.</summary>
    /// <exception cref="IOException">The file cannot be read.</exception>
    public static double MemoryPercent()
    {
        var values = File.ReadLines("/proc/meminfo").Take(8).Select(line => line.Split([':', ' '], StringSplitOptions.RemoveEmptyEntries))
            .ToDictionary(words => words[0], words => double.Parse(words[1], CultureInfo.InvariantCulture), StringComparer.Ordinal);
        return 100 * (1 - (values["MemAvailable"] / values["MemTotal"]));
    }
}
