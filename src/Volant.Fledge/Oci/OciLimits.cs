namespace Volant.Fledge.Oci;

/// <summary>How much of an image is read before it is refused.</summary>
internal static class OciLimits
{
    /// <summary>Largest manifest, index or configuration in bytes; registries have the same limit.</summary>
    public const int MaxDocumentBytes = 4 * 1024 * 1024;

    /// <summary>Most layers.</summary>
    public const int MaxLayers = 512;

    /// <summary>Largest image, unpacked, in bytes.</summary>
    public const long MaxUnpackedBytes = 10L * 1024 * 1024 * 1024;

    /// <summary>How many times larger than packed a layer may become; real ones stay below 20, a bomb of zeros reaches 1,000.</summary>
    public const int MaxRatio = 200;

    /// <summary>Bytes that any layer may have, unpacked, whatever its ratio.</summary>
    public const long FreeUnpackedBytes = 64L * 1024 * 1024;
}
