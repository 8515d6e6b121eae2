using System.Runtime.InteropServices;
using Volant.Contracts;

namespace Volant.Fledge.Oci;

/// <summary>One image for one kind of machine, documents verified.</summary>
/// <param name="Digest"><c>sha256:HEX</c> of its manifest; of its configuration where there is no manifest.</param>
/// <param name="Config">Its configuration.</param>
/// <param name="Layers">Its layers, the lowest first, each with the digest of its unpacked form.</param>
internal sealed record ResolvedImage(string Digest, ImageConfig Config, IReadOnlyList<(Descriptor Packed, string DiffId)> Layers)
{
    private const int MaxIndexes = 4;

    private static string ThisArchitecture => RuntimeInformation.OSArchitecture == Architecture.Arm64 ? "arm64" : "amd64";

    /// <summary>Finds the image for this machine.</summary>
    /// <exception cref="FledgeException">There is none, or a document is damaged.</exception>
    public static async Task<ResolvedImage> FindAsync(ImageSource source, CancellationToken cancellationToken)
    {
        var (document, digest) = await source.ReadRootAsync(cancellationToken);
        for (var depth = 0; document.Manifests is { } images; depth++)
        {
            var chosen = Choose(images, depth);
            digest = chosen.Digest;
            document = OciParser.Parse(await source.ReadManifestAsync(chosen, cancellationToken), OciJson.Default.ImageDocument, $"The manifest {digest}");
        }

        if (document.Config is not { } described || document.Layers is not { } layers)
        {
            throw new FledgeException($"The manifest {digest} names no configuration or no layers; it is no image.");
        }

        var bytes = await source.ReadConfigAsync(described, cancellationToken);
        var config = OciParser.Parse(bytes, OciJson.Default.ImageConfig, $"The configuration {described.Digest}");
        RefuseOthers(config);
        return new ResolvedImage(
            digest ?? Sha256Text.Prefix + Convert.ToHexStringLower(System.Security.Cryptography.SHA256.HashData(bytes)),
            config,
            Pair(layers, config.Rootfs?.DiffIds ?? []));
    }

    private static Descriptor Choose(List<Descriptor> images, int depth)
    {
        if (depth >= MaxIndexes)
        {
            throw new FledgeException($"The image's index leads through more than {MaxIndexes} indexes.");
        }

        return images.Find(image => image.Platform is { Os: "linux" } platform && platform.Architecture == ThisArchitecture)
            ?? (images is [{ Platform: null } only] ? only : null)
            ?? throw new FledgeException(
                $"The image is not made for linux/{ThisArchitecture}, but for: {string.Join(", ", images.Select(image => Tar.ByteText.Show($"{image.Platform?.Os}/{image.Platform?.Architecture}")).Distinct(StringComparer.Ordinal))}.");
    }

    private static void RefuseOthers(ImageConfig config)
    {
        if ((config.Os ?? "linux") != "linux" || (config.Architecture ?? ThisArchitecture) != ThisArchitecture)
        {
            throw new FledgeException($"The image is made for {Tar.ByteText.Show($"{config.Os}/{config.Architecture}")}, not for linux/{ThisArchitecture}.");
        }
    }

    private static (Descriptor Packed, string DiffId)[] Pair(List<Descriptor> layers, List<string> diffIds)
    {
        if (layers.Count != diffIds.Count || layers.Count > OciLimits.MaxLayers)
        {
            throw new FledgeException($"The image has {layers.Count} layers and {diffIds.Count} digests of unpacked layers; both must be the same, and at most {OciLimits.MaxLayers}.");
        }

        return [.. layers.Select((layer, i) => (layer, ImageSource.DigestOf(new Descriptor { Digest = diffIds[i] })!))];
    }
}
