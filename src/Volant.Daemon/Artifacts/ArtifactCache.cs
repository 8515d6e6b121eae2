using System.Security.Cryptography;
using Volant.Contracts;
using Volant.Contracts.Api;
using Volant.Contracts.Manifests;

namespace Volant.Daemon.Artifacts;

/// <summary>Files by SHA-256 below one directory: verified while they are written, read-only afterwards, shared by all VMs.</summary>
/// <remarks>A file appears under its digest by an atomic rename and only when every byte was checked; a failure leaves nothing.</remarks>
internal sealed class ArtifactCache
{
    private const int BufferSize = 1 << 20;

    private readonly string _directory;
    private readonly long _maxBytes;

    /// <summary>Opens the cache and removes what interrupted writes left.</summary>
    /// <param name="cacheDirectory">Directory of the cache.</param>
    /// <param name="maxBytes">Largest artifact in bytes.</param>
    public ArtifactCache(string cacheDirectory, long maxBytes)
    {
        _directory = Path.Combine(cacheDirectory, "sha256");
        _maxBytes = maxBytes;
        Directory.CreateDirectory(_directory);
        foreach (var partial in Directory.EnumerateFiles(_directory, "*.partial"))
        {
            File.Delete(partial);
        }
    }

    /// <summary>The artifact of that digest; null when it is not there.</summary>
    public StoredArtifact? Find(string sha256) => Sha256Text.IsValid(sha256) && new FileInfo(PathOf(sha256)) is { Exists: true } file ? Describe(sha256, file.Length) : null;

    /// <summary>Path of the artifact of that digest, whether it is there or not.</summary>
    public string PathOf(string sha256) => Path.Combine(_directory, sha256);

    /// <summary>Stores what <paramref name="content"/> holds.</summary>
    /// <param name="content">The bytes, read to the end.</param>
    /// <param name="expected">Digest that the bytes must have; null for whatever they have.</param>
    /// <param name="cancellationToken">Gives up and leaves nothing.</param>
    /// <exception cref="VolantException"><c>checksum_mismatch</c>, <c>too_large</c> or <c>disk_full</c>.</exception>
    public async Task<StoredArtifact> AddAsync(Stream content, string? expected, CancellationToken cancellationToken)
    {
        var partial = Path.Combine(_directory, $"{Guid.NewGuid():N}.partial");
        try
        {
            var (sha256, length) = await WriteAsync(content, partial, cancellationToken);
            if (expected is not null && sha256 != expected)
            {
                throw new VolantException(ErrorCodes.ChecksumMismatch, $"The content has SHA-256 {sha256}, expected {expected}; upload it again or correct the checksum.");
            }

            File.SetUnixFileMode(partial, UnixFileMode.UserRead);
            File.Move(partial, PathOf(sha256), overwrite: true);
            return Describe(sha256, length);
        }
        catch (IOException e) when ((e.HResult & 0xffff) == NoSpace || e.HResult == NoSpace)
        {
            throw new VolantException(ErrorCodes.DiskFull, "The disk of the artifact cache is full; free space and try again.", e);
        }
        finally
        {
            File.Delete(partial);
        }
    }

    private const int NoSpace = 28;

    private async Task<(string Sha256, long Length)> WriteAsync(Stream content, string path, CancellationToken cancellationToken)
    {
        using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        await using var file = new FileStream(path, new FileStreamOptions
        {
            Mode = FileMode.CreateNew,
            Access = FileAccess.Write,
            BufferSize = 0,
            Options = FileOptions.Asynchronous,
            UnixCreateMode = UnixFileMode.UserRead | UnixFileMode.UserWrite,
        });
        var buffer = new byte[BufferSize];
        var length = 0L;
        while (await content.ReadAsync(buffer, cancellationToken) is > 0 and var read)
        {
            length += read;
            if (length > _maxBytes)
            {
                throw new VolantException(ErrorCodes.TooLarge, $"The artifact is larger than {_maxBytes >> 20} MiB; raise VOLANT_MAX_ARTIFACT_MB.");
            }

            hash.AppendData(buffer, 0, read);
            await file.WriteAsync(buffer.AsMemory(0, read), cancellationToken);
        }

        file.Flush(flushToDisk: true);
        return (Convert.ToHexStringLower(hash.GetHashAndReset()), length);
    }

    private static StoredArtifact Describe(string sha256, long length) => new() { Sha256 = sha256, SizeBytes = length, Url = MediaReference.ForDigest(sha256) };
}
