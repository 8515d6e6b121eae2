namespace Volant.Bench.Figures;

/// <summary>volantd: start until ready with an empty database, and its memory before and after some requests.</summary>
internal static class DaemonFigure
{
    private const int Requests = 1000;
    private const double Megabyte = 1e6;

    private static readonly Aim StartAim = new(300);
    private static readonly Aim MemoryAim = new(70, Worst: true);
    private static readonly string[] Paths = ["/api/v1/vms", "/api/v1/plugins", "/api/v1/system/info", "/healthz"];

    public static async Task<Section> MeasureAsync(BenchContext context, CancellationToken cancellationToken)
    {
        _ = await RoundAsync(context, cancellationToken);
        List<Round> rounds = [];
        while (rounds.Count < context.Options.Starts)
        {
            rounds.Add(await RoundAsync(context, cancellationToken));
        }

        var bytes = context.SizeOf("volantd");
        return new Section("volantd, the daemon")
            .Add("start → first 200 of /readyz, empty database", "ms", rounds.Select(round => round.StartMs), StartAim)
            .Add("resident memory then (VmRSS)", "MB", rounds.Select(round => round.AtStart / Megabyte), MemoryAim)
            .Add($"resident memory after {Requests:#,##0} GET requests", "MB", rounds.Select(round => round.AfterRequests / Megabyte), MemoryAim)
            .Add("size of the program", "MB", [bytes / Megabyte])
            .Note($"Started in the directory /, as a service manager does. Ready is asked for every millisecond. The requests go one after another to {string.Join(", ", Paths)}. The first start is left out.");
    }

    private static async Task<Round> RoundAsync(BenchContext context, CancellationToken cancellationToken)
    {
        await using var daemon = await BenchDaemon.StartAsync(context, context.Kernel, cancellationToken);
        var ready = context.MillisecondsSince(daemon.StartedAt);
        var atStart = daemon.ResidentBytes;
        for (var i = 0; i < Requests; i++)
        {
            await daemon.GetAsync(Paths[i % Paths.Length], cancellationToken);
        }

        return new Round(ready, atStart, daemon.ResidentBytes);
    }

    private sealed record Round(double StartMs, long AtStart, long AfterRequests);
}
