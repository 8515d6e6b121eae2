using System.Text.Json.Serialization;

namespace Volant.Fledge.Oci;

/// <summary>What a document points to (OCI Image Format Specification 1.1, <c>descriptor.md</c>).</summary>
internal sealed record Descriptor
{
    /// <summary>Kind of the content.</summary>
    public string? MediaType { get; init; }

    /// <summary><c>sha256:HEX</c>.</summary>
    public string? Digest { get; init; }

    /// <summary>Length of the content in bytes.</summary>
    public long Size { get; init; }

    /// <summary>In an index: what the image is made for.</summary>
    public Platform? Platform { get; init; }

    /// <summary>Free notes; an index of a layout names its images here.</summary>
    public Dictionary<string, string>? Annotations { get; init; }

    /// <summary>Where a docker archive holds it; such archives name files, not digests.</summary>
    [JsonIgnore]
    public string? Path { get; init; }
}

/// <summary>What an image is made for.</summary>
internal sealed record Platform
{
    /// <summary>As in Go: <c>amd64</c>, <c>arm64</c>.</summary>
    public string? Architecture { get; init; }

    /// <summary><c>linux</c>.</summary>
    public string? Os { get; init; }

    /// <summary><c>v8</c> of arm64.</summary>
    public string? Variant { get; init; }
}

/// <summary>An index (<c>image-index.md</c>) or a manifest (<c>manifest.md</c>); Docker's kinds have the same members.</summary>
internal sealed record ImageDocument
{
    /// <summary>Always 2.</summary>
    public int SchemaVersion { get; init; }

    /// <summary>Kind; often absent.</summary>
    public string? MediaType { get; init; }

    /// <summary>Images of an index; null in a manifest.</summary>
    public List<Descriptor>? Manifests { get; init; }

    /// <summary>Configuration of a manifest; null in an index.</summary>
    public Descriptor? Config { get; init; }

    /// <summary>Layers of a manifest, the lowest first.</summary>
    public List<Descriptor>? Layers { get; init; }
}

/// <summary>Configuration of an image (<c>config.md</c>).</summary>
internal sealed record ImageConfig
{
    /// <summary>As in Go.</summary>
    public string? Architecture { get; init; }

    /// <summary><c>linux</c>.</summary>
    public string? Os { get; init; }

    /// <summary>How it is run.</summary>
    public ImageRun? Config { get; init; }

    /// <summary>Digests of the unpacked layers.</summary>
    public ImageRootfs? Rootfs { get; init; }
}

/// <summary>How an image is run. The members have Docker's capital letters.</summary>
internal sealed record ImageRun
{
    [JsonPropertyName("User")]
    public string? User { get; init; }

    [JsonPropertyName("Env")]
    public List<string>? Env { get; init; }

    [JsonPropertyName("Entrypoint")]
    public List<string>? Entrypoint { get; init; }

    [JsonPropertyName("Cmd")]
    public List<string>? Cmd { get; init; }

    [JsonPropertyName("WorkingDir")]
    public string? WorkingDir { get; init; }

    [JsonPropertyName("ExposedPorts")]
    public Dictionary<string, Nothing>? ExposedPorts { get; init; }
}

/// <summary>The value of a set's member.</summary>
internal sealed record Nothing;

/// <summary>Digests of the unpacked layers.</summary>
internal sealed record ImageRootfs
{
    /// <summary>One per layer, the lowest first.</summary>
    [JsonPropertyName("diff_ids")]
    public List<string>? DiffIds { get; init; }
}

/// <summary>One image of <c>manifest.json</c> in a docker archive.</summary>
internal sealed record DockerArchiveImage
{
    [JsonPropertyName("Config")]
    public string? Config { get; init; }

    [JsonPropertyName("RepoTags")]
    public List<string>? RepoTags { get; init; }

    [JsonPropertyName("Layers")]
    public List<string>? Layers { get; init; }
}

/// <summary>The answer of a registry's token service.</summary>
internal sealed record RegistryToken
{
    [JsonPropertyName("token")]
    public string? Token { get; init; }

    [JsonPropertyName("access_token")]
    public string? AccessToken { get; init; }
}

/// <summary>Documents of images; unknown members are ignored, since the format grows.</summary>
[JsonSourceGenerationOptions(PropertyNamingPolicy = JsonKnownNamingPolicy.CamelCase, MaxDepth = 32)]
[JsonSerializable(typeof(ImageDocument))]
[JsonSerializable(typeof(ImageConfig))]
[JsonSerializable(typeof(List<DockerArchiveImage>))]
[JsonSerializable(typeof(RegistryToken))]
internal sealed partial class OciJson : JsonSerializerContext;
