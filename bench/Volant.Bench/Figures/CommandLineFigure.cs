using System.Globalization;

namespace Volant.Bench.Figures;

/// <summary>volar: how long the shortest command takes, against the smallest program started the same way.</summary>
internal static class CommandLineFigure
{
    private const int WarmUps = 5;

    private static readonly Aim TimeAim = new(15);

    public static async Task<Section> MeasureAsync(BenchContext context, CancellationToken cancellationToken)
    {
        List<double> volar = [];
        List<double> floor = [];
        for (var i = -WarmUps; i < context.Options.Spawns; i++)
        {
            var one = await RunAsync(context, [context.Program("volar"), "version"], cancellationToken);
            var other = await RunAsync(context, ["/bin/true"], cancellationToken);
            if (i >= 0)
            {
                volar.Add(one);
                floor.Add(other);
            }
        }

        var bytes = context.SizeOf("volar");
        return new Section("volar, the command line")
            .Add("`volar version`, start → end", "ms", volar, TimeAim)
            .Add("floor: `/bin/true`, started the same way", "ms", floor)
            .Add("size of the program", "MB", [bytes / 1e6])
            .Note($"The program has {bytes.ToString("#,##0", CultureInfo.InvariantCulture)} bytes. In turns; the first {WarmUps} of each are left out.");
    }

    private static async Task<double> RunAsync(BenchContext context, IReadOnlyList<string> arguments, CancellationToken cancellationToken)
    {
        var started = context.Clock.GetTimestamp();
        await using var child = Child.Start(arguments);
        var exit = await child.Exit.WaitAsync(cancellationToken);
        var elapsed = context.MillisecondsSince(started);
        return exit.ExitCode == 0 ? elapsed : throw new IOException($"'{string.Join(' ', arguments)}' failed with exit code {exit.ExitCode}, signal {exit.Signal}.");
    }
}
