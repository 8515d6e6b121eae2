namespace Volant.Bench.Figures;

/// <summary>Launch until ready through volantd against the same QEMU started by hand, in turns.</summary>
internal static class BootFigure
{
    private static readonly Aim RatioAim = new(1.15);

    public static async Task<Section> MeasureAsync(BenchContext context, CancellationToken cancellationToken)
    {
        var section = new Section("Launch → ready, against bare QEMU");
        var manifest = await BenchPlugin.BuildIdleAsync(context, cancellationToken);
        await MeasureAsync(context, context.Kernel, manifest, section, cancellationToken);
        if (context.Options.VmLinux is { } kernel)
        {
            await MeasureAsync(context, new GuestKernel("custom", context.Kernel.BzImage, kernel), manifest, section, cancellationToken);
        }

        return section.Note("Bare: the command line that volantd used for a VM of the same plugin, with other directories for sockets and logs; ready when the agent says so over the same kind of channel. The first pair is left out.");
    }

    private static async Task MeasureAsync(BenchContext context, GuestKernel kernel, string manifest, Section section, CancellationToken cancellationToken)
    {
        await using var daemon = await BenchDaemon.StartAsync(context, kernel, cancellationToken);
        await daemon.InstallAsync(manifest, cancellationToken);
        var (_, bare) = await BootAsync(context, daemon, capture: true, cancellationToken);
        var (_, release) = await bare!.BootAsync(cancellationToken);
        List<CreatedVm> through = [];
        List<double> byHand = [];
        while (byHand.Count < context.Options.Boots)
        {
            through.Add((await BootAsync(context, daemon, capture: false, cancellationToken)).Created);
            byHand.Add((await bare.BootAsync(cancellationToken)).Ms);
            BenchContext.Progress($"{kernel.Name} kernel, pair {byHand.Count}: {through[^1].Vm.BootMs} ms, bare {byHand[^1]:0} ms");
        }

        var boots = through.Select(created => (double)(created.Vm.BootMs ?? throw new IOException("volantd gave no boot_ms."))).ToList();
        var name = $"{release} ({kernel.Name})";
        var floor = new Samples(byHand).Median;
        section
            .Add($"{name}, A: volantd, launch → ready (boot_ms)", "ms", boots)
            .Add($"{name}, A: client, request sent → ready answered", "ms", through.Select(created => created.TotalMs))
            .Add($"{name}, B: bare QEMU, start → ready", "ms", byHand)
            .Add($"{name}, A launch → ready ÷ median of B", "ratio", boots.Select(boot => boot / floor), RatioAim)
            .Add($"{name}, A client ÷ median of B", "ratio", through.Select(created => created.TotalMs / floor));
    }

    private static async Task<(CreatedVm Created, BareQemu? Bare)> BootAsync(BenchContext context, BenchDaemon daemon, bool capture, CancellationToken cancellationToken)
    {
        var created = await daemon.CreateAsync("boot", "bench-idle", waitReady: true, cancellationToken);
        var bare = capture ? BareQemu.Capture(context, daemon, created.Vm) : null;
        await daemon.DeleteAsync("boot", cancellationToken);
        return (created, bare);
    }
}
