using System.Globalization;

namespace Volant.Bench.Figures;

/// <summary>kestrel: its file, and its memory and processor time as PID 1 of an idle guest.</summary>
internal static class GuestFigure
{
    private const double Megabyte = 1e6;
    private const double TicksPerSecond = 100;

    private static readonly Aim FileAim = new(10, Worst: true);
    private static readonly Aim MemoryAim = new(16, Worst: true);
    private static readonly TimeSpan SettleTime = TimeSpan.FromSeconds(2);

    public static async Task<Section> MeasureAsync(BenchContext context, CancellationToken cancellationToken)
    {
        var bytes = context.SizeOf("kestrel");
        await using var daemon = await BenchDaemon.StartAsync(context, context.Kernel, cancellationToken);
        await daemon.InstallAsync(await BenchPlugin.BuildIdleAsync(context, cancellationToken), cancellationToken);
        await daemon.CreateAsync("guest", "bench-idle", waitReady: true, cancellationToken);
        await Task.Delay(SettleTime, context.Clock, cancellationToken);
        List<Window> windows = [];
        while (windows.Count < context.Options.IdleWindows)
        {
            windows.Add(Window.Parse(await daemon.GetAsync($"/api/v1/vms/guest/agent/{BenchPlugin.IdlePage}", cancellationToken)));
        }

        return new Section("kestrel, the agent")
            .Add("size of the program", "MB", [bytes / Megabyte], FileAim)
            .Add("resident memory of PID 1 in an idle guest (VmRSS)", "MB", windows.Select(window => window.ResidentBytes / Megabyte), MemoryAim)
            .Add("of that, not backed by a file (RssAnon)", "MB", windows.Select(window => window.AnonymousBytes / Megabyte))
            .Add("most that it ever was (VmHWM)", "MB", windows.Select(window => window.PeakBytes / Megabyte))
            .Add("memory of the whole guest in use (MemTotal − MemAvailable)", "MB", windows.Select(window => window.UsedBytes / Megabyte))
            .Add("processor time of PID 1 while idle, of one virtual processor", "%", windows.Select(window => window.BusyPercent))
            .Note($"The program has {bytes.ToString("#,##0", CultureInfo.InvariantCulture)} bytes. Windows of {BenchPlugin.IdleSeconds} s; the kernel counts processor time in steps of 10 ms, so one step is {100 / TicksPerSecond / BenchPlugin.IdleSeconds:0.0} %. " +
                $"The guest had been up for {windows[0].UptimeSeconds:0} s when the first ended.");
    }

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
