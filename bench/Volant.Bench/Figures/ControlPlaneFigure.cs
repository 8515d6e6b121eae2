namespace Volant.Bench.Figures;

/// <summary>What the control plane adds to a launch: one VM at a time, created and deleted, without waiting for its guest.</summary>
internal static class ControlPlaneFigure
{
    private static readonly Aim SpawnAim = new(25);

    public static async Task<Section> MeasureAsync(BenchContext context, CancellationToken cancellationToken)
    {
        await using var daemon = await BenchDaemon.StartAsync(context, context.Kernel, cancellationToken);
        await daemon.InstallAsync(await BenchPlugin.BuildIdleAsync(context, cancellationToken), cancellationToken);
        var first = await RoundAsync(daemon, cancellationToken);
        List<CreatedVm> rounds = [];
        while (rounds.Count < context.Options.Launches)
        {
            rounds.Add(await RoundAsync(daemon, cancellationToken));
        }

        return new Section("Control plane: POST /api/v1/vms")
            .Add("accepted → QEMU process exists", "ms", rounds.Select(round => round.SpawnMs), SpawnAim)
            .Add("accepted → QEMU answers on its control socket", "ms", rounds.Select(round => round.LaunchMs))
            .Add("of that, from the process on: QEMU's own start", "ms", rounds.Select(round => round.LaunchMs - round.SpawnMs))
            .Add("client: request sent → answer read", "ms", rounds.Select(round => round.TotalMs))
            .Note($"The first launch after the start, which also puts the kernel's modules in front of the initramfs, is left out: {first.SpawnMs:0} ms until the process existed.");
    }

    private static async Task<CreatedVm> RoundAsync(BenchDaemon daemon, CancellationToken cancellationToken)
    {
        var created = await daemon.CreateAsync("control", "bench-idle", waitReady: false, cancellationToken);
        await daemon.DeleteAsync("control", cancellationToken);
        return created;
    }
}
