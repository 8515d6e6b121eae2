using System.Text;
using System.Text.Unicode;

namespace Volant.Contracts.Manifests;

/// <summary>Normalisation, rules and merging of NoCloud documents. Pure.</summary>
public static class CloudInitRules
{
    /// <summary>Most bytes of one document.</summary>
    public const int MaxBytes = 768 * 1024;

    /// <summary>The only data source.</summary>
    public const string NoCloud = "NoCloud";

    /// <summary>The only form of the seed.</summary>
    public const string Vfat = "vfat";

    private static readonly string[] Encodings = [CloudInitDocument.Text, CloudInitDocument.Base64];

    /// <summary>Writes enumerations as they are known.</summary>
    public static CloudInit? Normalise(CloudInit? seed) => seed is null ? null : seed with
    {
        Datasource = Word(seed.Datasource, NoCloud),
        SeedMode = Word(seed.SeedMode, Vfat),
        UserData = Normalise(seed.UserData),
        MetaData = Normalise(seed.MetaData),
        NetworkConfig = Normalise(seed.NetworkConfig),
    };

    /// <summary>The documents of a VM: each that its configuration has, else that of the manifest. Null when there is neither.</summary>
    public static CloudInit? Merge(CloudInit? manifest, CloudInit? config) => manifest is null || config is null ? config ?? manifest : manifest with
    {
        UserData = config.UserData ?? manifest.UserData,
        MetaData = config.MetaData ?? manifest.MetaData,
        NetworkConfig = config.NetworkConfig ?? manifest.NetworkConfig,
    };

    /// <summary>The bytes of a document that is inline; null when they are not.</summary>
    public static byte[]? BytesOf(CloudInitDocument document)
    {
        ArgumentNullException.ThrowIfNull(document);
        if (document.Content is not { } content)
        {
            return null;
        }

        if (document.Encoding != CloudInitDocument.Base64)
        {
            return Encoding.UTF8.GetBytes(content);
        }

        var bytes = new byte[content.Length];
        return Convert.TryFromBase64String(content, bytes, out var length) ? bytes[..length] : null;
    }

    /// <summary>The document that holds these bytes: as text where they are UTF-8, else as base64.</summary>
    public static CloudInitDocument Inline(ReadOnlySpan<byte> bytes) => Utf8.IsValid(bytes)
        ? new CloudInitDocument { Inline = true, Content = Encoding.UTF8.GetString(bytes) }
        : new CloudInitDocument { Inline = true, Content = Convert.ToBase64String(bytes), Encoding = CloudInitDocument.Base64 };

    /// <summary>Checks a section.</summary>
    internal static void Validate(FaultList faults, string path, CloudInit? seed)
    {
        if (seed is null)
        {
            return;
        }

        faults.OneOf($"{path}.datasource", seed.Datasource ?? NoCloud, [NoCloud]);
        faults.OneOf($"{path}.seed_mode", seed.SeedMode ?? Vfat, [Vfat]);
        Validate(faults, $"{path}.user_data", seed.UserData);
        Validate(faults, $"{path}.meta_data", seed.MetaData);
        Validate(faults, $"{path}.network_config", seed.NetworkConfig);
    }

    private static void Validate(FaultList faults, string path, CloudInitDocument? document)
    {
        if (document is null)
        {
            return;
        }

        faults.Require(document.Content is null != document.Path is null, path, "must have either 'content' or 'path'");
        faults.OneOf($"{path}.encoding", document.Encoding ?? CloudInitDocument.Text, Encodings);
        if (document.Content is not null)
        {
            var bytes = BytesOf(document);
            faults.Require(bytes is not null, $"{path}.content", "must be base64, as 'encoding' says");
            faults.Require(bytes is null or { Length: <= MaxBytes }, $"{path}.content", $"must be at most {MaxBytes} bytes");
        }
    }

    private static CloudInitDocument? Normalise(CloudInitDocument? document) => document is null ? null : document with { Encoding = document.Encoding?.Trim().ToLowerInvariant() };

    private static string? Word(string? text, string known) => string.Equals(text?.Trim(), known, StringComparison.OrdinalIgnoreCase) ? known : text;
}
