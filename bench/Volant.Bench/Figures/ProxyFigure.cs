using System.Globalization;

namespace Volant.Bench.Figures;

/// <summary>HTTP through volantd into a guest: latency, concurrent requests and a large download.</summary>
internal static class ProxyFigure
{
    private const int Concurrency = 50;
    private const int WarmUps = 100;
    private const long DownloadBytes = 64L << 20;
    private const string Guest = "/api/v1/vms/proxy/agent/";

    public static async Task<Section> MeasureAsync(BenchContext context, CancellationToken cancellationToken)
    {
        await using var daemon = await BenchDaemon.StartAsync(context, context.Kernel, cancellationToken);
        await daemon.InstallAsync(await BenchPlugin.BuildProxyAsync(context, cancellationToken), cancellationToken);
        await daemon.CreateAsync("proxy", "bench-proxy", waitReady: true, cancellationToken);
        var section = new Section("HTTP through volantd into a guest")
            .Add("GET into the guest, one after another", "ms", await SequentialAsync(context, daemon, Guest, cancellationToken))
            .Add("floor: GET that volantd answers itself (/healthz)", "ms", await SequentialAsync(context, daemon, "/healthz", cancellationToken));
        var (perSecond, latencies, failures) = await LoadAsync(context, daemon, cancellationToken);
        section
            .Add($"{Concurrency} at once: answers in each second", "1/s", perSecond)
            .Add($"{Concurrency} at once: time of one request", "ms", latencies)
            .Add($"download of {DownloadBytes >> 20} MiB", "MiB/s", await DownloadAsync(context, daemon, cancellationToken));
        return section.Note($"The client runs on the same processors as volantd and the guest. {failures} of {latencies.Count + failures} concurrent requests failed. The first {WarmUps} sequential requests of each kind are left out.");
    }

    private static async Task<List<double>> SequentialAsync(BenchContext context, BenchDaemon daemon, string path, CancellationToken cancellationToken)
    {
        List<double> times = [];
        for (var i = -WarmUps; i < context.Options.Requests; i++)
        {
            var sent = context.Clock.GetTimestamp();
            await daemon.GetAsync(path, cancellationToken);
            if (i >= 0)
            {
                times.Add(context.MillisecondsSince(sent));
            }
        }

        return times;
    }

    private static async Task<(IReadOnlyList<double> PerSecond, IReadOnlyList<double> Latencies, int Failures)> LoadAsync(BenchContext context, BenchDaemon daemon, CancellationToken cancellationToken)
    {
        var seconds = context.Options.LoadSeconds;
        var gate = new Lock();
        var answers = new double[seconds];
        List<double> latencies = [];
        var failures = 0;
        var started = context.Clock.GetTimestamp();
        await Task.WhenAll(Enumerable.Range(0, Concurrency).Select(_ => ClientAsync()));
        return (answers, latencies, failures);

        async Task ClientAsync()
        {
            while (context.Clock.GetElapsedTime(started).TotalSeconds < seconds)
            {
                var sent = context.Clock.GetTimestamp();
                var succeeded = await SucceedsAsync(daemon, cancellationToken);
                var second = (int)context.Clock.GetElapsedTime(started).TotalSeconds;
                lock (gate)
                {
                    if (!succeeded)
                    {
                        failures++;
                        continue;
                    }

                    latencies.Add(context.MillisecondsSince(sent));
                    if (second < seconds)
                    {
                        answers[second]++;
                    }
                }
            }
        }
    }

    private static async Task<bool> SucceedsAsync(BenchDaemon daemon, CancellationToken cancellationToken)
    {
        try
        {
            await daemon.GetAsync(Guest, cancellationToken);
            return true;
        }
        catch (Exception e) when (e is HttpRequestException or IOException)
        {
            return false;
        }
    }

    private static async Task<List<double>> DownloadAsync(BenchContext context, BenchDaemon daemon, CancellationToken cancellationToken)
    {
        var buffer = new byte[256 * 1024];
        List<double> rates = [];
        while (rates.Count < context.Options.Downloads)
        {
            var sent = context.Clock.GetTimestamp();
            using var response = await daemon.Client.GetAsync(string.Create(CultureInfo.InvariantCulture, $"{Guest}bytes/{DownloadBytes}"), HttpCompletionOption.ResponseHeadersRead, cancellationToken);
            response.EnsureSuccessStatusCode();
            await using var body = await response.Content.ReadAsStreamAsync(cancellationToken);
            var length = 0L;
            while (await body.ReadAsync(buffer, cancellationToken) is > 0 and var count)
            {
                length += count;
            }

            if (length != DownloadBytes)
            {
                throw new IOException($"The download ended after {length} of {DownloadBytes} bytes.");
            }

            rates.Add(length / 1024.0 / 1024.0 / context.Clock.GetElapsedTime(sent).TotalSeconds);
        }

        return rates;
    }
}
