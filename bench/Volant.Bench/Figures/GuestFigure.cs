using System.Globalization;
using System.Text.RegularExpressions;

namespace Volant.Bench.Figures;

/// <summary>kestrel: its file, and its memory and processor time as PID 1 of an idle guest.</summary>
internal static partial class GuestFigure
{
    private const double Megabyte = 1e6;
    private const double TicksPerSecond = 100;

    private static readonly Aim FileAim = new(10, Worst: true);
    private static readonly Aim HandOverAim = new(500);
    private static readonly Aim MemoryAim = new(16, Worst: true);
    private static readonly Aim IdleAim = new(1, Worst: true);
    private static readonly TimeSpan SettleTime = TimeSpan.FromSeconds(2);

    public static async Task<Section> MeasureAsync(BenchContext context, CancellationToken cancellationToken)
    {
        var bytes = context.SizeOf("kestrel");
        List<double> handOvers = [];
        await using var daemon = await BenchDaemon.StartAsync(context, context.Kernel, cancellationToken);
        await daemon.InstallAsync(await BenchPlugin.BuildIdleAsync(context, cancellationToken), cancellationToken);
        for (var boot = 0; boot < context.Options.Boots; boot++)
        {
            await daemon.CreateAsync("boot", BenchPlugin.IdleName, waitReady: true, cancellationToken);
            handOvers.Add(AgentUpMs(daemon) - InitMs(await daemon.GetAsync($"/api/v1/vms/boot/agent/{BenchPlugin.KernelLogPage}", cancellationToken)));
            await daemon.DeleteAsync("boot", cancellationToken);
        }

        await daemon.CreateAsync("guest", BenchPlugin.IdleName, waitReady: true, cancellationToken);
        await Task.Delay(SettleTime, context.Clock, cancellationToken);
        List<Window> windows = [];
        while (windows.Count < context.Options.IdleWindows)
        {
            windows.Add(Window.Parse(await daemon.GetAsync($"/api/v1/vms/guest/agent/{BenchPlugin.IdlePage}", cancellationToken)));
        }

        return new Section("kestrel, the agent")
            .Add("size of the program", "MB", [bytes / Megabyte], FileAim)
            .Add("kernel runs /init → agent answers", "ms", handOvers, HandOverAim)
            .Add("resident memory of PID 1 in an idle guest (VmRSS)", "MB", windows.Select(window => window.ResidentBytes / Megabyte), MemoryAim)
            .Add("of that, not backed by a file (RssAnon)", "MB", windows.Select(window => window.AnonymousBytes / Megabyte))
            .Add("most that it ever was (VmHWM)", "MB", windows.Select(window => window.PeakBytes / Megabyte))
            .Add("memory of the whole guest in use (MemTotal − MemAvailable)", "MB", windows.Select(window => window.UsedBytes / Megabyte))
            .Add("processor time of PID 1 while idle, of one virtual processor", "%", windows.Select(window => window.BusyPercent), IdleAim)
            .Note($"The program has {bytes.ToString("#,##0", CultureInfo.InvariantCulture)} bytes. Windows of {BenchPlugin.IdleSeconds} s; the kernel counts processor time in steps of 10 ms, so one step is {100 / TicksPerSecond / BenchPlugin.IdleSeconds:0.0} %. " +
                $"The guest had been up for {windows[0].UptimeSeconds:0} s when the first ended.");
    }

    /// <summary>Milliseconds since the start of the kernel at which the agent said that it answers; it says so on the console.</summary>
    private static double AgentUpMs(BenchDaemon daemon)
    {
        var log = Directory.GetFiles(daemon.LogDirectory, "console.log", SearchOption.AllDirectories).Single();
        var match = UpLine().Match(File.ReadAllText(log));
        return match.Success ? double.Parse(match.Groups["ms"].ValueSpan, CultureInfo.InvariantCulture) : throw new IOException($"The agent never said in {log} that it is up.");
    }

    /// <summary>Milliseconds since the start of the kernel at which it ran the agent, by its log.</summary>
    private static double InitMs(string kernelLog) => double.Parse(InitLine().Match(kernelLog).Groups["seconds"].ValueSpan, CultureInfo.InvariantCulture) * 1000;

    [GeneratedRegex("up after (?<ms>[0-9]+) ms", RegexOptions.CultureInvariant | RegexOptions.ExplicitCapture, 1000)]
    private static partial Regex UpLine();

    [GeneratedRegex(@"\[ *(?<seconds>[0-9.]+)\] Run /init", RegexOptions.CultureInvariant | RegexOptions.ExplicitCapture, 1000)]
    private static partial Regex InitLine();

    /// <summary>One answer of the idle guest's page.</summary>
    private sealed record Window(double BusyPercent, long ResidentBytes, long AnonymousBytes, long PeakBytes, long UsedBytes, double UptimeSeconds)
    {
        public static Window Parse(string page)
        {
            var parts = page.Split($"{BenchPlugin.IdleSeparator}\n");
            if (parts.Length != 4)
            {
                throw new IOException($"The idle guest's page has {parts.Length} parts instead of 4: {page}");
            }

            var facts = parts[2];
            return new Window(
                (ProcFile.Ticks(parts[1]) - ProcFile.Ticks(parts[0])) / TicksPerSecond / BenchPlugin.IdleSeconds * 100,
                ProcFile.Kilobytes(facts, "VmRSS") * 1024,
                ProcFile.Kilobytes(facts, "RssAnon") * 1024,
                ProcFile.Kilobytes(facts, "VmHWM") * 1024,
                (ProcFile.Kilobytes(facts, "MemTotal") - ProcFile.Kilobytes(facts, "MemAvailable")) * 1024,
                double.Parse(parts[3].Split(' ')[0], CultureInfo.InvariantCulture));
        }
    }
}
