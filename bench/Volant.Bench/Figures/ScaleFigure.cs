using System.Collections.Concurrent;
using System.Globalization;

namespace Volant.Bench.Figures;

/// <summary>A thousand VMs on one host, with a stand-in for the hypervisor: creates, reads, events, and a restart of the daemon.</summary>
internal static class ScaleFigure
{
    private const int Vms = 1000;
    private const int Window = 200;
    private const int Callers = 20;
    private const int Subscribers = 1000;
    private const int ListsPerSecond = 100;
    private const int GetsPerSecond = 500;
    private const int ReadSeconds = 5;
    private const int Restarts = 3;
    private const double Megabyte = 1e6;

    public static async Task<Section> MeasureAsync(BenchContext context, CancellationToken cancellationToken)
    {
        var section = new Section($"{Vms:#,##0} VMs (stand-in for the hypervisor)");
        section.Add("floor: a stand-in by hand, spawn → its control socket answers", "ms", await SpawnByHandAsync(context, cancellationToken));
        var variables = new Dictionary<string, string>(StringComparer.Ordinal) { ["VOLANT_HYPERVISOR"] = context.Options.StandIn, ["VOLANT_RATE_LIMIT"] = "0" };
        var daemon = await BenchDaemon.StartAsync(context, context.Kernel, cancellationToken, variables);
        try
        {
            await InstallAsync(context, daemon, cancellationToken);
            await CreateAsync(context, daemon, section, cancellationToken);
            await ReadAsync(context, daemon, section, cancellationToken);
            await FollowAsync(context, daemon, section, cancellationToken);
            section.Add($"resident memory with {Vms:#,##0} VMs and after {Subscribers:#,##0} followers", "MB", [daemon.ResidentBytes / Megabyte]);
            await RestartAsync(context, daemon, section, cancellationToken);
            return section.Note(
                $"Creates: {Callers} callers, each with its next request as soon as the last is answered, from the first VM to the {Vms:#,##0}th. " +
                $"Reads: {ListsPerSecond} lists and {GetsPerSecond} gets a second on a fixed schedule for {ReadSeconds} s; the time counts from when a request was due, answered or not the one before. " +
                $"The daemon answers before it has taken over its VMs; operations on a VM wait until it has.");
        }
        finally
        {
            await daemon.DisposeAsync();
        }
    }

    private static async Task InstallAsync(BenchContext context, BenchDaemon daemon, CancellationToken cancellationToken)
    {
        BenchContext.Progress("scale: installing the plugin");
        await daemon.InstallAsync(await BenchPlugin.BuildIdleAsync(context, cancellationToken), cancellationToken);
        _ = await daemon.CreateAsync("warm", BenchPlugin.IdleName, waitReady: true, cancellationToken);
        await daemon.DeleteAsync("warm", cancellationToken);
    }

    private static async Task CreateAsync(BenchContext context, BenchDaemon daemon, Section section, CancellationToken cancellationToken)
    {
        BenchContext.Progress($"scale: creating {Vms} VMs");
        var before = await MetricAsync(daemon, "process_cpu_time_seconds_total", cancellationToken);
        var done = new ConcurrentQueue<(long At, double Ms)>();
        var next = -1;
        var started = context.Clock.GetTimestamp();
        await Task.WhenAll(Enumerable.Range(0, Callers).Select(async _ =>
        {
            while (Interlocked.Increment(ref next) is < Vms and var number)
            {
                var vm = await daemon.CreateAsync(Name(number), BenchPlugin.IdleName, waitReady: false, cancellationToken);
                done.Enqueue((context.Clock.GetTimestamp(), vm.TotalMs));
            }
        }));
        var ends = done.OrderBy(create => create.At).ToList();
        section.Add($"creates a second, VMs 1 to {Window}", "1/s", [Rate(ends[0].At, ends[Window - 1].At, Window - 1)], new Aim(200, AtLeast: true))
            .Add($"creates a second, VMs {Vms - Window + 1} to {Vms:#,##0}", "1/s", [Rate(ends[^Window].At, ends[^1].At, Window - 1)], new Aim(200, AtLeast: true))
            .Add($"creates a second, all {Vms:#,##0}", "1/s", [Rate(started, ends[^1].At, Vms)])
            .Add("one create, from the request to its answer", "ms", ends.Select(create => create.Ms));

        var used = await MetricAsync(daemon, "process_cpu_time_seconds_total", cancellationToken) - before;
        section.Add("processor time of the daemon per create", "ms", [1000 * used / Vms]);
        BenchContext.Progress($"scale: created at {Rate(started, ends[^1].At, Vms):0} a second");

        double Rate(long from, long to, int count) => count / context.Clock.GetElapsedTime(from, to).TotalSeconds;
    }

    private static async Task ReadAsync(BenchContext context, BenchDaemon daemon, Section section, CancellationToken cancellationToken)
    {
        // All of them are ready before it is quiet enough to measure.
        while (await MetricAsync(daemon, "volant_vms_ready", cancellationToken) < Vms)
        {
            await Task.Delay(TimeSpan.FromMilliseconds(200), context.Clock, cancellationToken);
        }

        BenchContext.Progress("scale: reading");
        var lists = await FixedPace.MeasureAsync(context.Clock, daemon.Socket, ListsPerSecond, ReadSeconds, i => string.Create(CultureInfo.InvariantCulture, $"/api/v1/vms?limit=100&offset={i % 10 * 100}"));
        section.Add("list of 100", "ms", lists, new Aim(2)).Add("list of 100, 99th percentile", "ms", [Percentile(lists, 99)], new Aim(10));
        var gets = await FixedPace.MeasureAsync(context.Clock, daemon.Socket, GetsPerSecond, ReadSeconds, i => $"/api/v1/vms/{Name(i * 7 % Vms)}");
        section.Add("get of one", "ms", gets, new Aim(0.5)).Add("get of one, 99th percentile", "ms", [Percentile(gets, 99)]);
    }

    /// <summary>Value of the first series of a metric.</summary>
    private static async Task<double> MetricAsync(BenchDaemon daemon, string name, CancellationToken cancellationToken) =>
        double.Parse((await daemon.GetAsync("/metrics", cancellationToken)).Split('\n').First(line => line.StartsWith(name, StringComparison.Ordinal)).Split(' ')[1], CultureInfo.InvariantCulture);

    private static async Task FollowAsync(BenchContext context, BenchDaemon daemon, Section section, CancellationToken cancellationToken)
    {
        BenchContext.Progress($"scale: {Subscribers} followers");
        using var stop = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        const int created = 10;
        const int perVm = 7;
        var streams = new List<StreamReader>();
        try
        {
            foreach (var batch in Enumerable.Range(0, Subscribers).Chunk(50))
            {
                streams.AddRange(await Task.WhenAll(batch.Select(async _ =>
                {
                    var response = await daemon.Client.GetAsync("/api/v1/events/vms", HttpCompletionOption.ResponseHeadersRead, cancellationToken);
                    return new StreamReader(await response.Content.ReadAsStreamAsync(cancellationToken));
                })));
            }

            var started = context.Clock.GetTimestamp();
            var followers = streams.Select(stream => CountAsync(stream, created * perVm, stop.Token)).ToList();
            for (var i = 0; i < created; i++)
            {
                _ = await daemon.CreateAsync($"seen-{i}", BenchPlugin.IdleName, waitReady: true, cancellationToken);
                using var stopped = await daemon.Client.PostAsync($"/api/v1/vms/seen-{i}/stop", content: null, cancellationToken);
                await daemon.DeleteAsync($"seen-{i}", cancellationToken);
            }

            var made = context.MillisecondsSince(started);
            var seen = await Task.WhenAll(followers);
            section.Add($"{created * perVm} events seen by each of {Subscribers:#,##0} followers: the last one, after the last change was answered", "ms", [context.MillisecondsSince(started) - made])
                .Add("followers that saw every event, in order", "", [seen.Count(complete => complete)], new Aim(Subscribers, AtLeast: true));
        }
        finally
        {
            await stop.CancelAsync();
            streams.ForEach(stream => stream.Dispose());
        }
    }

    /// <summary>Whether so many events come one after another without a gap in their numbers.</summary>
    private static async Task<bool> CountAsync(StreamReader stream, int count, CancellationToken cancellationToken)
    {
        long last = 0;
        while (count > 0)
        {
            if (await stream.ReadLineAsync(cancellationToken) is not { } line)
            {
                return false;
            }

            if (line.StartsWith("id: ", StringComparison.Ordinal))
            {
                var id = long.Parse(line.AsSpan(4), CultureInfo.InvariantCulture);
                if (last != 0 && id != last + 1)
                {
                    return false;
                }

                last = id;
                count--;
            }
        }

        return true;
    }

    private static async Task RestartAsync(BenchContext context, BenchDaemon daemon, Section section, CancellationToken cancellationToken)
    {
        BenchContext.Progress("scale: restarting the daemon");
        List<double> served = [];
        List<double> ready = [];
        List<double> memory = [];
        for (var i = 0; i < Restarts; i++)
        {
            await daemon.RestartAsync("/api/v1/vms?limit=100", cancellationToken);
            served.Add(context.MillisecondsSince(daemon.StartedAt));
            await daemon.WaitAsync("/readyz", cancellationToken);
            ready.Add(context.MillisecondsSince(daemon.StartedAt));
            memory.Add(daemon.ResidentBytes / Megabyte);
        }

        section.Add($"start → first list, {Vms:#,##0} VMs running", "ms", served, new Aim(300))
            .Add("start → all taken over (first 200 of /readyz)", "ms", ready)
            .Add("resident memory then (VmRSS)", "MB", memory, new Aim(120, Worst: true));
    }

    private static async Task<List<double>> SpawnByHandAsync(BenchContext context, CancellationToken cancellationToken)
    {
        List<double> times = [];
        for (var i = 0; i < Window; i++)
        {
            var directory = context.NewDirectory("s");
            var socket = Path.Combine(directory, "qmp");
            var started = context.Clock.GetTimestamp();
            await using var child = Child.Start([context.Options.StandIn, "-chardev", $"socket,id=qmp0,path={socket},server=on,wait=off"], new Dictionary<string, string>(StringComparer.Ordinal), Path.Combine(directory, "log"));
            while (!File.Exists(socket))
            {
                SpinWait.SpinUntil(() => File.Exists(socket), TimeSpan.FromMilliseconds(5));
                cancellationToken.ThrowIfCancellationRequested();
            }

            times.Add(context.MillisecondsSince(started));
            await child.EndAsync(TimeSpan.FromSeconds(1));
        }

        return times;
    }

    private static double Percentile(IEnumerable<double> values, int percent)
    {
        var sorted = values.Order().ToList();
        return sorted[(int)Math.Ceiling(percent / 100.0 * sorted.Count) - 1];
    }

    private static string Name(int number) => string.Create(CultureInfo.InvariantCulture, $"vm-{number:0000}");
}
