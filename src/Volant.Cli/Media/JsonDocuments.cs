using System.Globalization;
using System.Text.Json;
using System.Text.Json.Serialization.Metadata;
using Volant.Contracts;
using Volant.Contracts.Api;
using Volant.Contracts.Manifests;

namespace Volant.Cli.Media;

/// <summary>Reads manifests and configurations, and makes their references absolute; uploads nothing.</summary>
internal static class JsonDocuments
{
    /// <summary>Reads a manifest and checks it as the daemon will.</summary>
    /// <param name="name">What to call it in messages.</param>
    /// <param name="json">Its bytes.</param>
    /// <param name="origin">Where it came from.</param>
    /// <returns>The manifest as written, but with absolute references and inline documents.</returns>
    /// <exception cref="CliException">It breaks a rule.</exception>
    public static PluginManifest ReadManifest(string name, ReadOnlySpan<byte> json, DocumentOrigin origin)
    {
        var faults = new List<FieldError>();
        var manifest = Localise(Deserialise(name, json, ContractsJson.Strict.PluginManifest), origin, string.Empty, faults);
        try
        {
            ManifestReader.Check(manifest);
        }
        catch (InvalidDocumentException e)
        {
            faults.AddRange(e.Errors);
        }

        return faults.Count == 0 ? manifest : throw CliException.Invalid($"The manifest {name}", faults);
    }

    /// <summary>Largest configuration that is read, in bytes; volantd takes no more (contract §1).</summary>
    public const int MaxConfigBytes = 1024 * 1024;

    /// <summary>Reads the VM configuration in a file, which may be relative to a directory.</summary>
    /// <exception cref="CliException">It cannot be read, is not JSON, or names an unknown member or a file that cannot be read.</exception>
    public static (VmConfig Config, DocumentOrigin Origin) ReadConfigFile(string file, string directory)
    {
        var path = Path.GetFullPath(file, directory);
        var origin = DocumentOrigin.OfFile(path);
        return (ReadConfig(path, TextFile.ReadBytes(path, MaxConfigBytes), origin), origin);
    }

    /// <summary>Reads a VM configuration; the daemon checks the values.</summary>
    /// <exception cref="CliException">It is not JSON, or names an unknown member or a file that cannot be read.</exception>
    public static VmConfig ReadConfig(string name, ReadOnlySpan<byte> json, DocumentOrigin origin)
    {
        var faults = new List<FieldError>();
        var config = Deserialise(name, json, ContractsJson.Strict.VmConfig);
        config = config with
        {
            Initramfs = Localise(config.Initramfs, origin),
            Rootfs = Localise(config.Rootfs, origin),
            CloudInit = origin.Inline(config.CloudInit, "cloud_init", faults),
            Manifest = config.Manifest is { } manifest ? Localise(manifest, origin, "manifest.", faults) : null,
        };
        return faults.Count == 0 ? config : throw CliException.Invalid($"The configuration {name}", faults);
    }

    /// <summary>The manifest as it is sent.</summary>
    /// <exception cref="CliException">It has become larger than the daemon takes.</exception>
    public static byte[] Serialise(PluginManifest manifest)
    {
        var json = JsonSerializer.SerializeToUtf8Bytes(manifest, ContractsJson.Default.PluginManifest);
        return json.Length <= ManifestReader.MaxBytes
            ? json
            : throw CliException.Failed(string.Create(CultureInfo.InvariantCulture,
                $"With its documents inline the manifest has {json.Length} bytes; volantd takes at most {ManifestReader.MaxBytes}."));
    }

    /// <summary>Makes the reference of a medium absolute.</summary>
    public static T? Localise<T>(T? media, DocumentOrigin origin)
        where T : BootMedia => media is null ? null : (T)(media with { Url = origin.Resolve(media.Url) });

    private static PluginManifest Localise(PluginManifest manifest, DocumentOrigin origin, string prefix, List<FieldError> faults) => manifest with
    {
        Initramfs = Localise(manifest.Initramfs, origin),
        Rootfs = Localise(manifest.Rootfs, origin),
        Disks = manifest.Disks?.Select(disk => disk with { Source = origin.Resolve(disk.Source) }).ToArray(),
        CloudInit = origin.Inline(manifest.CloudInit, $"{prefix}cloud_init", faults),
    };

    /// <summary>Without the byte order mark that editors on other systems put in front.</summary>
    public static ReadOnlySpan<byte> WithoutMark(ReadOnlySpan<byte> text) => text.StartsWith("\uFEFF"u8) ? text[3..] : text;

    private static T Deserialise<T>(string name, ReadOnlySpan<byte> json, JsonTypeInfo<T> type)
    {
        try
        {
            return JsonSerializer.Deserialize(WithoutMark(json), type) ?? throw CliException.Failed($"{name} holds 'null' where a JSON object was due.");
        }
        catch (JsonException e)
        {
            throw CliException.Invalid(name, [StrictJson.Explain(e)]);
        }
    }
}
