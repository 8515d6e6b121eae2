using System.Security.Cryptography;
using Volant.Contracts;

namespace Volant.Fledge.Oci;

/// <summary>An image of a registry. Contents are kept in a cache by digest and fetched once.</summary>
internal sealed class RegistrySource(RegistryClient registry, ImageReference.Registry image, BlobCache cache) : ImageSource
{
    private static readonly string[] ManifestTypes =
    [
        "application/vnd.oci.image.index.v1+json", "application/vnd.docker.distribution.manifest.list.v2+json",
        "application/vnd.oci.image.manifest.v1+json", "application/vnd.docker.distribution.manifest.v2+json",
    ];

    public override async Task<RootDocument> ReadRootAsync(CancellationToken cancellationToken)
    {
        var bytes = await FetchManifestAsync(image.Digest ?? image.Tag!, cancellationToken);
        var digest = Sha256Text.Prefix + Convert.ToHexStringLower(SHA256.HashData(bytes));
        if (image.Digest is { } wanted && wanted != digest)
        {
            throw new FledgeException($"The registry answers {digest} for {registry.Name}: it is damaged or was tampered with.");
        }

        var document = OciParser.Parse(bytes, OciJson.Default.ImageDocument, $"The manifest of {registry.Name}");
        return new RootDocument(document, document.Manifests is null ? digest : null);
    }

    public override async Task<Stream> OpenAsync(Descriptor content, CancellationToken cancellationToken)
    {
        var digest = DigestOf(content)!;
        var file = File.OpenHandle(await cache.FetchAsync(registry, digest, content.Size, cancellationToken));
        return new FileRange(file, 0, RandomAccess.GetLength(file), ownsFile: true);
    }

    protected override async Task<Stream> OpenManifestAsync(Descriptor manifest, CancellationToken cancellationToken) =>
        new MemoryStream(await FetchManifestAsync(Sha256Text.Prefix + DigestOf(manifest), cancellationToken));

    private async Task<byte[]> FetchManifestAsync(string reference, CancellationToken cancellationToken)
    {
        using var silence = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        silence.CancelAfter(RegistryClient.SilenceLimit);
        try
        {
            using var response = await registry.GetAsync($"manifests/{reference}", ManifestTypes, 0, silence.Token);
            return await RegistryClient.BoundedAsync(response, OciLimits.MaxDocumentBytes, $"The manifest of {registry.Name}", silence.Token);
        }
        catch (OperationCanceledException e) when (!cancellationToken.IsCancellationRequested)
        {
            throw new FledgeException($"Cannot fetch {registry.Name}: the registry was silent for {RegistryClient.SilenceLimit.TotalSeconds} seconds.", e);
        }
        catch (Exception e) when (e is HttpRequestException or IOException)
        {
            throw new FledgeException($"Cannot fetch {registry.Name}: {e.Message}", e);
        }
    }
}
