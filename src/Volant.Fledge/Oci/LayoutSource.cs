using System.Text.Json;
using Volant.Contracts;

namespace Volant.Fledge.Oci;

/// <summary>An OCI layout: a directory, or the same in a tar file (OCI Image Format Specification 1.1, <c>image-layout.md</c>).</summary>
internal sealed class LayoutSource(IImageFiles files, string? tag, string name) : ImageSource
{
    private const string TagNote = "org.opencontainers.image.ref.name";
    private const string FullNameNote = "io.containerd.image.name";

    public override Task<RootDocument> ReadRootAsync(CancellationToken cancellationToken) => Task.FromResult(ReadRoot());

    private RootDocument ReadRoot()
    {
        using var stream = files.Open("index.json") ?? throw new FledgeException($"'{name}' is no OCI layout: it has no index.json.");
        var index = OciParser.Parse(stream, OciJson.Default.ImageDocument, $"index.json of '{name}'");
        var images = index.Manifests ?? [];
        var chosen = tag is null ? images : images.FindAll(image => TagsOf(image).Contains(tag, StringComparer.Ordinal));
        var tags = string.Join(", ", images.SelectMany(TagsOf).Distinct(StringComparer.Ordinal).Select(Tar.ByteText.Show));
        if (chosen.Count == 0)
        {
            throw new FledgeException(tag is null ? $"'{name}' holds no image." : $"'{name}' holds no image tagged '{tag}'; it has: {(tags.Length == 0 ? "no tags" : tags)}.");
        }

        return tag is null && images.Select(image => TagsOf(image).FirstOrDefault()).Distinct(StringComparer.Ordinal).Count() > 1
            ? throw new FledgeException($"'{name}' holds several images; choose one by its tag, {name}:TAG. It has: {tags}.")
            : new RootDocument(index with { Manifests = chosen }, null);
    }

    public override Task<Stream> OpenAsync(Descriptor content, CancellationToken cancellationToken)
    {
        var digest = DigestOf(content)!;
        return Task.FromResult(files.Open($"blobs/sha256/{digest}")
            ?? throw new FledgeException($"'{name}' is incomplete: it lacks {Sha256Text.Prefix}{digest}. Fetch the image again."));
    }

    protected override void Dispose(bool disposing)
    {
        if (disposing)
        {
            files.Dispose();
        }

        base.Dispose(disposing);
    }

    private static IEnumerable<string> TagsOf(Descriptor image) =>
        new[] { TagNote, FullNameNote }.Select(note => image.Annotations?.GetValueOrDefault(note)).OfType<string>();
}

/// <summary>What <c>docker save</c> writes: <c>manifest.json</c> names the files of configuration and layers.</summary>
internal sealed class DockerArchiveSource(IImageFiles files, string? wanted, string name) : ImageSource
{
    public override Task<RootDocument> ReadRootAsync(CancellationToken cancellationToken) => Task.FromResult(ReadRoot());

    private RootDocument ReadRoot()
    {
        using var stream = files.Open("manifest.json") ?? throw new FledgeException($"'{name}' is no docker archive: it has no manifest.json. For an OCI layout write oci-archive:{name}.");
        var images = OciParser.Parse(stream, OciJson.Default.ListDockerArchiveImage, $"manifest.json of '{name}'");
        var tags = string.Join(", ", images.SelectMany(image => image.RepoTags ?? []).Select(Tar.ByteText.Show));
        var chosen = wanted is null ? images : images.FindAll(image => image.RepoTags?.Contains(wanted, StringComparer.Ordinal) == true);
        if (chosen is not [{ Config: { } config } image])
        {
            throw new FledgeException(chosen.Count > 1
                ? $"'{name}' holds several images; choose one by its name, docker-archive:{name}:NAME. It has: {tags}."
                : $"'{name}' holds no image{(wanted is null ? string.Empty : $" named '{wanted}'; it has: {tags}")}.");
        }

        // A configuration is named after its digest: HEX.json, or blobs/sha256/HEX.
        var hex = System.IO.Path.GetFileName(config).Replace(".json", string.Empty, StringComparison.Ordinal);
        var digest = Sha256Text.IsValid(hex) ? Sha256Text.Prefix + hex : null;
        return new RootDocument(
            new ImageDocument
            {
                Config = new Descriptor { Path = config, Digest = digest, Size = LengthOf(config) },
                Layers = [.. (image.Layers ?? []).Select(layer => new Descriptor { Path = layer, Size = LengthOf(layer) })],
            },
            digest);
    }

    public override Task<Stream> OpenAsync(Descriptor content, CancellationToken cancellationToken) => Task.FromResult(Open(content.Path!));

    protected override void Dispose(bool disposing)
    {
        if (disposing)
        {
            files.Dispose();
        }

        base.Dispose(disposing);
    }

    private Stream Open(string path) => files.Open(path) ?? throw new FledgeException($"'{name}' is incomplete: it lacks '{Tar.ByteText.Show(path)}'. Save the image again.");

    private long LengthOf(string path)
    {
        using var stream = Open(path);
        return stream.Length;
    }
}

/// <summary>Reads JSON of images.</summary>
internal static class OciParser
{
    /// <summary>Reads a document from a stream that knows its length.</summary>
    /// <exception cref="FledgeException">It is too long or no such document.</exception>
    public static T Parse<T>(Stream stream, System.Text.Json.Serialization.Metadata.JsonTypeInfo<T> type, string what)
    {
        if (stream.Length > OciLimits.MaxDocumentBytes)
        {
            throw new FledgeException($"{what} has {stream.Length} bytes; at most {OciLimits.MaxDocumentBytes} are read.");
        }

        var bytes = new byte[stream.Length];
        stream.ReadExactly(bytes);
        return Parse(bytes, type, what);
    }

    /// <summary>Reads a document.</summary>
    /// <exception cref="FledgeException">It is no such document.</exception>
    public static T Parse<T>(ReadOnlySpan<byte> bytes, System.Text.Json.Serialization.Metadata.JsonTypeInfo<T> type, string what)
    {
        try
        {
            return JsonSerializer.Deserialize(bytes, type) ?? throw new JsonException("It is null.");
        }
        catch (JsonException e)
        {
            throw new FledgeException($"{what} is not what it must be: {e.Message}", e);
        }
    }
}
