using Volant.Fledge.Configuration;

namespace Volant.Fledge.Oci;

/// <summary>An image that can be read.</summary>
/// <param name="Reference">What it is called.</param>
/// <param name="Source">Where it is.</param>
/// <param name="Scratch">Directory that only this build needs; removed afterwards.</param>
internal sealed record OpenedImage(ImageReference Reference, ImageSource Source, string? Scratch) : IDisposable
{
    /// <inheritdoc/>
    public void Dispose()
    {
        Source.Dispose();
        if (Scratch is not null && Directory.Exists(Scratch))
        {
            Directory.Delete(Scratch, recursive: true);
        }
    }
}

/// <summary>Opens images wherever they are.</summary>
/// <param name="client">Speaks with registries; follows redirects, but never from https to http.</param>
/// <param name="cache">Keeps what they gave.</param>
/// <param name="plainHosts">Registries that are spoken to without encryption, besides loopback addresses.</param>
internal sealed class ImageSources(HttpClient client, BlobCache cache, IReadOnlyCollection<string> plainHosts)
{
    /// <summary>Opens an image.</summary>
    /// <exception cref="FledgeException">It is not there, or cannot be read.</exception>
    public async Task<OpenedImage> OpenAsync(ImageInput input, CancellationToken cancellationToken)
    {
        if (input is ImageInput.Finished finished)
        {
            return new OpenedImage(finished.Reference, Open(finished.Reference), null);
        }

        var build = (ImageInput.Dockerfile)input;
        var scratch = Directory.CreateTempSubdirectory("fledge-").FullName;
        try
        {
            var archive = Path.Combine(scratch, $"{Rootfs.ImageFacts.PluginName(Path.GetFileName(build.Context))}.tar");
            await ImageBuilder.BuildAsync(build, archive, cancellationToken);
            var reference = new ImageReference.LayoutArchive(archive, null);
            return new OpenedImage(reference, Open(reference), scratch);
        }
        catch
        {
            Directory.Delete(scratch, recursive: true);
            throw;
        }
    }

    private ImageSource Open(ImageReference reference)
    {
        try
        {
            return reference switch
            {
                ImageReference.LayoutDirectory layout => Directory.Exists(layout.Path)
                    ? new LayoutSource(new DirectoryFiles(layout.Path), layout.Tag, layout.Path)
                    : throw new FledgeException($"There is no directory '{layout.Path}' with an OCI layout."),
                ImageReference.LayoutArchive archive => new LayoutSource(new ArchiveFiles(archive.Path), archive.Tag, archive.Path),
                ImageReference.DockerArchive archive => new DockerArchiveSource(new ArchiveFiles(archive.Path), archive.Name, archive.Path),
                ImageReference.Registry image => new RegistrySource(Client(image), image, cache),
                _ => throw new InvalidOperationException("Unknown reference."),
            };
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new FledgeException($"Cannot read the image '{reference.Text}': {e.Message}", e);
        }
    }

    private RegistryClient Client(ImageReference.Registry image) =>
        new(client, image, RegistryClient.IsLoopback(image.Host) || plainHosts.Contains(image.Host, StringComparer.OrdinalIgnoreCase), RegistryCredentials.Find(image.Host));
}
