using System.Globalization;
using Volant.Cli.Api;
using Volant.Cli.Output;
using Volant.Contracts;
using Volant.Contracts.Api;
using Volant.Contracts.Manifests;

namespace Volant.Cli.Media;

/// <summary>Uploads the local files that a document names, and rewrites the document to name the uploads.</summary>
/// <remarks>
/// Every file is hashed and compared with its checksum before the first one is sent. An absolute path that does not exist here may
/// exist on the daemon's host (below one of its image directories), so it is left to the daemon.
/// </remarks>
internal sealed class MediaUploads(VolantClient client, Talk talk, DocumentOrigin origin) : IAsyncDisposable
{
    private readonly Dictionary<string, LocalFile> _files = new(StringComparer.Ordinal);

    /// <summary>Uploads what a manifest names.</summary>
    public async Task<PluginManifest> UploadAsync(PluginManifest manifest, CancellationToken cancellationToken)
    {
        var rewritten = await HashAsync(manifest, cancellationToken);
        await SendAsync(cancellationToken);
        return rewritten;
    }

    /// <summary>Uploads what a configuration names.</summary>
    public async Task<VmConfig> UploadAsync(VmConfig config, CancellationToken cancellationToken)
    {
        var rewritten = config with
        {
            Initramfs = await HashAsync(config.Initramfs, "initramfs", cancellationToken),
            Rootfs = await HashAsync(config.Rootfs, "rootfs", cancellationToken),
            Manifest = config.Manifest is { } manifest ? await HashAsync(manifest, cancellationToken) : null,
        };
        await SendAsync(cancellationToken);
        return rewritten;
    }

    /// <inheritdoc/>
    public async ValueTask DisposeAsync()
    {
        foreach (var file in _files.Values)
        {
            await file.DisposeAsync();
        }
    }

    private async Task<PluginManifest> HashAsync(PluginManifest manifest, CancellationToken cancellationToken)
    {
        var disks = new List<ManifestDisk>();
        foreach (var disk in manifest.Disks ?? [])
        {
            var path = string.Create(CultureInfo.InvariantCulture, $"disks[{disks.Count}]");
            var (url, checksum) = await HashAsync(disk.Source, disk.Checksum, path, cancellationToken);
            disks.Add(disk with { Source = url, Checksum = checksum });
        }

        return manifest with
        {
            Initramfs = await HashAsync(manifest.Initramfs, "initramfs", cancellationToken),
            Rootfs = await HashAsync(manifest.Rootfs, "rootfs", cancellationToken),
            Disks = manifest.Disks is null ? null : disks,
        };
    }

    private async Task<T?> HashAsync<T>(T? media, string path, CancellationToken cancellationToken)
        where T : BootMedia
    {
        if (media is null)
        {
            return null;
        }

        var (url, checksum) = await HashAsync(media.Url, media.Checksum, path, cancellationToken);
        return (T)(media with { Url = url, Checksum = checksum });
    }

    private async Task<(string? Url, string? Checksum)> HashAsync(string? url, string? checksum, string path, CancellationToken cancellationToken)
    {
        if (!origin.IsLocal || !MediaReference.TryParse(url, out var reference) || reference.Scheme != MediaScheme.File)
        {
            return (url, checksum);
        }

        if (!File.Exists(reference.Value))
        {
            talk.Say($"Note: '{reference.Value}' ({path}) does not exist here; volantd looks for it on its own host.");
            return (url, checksum);
        }

        if (!_files.TryGetValue(reference.Value, out var file))
        {
            file = await LocalFile.OpenAsync(reference.Value, cancellationToken);
            _files.Add(reference.Value, file);
        }

        if (checksum is not null && Sha256Text.Normalise(checksum.Trim()) != file.Sha256)
        {
            throw new CliException(ExitCodes.Failed,
                $"'{reference.Value}' has the SHA-256 {file.Sha256}, but {path}.checksum says {Sha256Text.Normalise(checksum.Trim())}: it was changed or damaged, or the checksum is out of date.")
            {
                Code = ErrorCodes.ChecksumMismatch,
            };
        }

        return (MediaReference.ForDigest(file.Sha256), Sha256Text.Prefix + file.Sha256);
    }

    private async Task SendAsync(CancellationToken cancellationToken)
    {
        foreach (var file in _files.Values.DistinctBy(file => file.Sha256, StringComparer.Ordinal))
        {
            if (await client.HasArtifactAsync(file.Sha256, cancellationToken))
            {
                continue;
            }

            var length = file.Stream.Length;
            talk.Say($"Uploading {file.Path} ({Amounts.Bytes(length)})");
            try
            {
                await client.UploadArtifactAsync(file.Sha256, file.Stream, length, sent => Draw(file.Path, sent, length), cancellationToken);
            }
            finally
            {
                talk.EndProgress();
            }
        }
    }

    private void Draw(string path, long sent, long length) => talk.Progress(string.Create(CultureInfo.InvariantCulture,
        $"{Path.GetFileName(path)}  {Amounts.Bytes(sent)} of {Amounts.Bytes(length)}  {(length == 0 ? 100 : sent * 100 / length)} %"));
}
