using System.IO.Compression;
using Volant.Fledge.Output;
using Volant.Fledge.Rootfs;
using Volant.Fledge.Tar;

namespace Volant.Fledge.Oci;

/// <summary>Reads the layers of an image, verified packed and unpacked, into a tree.</summary>
internal sealed class LayerUnpacker(ImageSource source, Progress progress)
{
    /// <summary>Applies every layer.</summary>
    /// <exception cref="FledgeException">A layer is damaged, hostile or too large; nothing may be used then.</exception>
    public async Task UnpackAsync(ResolvedImage image, LayerMerger merger, CancellationToken cancellationToken)
    {
        var total = image.Layers.Sum(layer => layer.Packed.Size);
        var (done, left) = (0L, OciLimits.MaxUnpackedBytes);
        foreach (var (packed, diffId) in image.Layers)
        {
            await using var raw = await source.OpenAsync(packed, cancellationToken);
            var before = done;
            left -= Unpack(raw, packed, diffId, merger, left, position => progress.Show("unpacking", before + position, total), cancellationToken);
            done += packed.Size;
        }

        progress.Clear();
    }

    private static long Unpack(Stream raw, Descriptor packed, string diffId, LayerMerger merger, long left, Action<long> report, CancellationToken cancellationToken)
    {
        var name = packed.Digest ?? packed.Path!;
        var size = packed.Digest is null ? raw.Length : packed.Size;
        using var verified = new VerifiedStream(raw, $"The layer {name}", ImageSource.DigestOf(packed), size, $"is longer than the {size} bytes that the manifest says: it is damaged. Fetch the image again.");
        try
        {
            var ratio = size > long.MaxValue / OciLimits.MaxRatio ? long.MaxValue : size * OciLimits.MaxRatio;
            var limit = Math.Min(left, Math.Max(OciLimits.FreeUnpackedBytes, ratio));
            using var plain = new VerifiedStream(
                Decompress(raw, verified, name), $"The layer {name}, unpacked,", diffId, limit,
                $"exceeds {limit} bytes; an image has at most {OciLimits.MaxUnpackedBytes}, and a layer at most {OciLimits.MaxRatio} times its packed size.");
            using var buffered = new BufferedStream(plain, 256 * 1024);
            merger.Apply(new TarReader(buffered), cancellationToken, () => report(raw.Position));
            plain.Finish(null, cancellationToken);
            verified.Finish(size, cancellationToken);
            return plain.Position;
        }
        catch (InvalidDataException e)
        {
            throw new FledgeException($"The layer {name} is damaged: {e.Message}", e);
        }
        catch (ZstdSharp.ZstdException e)
        {
            throw new FledgeException($"The layer {name} is damaged: {e.Message}", e);
        }
    }

    /// <summary>Unpacks by what the first bytes say: media types differ between builders, and docker archives have none.</summary>
    private static Stream Decompress(Stream raw, Stream verified, string name)
    {
        var magic = new byte[6];
        var length = raw.ReadAtLeast(magic, magic.Length, throwOnEndOfStream: false);
        raw.Position = 0;
        return magic.AsSpan(0, length) switch
        {
            [0x1f, 0x8b, ..] => new GZipStream(verified, CompressionMode.Decompress),
            [0x28, 0xb5, 0x2f, 0xfd, ..] => new ZstdSharp.DecompressionStream(verified, leaveOpen: false),
            [0x42, 0x5a, 0x68, ..] or [0xfd, 0x37, 0x7a, 0x58, ..] => throw new FledgeException($"The layer {name} is compressed with bzip2 or xz, which images no longer use; push it again."),
            _ => verified,
        };
    }
}
