using System.Globalization;

namespace Volant.Bench.Figures;

/// <summary>fledge: from a container image of 100 MB to a root disk, against the same done by hand with skopeo, umoci and mke2fs.</summary>
internal static class ImportFigure
{
    private const int Layers = 4;
    private const long PackedBytes = 100_000_000;

    private static readonly Aim RatioAim = new(1.3);

    public static async Task<Section> MeasureAsync(BenchContext context, CancellationToken cancellationToken)
    {
        var directory = context.NewDirectory("import");
        var image = Path.Combine(directory, "image");
        var made = await SyntheticImage.WriteAsync(image, Layers, PackedBytes, cancellationToken);
        List<double> fledge = [];
        List<double> byHand = [];

        // The first round fills the page cache and is left out.
        for (var round = -1; round < context.Options.Imports; round++)
        {
            var one = await FledgeAsync(context, image, cancellationToken);
            var other = await ByHandAsync(context, image, made.UnpackedBytes, cancellationToken);
            if (round >= 0)
            {
                fledge.Add(one);
                byHand.Add(other);
            }
        }

        var floor = byHand.Order().ElementAt(byHand.Count / 2);
        return new Section("fledge, import of an image")
            .Add("`fledge build oci:…`, ext4", "ms", fledge)
            .Add("by hand: `skopeo copy`, `umoci unpack`, `mke2fs -d`", "ms", byHand)
            .Add("ratio: fledge / median by hand", string.Empty, [.. fledge.Select(value => value / floor)], RatioAim)
            .Note(string.Create(CultureInfo.InvariantCulture, $"The image has {Layers} layers, {made.PackedBytes / 1e6:0} MB packed and {made.UnpackedBytes / 1e6:0} MB unpacked, in {made.Files} files, from a layout on disk. fledge also writes the manifest and the disk's checksum. In turns; the first round is left out."));
    }

    private static async Task<double> FledgeAsync(BenchContext context, string image, CancellationToken cancellationToken)
    {
        var work = context.NewDirectory("fledge");
        var started = context.Clock.GetTimestamp();
        await Child.RunAsync([context.Program("fledge"), "build", $"oci:{image}", "--output", Path.Combine(work, "disk"), "--json"], work, cancellationToken);
        var elapsed = context.MillisecondsSince(started);
        Directory.Delete(work, recursive: true);
        return elapsed;
    }

    private static async Task<double> ByHandAsync(BenchContext context, string image, long unpackedBytes, CancellationToken cancellationToken)
    {
        var work = context.NewDirectory("byhand");
        var (copy, bundle, disk) = (Path.Combine(work, "copy"), Path.Combine(work, "bundle"), Path.Combine(work, "disk.img"));
        var mib = (unpackedBytes / (1024 * 1024)) + 200;
        var started = context.Clock.GetTimestamp();
        await Child.RunAsync(["skopeo", "copy", "--quiet", $"oci:{image}:latest", $"oci:{copy}:latest"], work, cancellationToken);
        await Child.RunAsync(["umoci", "unpack", .. Environment.IsPrivilegedProcess ? Array.Empty<string>() : ["--rootless"], "--image", $"{copy}:latest", bundle], work, cancellationToken);
        await Child.RunAsync(["mke2fs", "-q", "-t", "ext4", "-d", Path.Combine(bundle, "rootfs"), disk, string.Create(CultureInfo.InvariantCulture, $"{mib}M")], work, cancellationToken);
        var elapsed = context.MillisecondsSince(started);
        Directory.Delete(work, recursive: true);
        return elapsed;
    }
}
