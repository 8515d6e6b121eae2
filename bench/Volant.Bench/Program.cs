using System.Runtime.InteropServices;
using Volant.Bench.Figures;
using Volant.Daemon;

namespace Volant.Bench;

/// <summary>Takes the figures one after another and prints them as Markdown.</summary>
internal static class Program
{
    private static readonly (string Name, Func<BenchContext, CancellationToken, Task<Section>> Measure)[] Figures =
    [
        ("control", ControlPlaneFigure.MeasureAsync),
        ("boot", BootFigure.MeasureAsync),
        ("disks", DiskFigure.MeasureAsync),
        ("guest", GuestFigure.MeasureAsync),
        ("cli", CommandLineFigure.MeasureAsync),
        ("daemon", DaemonFigure.MeasureAsync),
        ("proxy", ProxyFigure.MeasureAsync),
        ("ports", PortsFigure.MeasureAsync),
        ("scale", ScaleFigure.MeasureAsync),
        ("import", ImportFigure.MeasureAsync),
    ];

    /// <returns>0 when all was measured, whether or not aims are met; 1 when something was not; 2 for a wrong command line; 130 when interrupted.</returns>
    public static async Task<int> Main(string[] arguments)
    {
        if (arguments.Contains("--help", StringComparer.Ordinal) || arguments.Contains("-h", StringComparer.Ordinal))
        {
            Console.Write(BenchOptions.Help);
            return 0;
        }

        using var interrupted = new CancellationTokenSource();
        var signals = new[] { PosixSignal.SIGINT, PosixSignal.SIGTERM, PosixSignal.SIGHUP }.Select(signal => PosixSignalRegistration.Create(signal, context =>
        {
            context.Cancel = true;
            interrupted.Cancel();
        })).ToList();
        var directory = Directory.CreateTempSubdirectory("vb-").FullName;
        try
        {
            var root = FindRoot();
            var options = BenchOptions.Parse(arguments, root, [.. Figures.Select(figure => figure.Name)], Environment.GetEnvironmentVariable);
            var context = new BenchContext(options, root, directory);
            context.CheckFiles();
            return await RunAsync(context, arguments, interrupted.Token);
        }
        catch (UsageException e)
        {
            await Console.Error.WriteLineAsync($"bench: {e.Message}");
            return 2;
        }
        catch (Exception e) when (interrupted.IsCancellationRequested)
        {
            BenchContext.Progress($"interrupted; everything was ended and deleted ({e.GetType().Name})");
            return 130;
        }
        catch (Exception e) when (e is IOException or VolantException)
        {
            await Console.Error.WriteLineAsync($"bench: {e.Message}");
            return 1;
        }
        finally
        {
            Directory.Delete(directory, recursive: true);
            signals.ForEach(signal => signal.Dispose());
        }
    }

    private static async Task<int> RunAsync(BenchContext context, string[] arguments, CancellationToken interrupted)
    {
        using var limit = new CancellationTokenSource(TimeSpan.FromSeconds(context.Options.LimitSeconds), context.Clock);
        using var either = CancellationTokenSource.CreateLinkedTokenSource(limit.Token, interrupted);
        var started = context.Clock.GetTimestamp();
        var machine = await Machine.DescribeAsync(context, arguments, interrupted);
        if (Machine.Load > Environment.ProcessorCount / 2.0)
        {
            BenchContext.Progress($"the load is {Machine.Load}: other work disturbs the figures");
        }

        List<Section> sections = [];
        var complete = true;
        foreach (var (name, measure) in Figures.Where(figure => context.Options.Only.Contains(figure.Name, StringComparer.Ordinal)))
        {
            BenchContext.Progress($"{name} …");
            try
            {
                sections.Add(await measure(context, either.Token));
            }
            catch (Exception e) when (!interrupted.IsCancellationRequested)
            {
                complete = false;
                var why = limit.IsCancellationRequested ? $"the limit of {context.Options.LimitSeconds} s for the whole run was reached" : e.Message;
                BenchContext.Progress($"{name} was not measured: {why}");
                sections.Add(new Section(name).Note($"Not measured: {why.Split('\n')[0].TrimEnd('.')}."));
            }
        }

        interrupted.ThrowIfCancellationRequested();
        machine.Add(("load average at end", Machine.LoadText));
        machine.Add(("duration", $"{context.Clock.GetElapsedTime(started).TotalSeconds:0} s"));
        var report = Report.Write(machine, sections);
        Console.Write(report);
        if (context.Options.Output is { } file)
        {
            await File.WriteAllTextAsync(file, report, interrupted);
        }

        return complete ? 0 : 1;
    }

    /// <summary>Root of the checkout; this program lies below its directory <c>artifacts</c>.</summary>
    private static string FindRoot()
    {
        for (var directory = AppContext.BaseDirectory; directory is not null; directory = Path.GetDirectoryName(directory))
        {
            if (File.Exists(Path.Combine(directory, "Volant.slnx")))
            {
                return directory;
            }
        }

        throw new IOException($"'{AppContext.BaseDirectory}' does not lie in a checkout of Volant; run scripts/bench.sh there.");
    }
}
