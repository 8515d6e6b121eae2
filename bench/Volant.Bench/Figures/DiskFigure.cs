using System.Globalization;
using System.Text.RegularExpressions;

namespace Volant.Bench.Figures;

/// <summary>What a root image of 1 GiB costs a VM: nothing is copied, whatever its size.</summary>
internal static partial class DiskFigure
{
    private const long ImageBytes = 1 << 30;
    private const int FilledBytes = 256 << 20;

    private static readonly Aim WorkAim = new(50, Worst: true);
    private static readonly Aim NothingAim = new(0, Worst: true);

    public static async Task<Section> MeasureAsync(BenchContext context, CancellationToken cancellationToken)
    {
        var images = context.NewDirectory("images");
        var image = Path.Combine(images, "root.img");
        await MakeImageAsync(image, cancellationToken);
        await using var daemon = await BenchDaemon.StartAsync(context, context.Kernel, cancellationToken, new Dictionary<string, string>(StringComparer.Ordinal) { ["VOLANT_IMAGE_DIRS"] = images });
        var manifest = Path.Combine(images, "manifest.json");
        await File.WriteAllTextAsync(manifest, $$"""
            {"schema_version": "1.0", "name": "bench-disk", "version": "1", "runtime": "bench", "resources": {"cpu_cores": 1, "memory_mb": 128}, "network": {"mode": "vsock"},
             "workload": {"type": "process", "entrypoint": ["/bin/true"]}, "rootfs": {"url": "file://{{image}}", "format": "raw"} }
            """, cancellationToken);
        using (var body = new StringContent(await File.ReadAllTextAsync(manifest, cancellationToken), System.Text.Encoding.UTF8, "application/json"))
        using (var response = await daemon.Client.PostAsync("/api/v1/plugins", body, cancellationToken))
        {
            response.EnsureSuccessStatusCode();
        }

        var first = await RoundAsync(daemon, cancellationToken);
        List<Round> rounds = [];
        while (rounds.Count < context.Options.Launches)
        {
            rounds.Add(await RoundAsync(daemon, cancellationToken));
        }

        return new Section("Disks: a VM on a root image of 1 GiB")
            .Add("time for its disk: overlay, and the record that it is complete", "ms", rounds.Select(round => round.DiskMs), WorkAim)
            .Add("accepted → QEMU process exists, disk included", "ms", rounds.Select(round => round.SpawnMs))
            .Add("bytes that come into the artifact cache", "B", rounds.Select(round => (double)round.CachedBytes), NothingAim)
            .Add("bytes on the host's disk for the new disk", "KiB", rounds.Select(round => round.OverlayBytes / 1024.0))
            .Note(string.Create(CultureInfo.InvariantCulture, $"The first create, which copies the image into the cache and computes its checksum, is left out: {first.SpawnMs:0} ms. The image has {FilledBytes >> 20} MiB of random bytes, the rest is empty; the guest finds no file system on it and ends."));
    }

    private static async Task MakeImageAsync(string path, CancellationToken cancellationToken)
    {
        await using var file = File.Create(path);
        var block = new byte[1 << 20];
        var random = new Random(1);
        for (var written = 0; written < FilledBytes; written += block.Length)
        {
            random.NextBytes(block);
            await file.WriteAsync(block, cancellationToken);
        }

        file.SetLength(ImageBytes);
    }

    private static async Task<Round> RoundAsync(BenchDaemon daemon, CancellationToken cancellationToken)
    {
        var cached = SizeOf(daemon.CacheDirectory);
        var before = await DiskSecondsAsync(daemon, cancellationToken);
        var created = await daemon.CreateAsync("disk", "bench-disk", waitReady: false, cancellationToken);
        var round = new Round((await DiskSecondsAsync(daemon, cancellationToken) - before) * 1000, created.SpawnMs, SizeOf(daemon.CacheDirectory) - cached, await AllocatedAsync(daemon.DiskDirectory, cancellationToken));
        await daemon.DeleteAsync("disk", cancellationToken);
        return round;
    }

    /// <summary>Seconds of the boots' phase 'disks' so far, as the daemon counts them.</summary>
    private static async Task<double> DiskSecondsAsync(BenchDaemon daemon, CancellationToken cancellationToken) =>
        DiskSeconds().Match(await daemon.GetAsync("/metrics", cancellationToken)) is { Success: true } match ? double.Parse(match.Groups["seconds"].ValueSpan, CultureInfo.InvariantCulture) : 0;

    private static long SizeOf(string directory) => Directory.Exists(directory) ? new DirectoryInfo(directory).EnumerateFiles("*", SearchOption.AllDirectories).Sum(file => file.Length) : 0;

    private static async Task<long> AllocatedAsync(string directory, CancellationToken cancellationToken)
    {
        var output = await Child.RunAsync(["du", "-s", "-B1", directory], Path.GetDirectoryName(directory)!, cancellationToken);
        return long.Parse(output.Split('\t')[0], CultureInfo.InvariantCulture);
    }

    [GeneratedRegex(@"volant_vm_boot_duration_seconds_sum\{[^}]*phase=""disks""[^}]*\} (?<seconds>[0-9.e+-]+)", RegexOptions.CultureInvariant | RegexOptions.ExplicitCapture, 1000)]
    private static partial Regex DiskSeconds();

    private sealed record Round(double DiskMs, double SpawnMs, long CachedBytes, long OverlayBytes);
}
