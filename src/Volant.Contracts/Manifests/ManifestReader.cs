using System.Text.Json;

namespace Volant.Contracts.Manifests;

/// <summary>Turns bytes from outside into a normalised manifest that obeys <see cref="ManifestRules"/>.</summary>
public static class ManifestReader
{
    /// <summary>Largest manifest, in bytes of JSON (contract §4).</summary>
    public const int MaxBytes = 256 * 1024;

    /// <summary>Reads, normalises and checks a manifest.</summary>
    /// <exception cref="InvalidDocumentException">The bytes are not JSON, name an unknown member, or break a rule.</exception>
    public static PluginManifest Read(ReadOnlySpan<byte> json)
    {
        if (json.Length > MaxBytes)
        {
            throw new InvalidDocumentException("manifest", [new("$", $"must be at most {MaxBytes} bytes of JSON")]);
        }

        PluginManifest? manifest;
        try
        {
            manifest = JsonSerializer.Deserialize(json, ContractsJson.Strict.PluginManifest);
        }
        catch (JsonException e)
        {
            throw new InvalidDocumentException("manifest", [StrictJson.Explain(e)]);
        }

        return Check(manifest ?? throw new InvalidDocumentException("manifest", [new("$", "must be a JSON object")]));
    }

    /// <summary>Normalises and checks a manifest that is already an object.</summary>
    /// <exception cref="InvalidDocumentException">It breaks a rule.</exception>
    public static PluginManifest Check(PluginManifest manifest)
    {
        var normalised = ManifestRules.Normalise(manifest);
        var errors = ManifestRules.Validate(normalised);
        return errors.Count == 0 ? normalised : throw new InvalidDocumentException("manifest", errors);
    }
}
