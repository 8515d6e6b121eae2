using System.Security.Cryptography;
using Microsoft.Win32.SafeHandles;
using Volant.Contracts.Api;

namespace Volant.Daemon.Artifacts;

/// <summary>A file on its way into the cache: hashed while it is written, visible only when it is complete.</summary>
internal sealed class ArtifactWriter : IDisposable
{
    private readonly ArtifactCache _cache;
    private readonly string _partial;
    private readonly SafeFileHandle _file;
    private readonly long _maxBytes;
    private readonly IncrementalHash _hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);

    internal ArtifactWriter(ArtifactCache cache, string partial, long maxBytes)
    {
        (_cache, _partial, _maxBytes) = (cache, partial, maxBytes);
        _file = File.OpenHandle(partial, FileMode.CreateNew, FileAccess.Write, FileShare.Read, FileOptions.Asynchronous);
        File.SetUnixFileMode(_file, UnixFileMode.UserRead | UnixFileMode.UserWrite);
    }

    /// <summary>Bytes that are written.</summary>
    public long Length { get; private set; }

    /// <summary>Refuses a size that is too large, before a byte of it came.</summary>
    /// <exception cref="VolantException"><c>too_large</c>.</exception>
    public void RequireSize(long bytes)
    {
        if (bytes > _maxBytes)
        {
            throw new VolantException(ErrorCodes.TooLarge, $"The artifact is larger than {_maxBytes >> 20} MiB; raise VOLANT_MAX_ARTIFACT_MB.");
        }
    }

    /// <summary>Appends.</summary>
    /// <exception cref="VolantException"><c>too_large</c> or <c>disk_full</c>.</exception>
    public async Task WriteAsync(ReadOnlyMemory<byte> bytes, CancellationToken cancellationToken)
    {
        RequireSize(Length + bytes.Length);
        try
        {
            // A stretch of zeros becomes a hole: images are mostly empty.
            if (bytes.Span.ContainsAnyExcept((byte)0))
            {
                await RandomAccess.WriteAsync(_file, bytes, Length, cancellationToken);
            }
        }
        catch (IOException e) when (ArtifactCache.IsDiskFull(e))
        {
            throw ArtifactCache.DiskIsFull(e);
        }

        _hash.AppendData(bytes.Span);
        Length += bytes.Length;
    }

    /// <summary>Forgets what is written, to begin again.</summary>
    public void Restart()
    {
        RandomAccess.SetLength(_file, 0);
        _ = _hash.GetHashAndReset();
        Length = 0;
    }

    /// <summary>Puts the file into the cache.</summary>
    /// <param name="expected">Digest that it must have; null for whatever it has.</param>
    /// <param name="source">What it is called in a refusal.</param>
    /// <exception cref="VolantException"><c>checksum_mismatch</c> or <c>disk_full</c>; nothing is kept.</exception>
    public StoredArtifact Commit(string? expected, string source)
    {
        var sha256 = Convert.ToHexStringLower(_hash.GetHashAndReset());
        if (expected is not null && sha256 != expected)
        {
            throw new VolantException(ErrorCodes.ChecksumMismatch, $"{source} has SHA-256 {sha256}, expected {expected}; nothing of it is kept. Fetch or upload it again, or correct the checksum.");
        }

        try
        {
            RandomAccess.SetLength(_file, Length);
            RandomAccess.FlushToDisk(_file);
            File.SetUnixFileMode(_file, ArtifactCache.Published);
            return _cache.Adopt(_partial, sha256, Length);
        }
        catch (IOException e) when (ArtifactCache.IsDiskFull(e))
        {
            throw ArtifactCache.DiskIsFull(e);
        }
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        _hash.Dispose();
        _file.Dispose();
        File.Delete(_partial);
    }
}
