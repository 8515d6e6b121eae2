namespace Volant.Fledge.Oci;

/// <summary>A place that holds images: documents and layers by descriptor.</summary>
internal abstract class ImageSource : IDisposable
{
    /// <summary>The index or manifest to begin with.</summary>
    /// <exception cref="FledgeException">There is none, or more than one is meant.</exception>
    public abstract Task<RootDocument> ReadRootAsync(CancellationToken cancellationToken);

    /// <summary>Opens a content from its start, seekable. Nothing of it has been verified.</summary>
    /// <exception cref="FledgeException">There is no such content.</exception>
    public abstract Task<Stream> OpenAsync(Descriptor content, CancellationToken cancellationToken);

    /// <inheritdoc/>
    public void Dispose()
    {
        Dispose(disposing: true);
        GC.SuppressFinalize(this);
    }

    /// <summary>Closes what is open.</summary>
    protected virtual void Dispose(bool disposing)
    {
    }

    /// <summary>Reads a manifest or an index that another document points to, verified.</summary>
    /// <exception cref="FledgeException">It is too large, damaged, or not there.</exception>
    public async Task<byte[]> ReadManifestAsync(Descriptor manifest, CancellationToken cancellationToken) =>
        Read(await OpenManifestAsync(manifest, cancellationToken), manifest, "The manifest", cancellationToken);

    /// <summary>Reads the configuration of an image, verified.</summary>
    /// <exception cref="FledgeException">It is too large, damaged, or not there.</exception>
    public async Task<byte[]> ReadConfigAsync(Descriptor config, CancellationToken cancellationToken) =>
        Read(await OpenAsync(config, cancellationToken), config, "The configuration", cancellationToken);

    /// <summary>Opens a manifest; where manifests lie among all other contents, that is the same.</summary>
    protected virtual Task<Stream> OpenManifestAsync(Descriptor manifest, CancellationToken cancellationToken) => OpenAsync(manifest, cancellationToken);

    private static byte[] Read(Stream raw, Descriptor content, string what, CancellationToken cancellationToken)
    {
        using var verified = new VerifiedStream(raw, $"{what} {content.Digest}", DigestOf(content), OciLimits.MaxDocumentBytes, $"has more than {OciLimits.MaxDocumentBytes} bytes, which is refused.");
        var bytes = new byte[Math.Min(raw.Length, OciLimits.MaxDocumentBytes + 1)];
        verified.ReadExactly(bytes);
        verified.Finish(content.Digest is null ? null : content.Size, cancellationToken);
        return bytes;
    }

    /// <summary>The SHA-256 that a descriptor promises; null for content that is known by its path.</summary>
    /// <exception cref="FledgeException">The digest is of another kind, or malformed.</exception>
    public static string? DigestOf(Descriptor content)
    {
        if (content.Digest is null && content.Path is not null)
        {
            return null;
        }

        return content.Digest is { } digest && digest.StartsWith(Contracts.Sha256Text.Prefix, StringComparison.Ordinal) && Contracts.Sha256Text.IsValid(digest[Contracts.Sha256Text.Prefix.Length..])
            ? digest[Contracts.Sha256Text.Prefix.Length..]
            : throw new FledgeException($"The image names the content '{Tar.ByteText.Show(content.Digest ?? string.Empty)}'; only digests of the form sha256:HEX are understood.");
    }
}

/// <summary>The document that an image begins with.</summary>
/// <param name="Document">An index or a manifest.</param>
/// <param name="Digest"><c>sha256:HEX</c> of a manifest; null for an index, whose choice has its own.</param>
internal sealed record RootDocument(ImageDocument Document, string? Digest);
