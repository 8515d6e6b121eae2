using System.Collections.Concurrent;
using System.Globalization;
using System.Security.Cryptography;
using Microsoft.Win32.SafeHandles;
using Volant.Contracts.Api;
using Volant.Contracts.Boot;
using Volant.Contracts.Manifests;
using Volant.Linux.Files;

namespace Volant.Daemon.Artifacts;

/// <summary>A boot medium that is in the cache.</summary>
/// <param name="Path">File in the cache, never written again.</param>
/// <param name="Sha256">Its digest.</param>
internal sealed record CachedMedia(string Path, string Sha256);

/// <summary>Turns what a manifest or configuration names into files of the cache that a hypervisor may read.</summary>
/// <remarks>
/// A host file is opened below one of the image directories, links included, and copied into the cache while its digest is computed:
/// what was verified is what boots, whatever becomes of the source. A source that did not change is not read again.
/// </remarks>
internal sealed class BootImages(ArtifactCache cache, ArtifactDownloads downloads, ArtifactTransfers transfers, string cacheDirectory, IReadOnlyList<string> imageDirectories, TimeProvider clock) : IDisposable
{
    /// <summary>Largest initramfs when unpacked, in bytes; it must fit into the guest's memory anyway.</summary>
    private const long MaxUnpackedBytes = 4L << 30;

    private const int BufferSize = 1 << 20;

    private readonly ConcurrentDictionary<string, string> _digests = new(StringComparer.Ordinal);
    private readonly string _sources = SourceRecord.DirectoryOf(cacheDirectory);
    private readonly SharedWork _importing = new();
    private readonly SemaphoreSlim _composing = new(1, 1);

    /// <summary>Brings a medium into the cache.</summary>
    /// <exception cref="VolantException">
    /// <c>artifact_not_found</c>, <c>path_not_allowed</c>, <c>checksum_mismatch</c>, <c>too_large</c> or <c>disk_full</c>; or what <see cref="ArtifactDownloads.FetchAsync"/> throws.
    /// </exception>
    public async Task<CachedMedia> StageAsync(BootMedia media, CancellationToken cancellationToken)
    {
        if (!MediaReference.TryParse(media.Url, out var reference))
        {
            throw new VolantException(ErrorCodes.InvalidRequest, $"'{media.Url}' is no reference to a boot medium.");
        }

        if (media.Checksum is { } known && reference.Scheme != MediaScheme.Volant && cache.Use(known) is { } present)
        {
            return present;
        }

        return reference.Scheme switch
        {
            MediaScheme.Volant => FindUploaded(reference.Value, media.Checksum),
            MediaScheme.File => await ImportAsync(reference.Value, media.Checksum, cancellationToken),
            _ => await downloads.FetchAsync(reference.Value, media.Checksum, cancellationToken),
        };
    }

    /// <summary>An initramfs that holds the agent and nothing else, for a VM that has a root disk and names no initramfs.</summary>
    /// <exception cref="VolantException"><c>artifact_not_found</c>: there is no agent at that path.</exception>
    public async Task<CachedMedia> StageAgentAsync(string agent, CancellationToken cancellationToken)
    {
        if (!File.Exists(agent))
        {
            throw new VolantException(ErrorCodes.ArtifactNotFound, $"A VM without an initramfs boots with the agent, and there is none at '{agent}'; put kestrel there, set VOLANT_AGENT, or name an initramfs.");
        }

        using var file = File.OpenHandle(agent);
        var identity = IdentityOf(agent, file);
        if (_digests.TryGetValue(identity, out var seen) && cache.Use(seen) is { } present)
        {
            return present;
        }

        using var archive = new MemoryStream(CpioHeader.EncodeArchive([("init", 0b111_101_101, await File.ReadAllBytesAsync(agent, cancellationToken))]), writable: false);
        var made = _digests[identity] = (await cache.AddAsync(archive, expected: null, cancellationToken)).Sha256;
        return new CachedMedia(cache.PathOf(made), made);
    }

    /// <summary>What a hypervisor reads: the kernel's modules, if any, and the unpacked initramfs. Made once for each pair, then shared.</summary>
    /// <remarks>Unpacking once saves every boot from doing it: half a second of processor time under software emulation.</remarks>
    /// <param name="modules">Uncompressed cpio segment that lies beside the kernel; null when the kernel needs none.</param>
    /// <param name="initramfs">The boot medium.</param>
    /// <param name="cancellationToken">Gives up and leaves nothing.</param>
    public async Task<string> ComposeAsync(string? modules, CachedMedia initramfs, CancellationToken cancellationToken)
    {
        var directory = Path.Combine(cacheDirectory, "initramfs");
        var target = Path.Combine(directory, $"{initramfs.Sha256}-{(modules is null ? "plain" : await DigestOfAsync(modules, cancellationToken))}");
        await _composing.WaitAsync(cancellationToken);
        try
        {
            if (File.Exists(target))
            {
                File.SetLastWriteTimeUtc(target, clock.GetUtcNow().UtcDateTime);
            }
            else
            {
                Directory.CreateDirectory(directory);
                await ComposeAsync(target, modules, initramfs.Path, cancellationToken);
            }

            return target;
        }
        finally
        {
            _composing.Release();
        }
    }

    /// <summary>Removes composed files that were used last before <paramref name="unusedSince"/>: they can be made again.</summary>
    public async Task CollectAsync(DateTimeOffset unusedSince)
    {
        await _composing.WaitAsync();
        try
        {
            foreach (var file in new DirectoryInfo(Path.Combine(cacheDirectory, "initramfs")) is { Exists: true } directory ? directory.GetFiles() : [])
            {
                if (file.LastWriteTimeUtc < unusedSince.UtcDateTime)
                {
                    file.Delete();
                }
            }
        }
        finally
        {
            _composing.Release();
        }
    }

    /// <summary>Writes a new file from a first segment and a file; sharing blocks where the file system can.</summary>
    public static void Prepend(string target, ReadOnlySpan<byte> segment, string rest)
    {
        File.Delete(target);
        using (var file = File.OpenHandle(target, FileMode.CreateNew, FileAccess.Write))
        {
            File.SetUnixFileMode(file, UnixFileMode.UserRead | UnixFileMode.UserWrite);
            RandomAccess.Write(file, segment, 0);
        }

        AppendAll(target, [rest], FileMode.Open);
    }

    /// <inheritdoc/>
    public void Dispose() => _composing.Dispose();

    private CachedMedia FindUploaded(string sha256, string? checksum)
    {
        if (checksum is not null && checksum != sha256)
        {
            throw new VolantException(ErrorCodes.ChecksumMismatch, $"The URL names SHA-256 {sha256}, the checksum says {checksum}; correct one of them.");
        }

        return cache.Use(sha256) ?? throw new VolantException(ErrorCodes.ArtifactNotFound, $"The artifact {sha256} is not on this daemon; install the plugin again with 'volar plugins install', which uploads it.");
    }

    private Task<CachedMedia> ImportAsync(string path, string? checksum, CancellationToken cancellationToken) =>
        _importing.RunAsync($"{checksum} {path}", () => CopyAsync(path, checksum), cancellationToken);

    private async Task<CachedMedia> CopyAsync(string path, string? checksum)
    {
        using var file = OpenAllowed(path);
        var identity = IdentityOf(path, file);
        if (checksum is null && SourceRecord.Find(_sources, identity) is { } seen && cache.Use(seen.Sha256) is { } present)
        {
            return present;
        }

        var progress = transfers.Begin(path);
        try
        {
            await using var content = new FileStream(file, FileAccess.Read, bufferSize: 0);
            using var writer = cache.Begin();
            writer.RequireSize(content.Length);
            var buffer = new byte[BufferSize];
            while (await content.ReadAsync(buffer) is > 0 and var read)
            {
                await writer.WriteAsync(buffer.AsMemory(0, read), CancellationToken.None);
                progress.Report(writer.Length, content.Length);
            }

            var artifact = writer.Commit(checksum, $"'{path}'");
            new SourceRecord(artifact.Sha256, ETag: null, LastModified: null).Write(_sources, identity);
            progress.Complete(artifact);
            return new CachedMedia(cache.PathOf(artifact.Sha256), artifact.Sha256);
        }
        catch (Exception e)
        {
            progress.Fail(e);
            throw;
        }
    }

    /// <summary>Refuses a host file that does not lie below an image directory.</summary>
    /// <exception cref="VolantException"><c>path_not_allowed</c> or <c>artifact_not_found</c>.</exception>
    public void CheckAllowed(string path) => OpenAllowed(path).Dispose();

    private SafeFileHandle OpenAllowed(string path)
    {
        foreach (var root in imageDirectories)
        {
            if (path.StartsWith(root.TrimEnd('/') + "/", StringComparison.Ordinal))
            {
                try
                {
                    return SafePath.OpenBeneath(root, path);
                }
                catch (SafePathException e) when (e.Fault == SafePathFault.NotFound)
                {
                    throw new VolantException(ErrorCodes.ArtifactNotFound, $"'{path}' does not exist on the daemon's host; correct the path, or let volar upload a local file.", e);
                }
                catch (SafePathException e)
                {
                    throw new VolantException(ErrorCodes.PathNotAllowed, $"'{path}' cannot be used as boot medium: {e.Message}", e);
                }
            }
        }

        throw new VolantException(ErrorCodes.PathNotAllowed, $"'{path}' is not below an image directory ({string.Join(", ", imageDirectories)}); move it there, extend VOLANT_IMAGE_DIRS, or let 'volar plugins install' upload it.");
    }

    private async Task<string> DigestOfAsync(string path, CancellationToken cancellationToken)
    {
        await using var content = File.OpenRead(path);
        var identity = IdentityOf(path, content.SafeFileHandle);
        if (_digests.TryGetValue(identity, out var seen))
        {
            return seen;
        }

        return _digests[identity] = Convert.ToHexStringLower(await SHA256.HashDataAsync(content, cancellationToken));
    }

    /// <summary>Changes whenever the file's content may have changed.</summary>
    private static string IdentityOf(string path, SafeFileHandle file) => string.Create(
        CultureInfo.InvariantCulture, $"{path}\n{RandomAccess.GetLength(file)}\n{File.GetLastWriteTimeUtc(file).Ticks}\n{File.GetCreationTimeUtc(file).Ticks}");

    private static async Task ComposeAsync(string target, string? modules, string initramfs, CancellationToken cancellationToken)
    {
        var partial = $"{target}.partial";
        var unpacked = $"{target}.unpacked";
        try
        {
            var isRaw = await GzipMember.TryUnpackAsync(initramfs, unpacked, MaxUnpackedBytes, cancellationToken);
            var rest = isRaw ? unpacked : initramfs;

            // Behind an unpacked initramfs the modules cannot take the place of a link that it has; behind a packed one the kernel may not find them.
            AppendAll(partial, modules is null ? [rest] : isRaw ? [rest, modules] : [modules, rest]);
            File.SetUnixFileMode(partial, ArtifactCache.Published);
            File.Move(partial, target, overwrite: true);
        }
        finally
        {
            File.Delete(partial);
            File.Delete(unpacked);
        }
    }

    /// <summary>Appends files, each from a multiple of the archive's alignment.</summary>
    private static void AppendAll(string target, IReadOnlyList<string> sources, FileMode mode = FileMode.Create)
    {
        using var destination = File.OpenHandle(target, mode, FileAccess.Write);
        foreach (var source in sources)
        {
            using var from = File.OpenHandle(source);
            FileCopy.Append(from, destination, CancellationToken.None);
            var length = RandomAccess.GetLength(destination);
            RandomAccess.SetLength(destination, (length + CpioHeader.Alignment - 1) / CpioHeader.Alignment * CpioHeader.Alignment);
        }
    }
}
