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
/// <param name="registriesFile">Path of <c>registries.conf</c>; read when an image of a registry is wanted.</param>
internal sealed class ImageSources(HttpClient client, BlobCache cache, string registriesFile)
{
    /// <summary>Opens an image.</summary>
    /// <exception cref="FledgeException">It is not there, or cannot be read.</exception>
    public async Task<OpenedImage> OpenAsync(ImageInput input, CancellationToken cancellationToken)
    {
        if (input is ImageInput.Finished finished)
        {
            var (named, source) = Open(finished.Reference);
            return new OpenedImage(named, source, null);
        }

        var build = (ImageInput.Dockerfile)input;
        var scratch = Directory.CreateTempSubdirectory("fledge-").FullName;
        try
        {
            var archive = Path.Combine(scratch, $"{Rootfs.ImageFacts.PluginName(Path.GetFileName(build.Context))}.tar");
            await ImageBuilder.BuildAsync(build, archive, cancellationToken);
            var (named, source) = Open(new ImageReference.LayoutArchive(archive, null));
            return new OpenedImage(named, source, scratch);
        }
        catch
        {
            Directory.Delete(scratch, recursive: true);
            throw;
        }
    }

    private (ImageReference Named, ImageSource Source) Open(ImageReference reference)
    {
        try
        {
            return reference switch
            {
                ImageReference.LayoutDirectory layout => Directory.Exists(layout.Path)
                    ? (layout, new LayoutSource(new DirectoryFiles(layout.Path), layout.Tag, layout.Path))
                    : throw new FledgeException($"There is no directory '{layout.Path}' with an OCI layout."),
                ImageReference.LayoutArchive archive => (archive, new LayoutSource(new ArchiveFiles(archive.Path), archive.Tag, archive.Path)),
                ImageReference.DockerArchive archive => (archive, new DockerArchiveSource(new ArchiveFiles(archive.Path), archive.Name, archive.Path)),
                ImageReference.Registry image => OpenRegistry(Registries.Read(registriesFile).Locate(image)),
                _ => throw new InvalidOperationException("Unknown reference."),
            };
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new FledgeException($"Cannot read the image '{reference.Text}': {e.Message}", e);
        }
    }

    private (ImageReference Named, ImageSource Source) OpenRegistry(RegistryAddress address) =>
        (address.Image, new RegistrySource(new RegistryClient(client, address, RegistryCredentials.Find(address.Host, address.Repository)), address.Image, cache));
}
