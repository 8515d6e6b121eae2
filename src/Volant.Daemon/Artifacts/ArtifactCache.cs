using Volant.Contracts;
using Volant.Contracts.Api;
using Volant.Contracts.Manifests;

namespace Volant.Daemon.Artifacts;

/// <summary>Files by SHA-256 below one directory: verified while they are written, read-only afterwards, shared by all VMs.</summary>
/// <remarks>
/// A file appears under its digest by an atomic rename and only when every byte was checked; a failure leaves nothing. The time of a
/// file's last use is its modification time.
/// </remarks>
internal sealed class ArtifactCache
{
    /// <summary>Mode of an artifact: nobody changes it, and hypervisors read it as users of their own. The directory is closed to others.</summary>
    public const UnixFileMode Published = UnixFileMode.UserRead | UnixFileMode.GroupRead | UnixFileMode.OtherRead;

    private const int BufferSize = 1 << 20;
    private const int NoSpace = 28; // ENOSPC

    private readonly string _directory;
    private readonly long _maxBytes;
    private readonly TimeProvider _clock;
    private readonly Lock _collecting = new();

    /// <summary>Opens the cache and removes what interrupted writes left.</summary>
    /// <param name="cacheDirectory">Directory of the cache.</param>
    /// <param name="maxBytes">Largest artifact in bytes.</param>
    /// <param name="clock">Tells when a file was used.</param>
    public ArtifactCache(string cacheDirectory, long maxBytes, TimeProvider clock)
    {
        _directory = Path.Combine(cacheDirectory, "sha256");
        (_maxBytes, _clock) = (maxBytes, clock);
        Directory.CreateDirectory(_directory);
        foreach (var partial in Directory.EnumerateFiles(_directory, "*.partial"))
        {
            File.Delete(partial);
        }
    }

    /// <summary>The artifact of that digest; null when it is not there.</summary>
    public StoredArtifact? Find(string sha256) => Sha256Text.IsValid(sha256) && new FileInfo(PathOf(sha256)) is { Exists: true } file ? Describe(sha256, file.Length) : null;

    /// <summary>The artifact of that digest, kept from now on for as long as an unused one is; null when it is not there.</summary>
    public CachedMedia? Use(string sha256)
    {
        lock (_collecting)
        {
            if (Find(sha256) is null)
            {
                return null;
            }

            File.SetLastWriteTimeUtc(PathOf(sha256), _clock.GetUtcNow().UtcDateTime);
            return new CachedMedia(PathOf(sha256), sha256);
        }
    }

    /// <summary>Path of the artifact of that digest, whether it is there or not.</summary>
    public string PathOf(string sha256) => Path.Combine(_directory, sha256);

    /// <summary>Begins a file whose digest is not known yet.</summary>
    public ArtifactWriter Begin() => new(this, Path.Combine(_directory, $"{Guid.NewGuid():N}.partial"), _maxBytes);

    /// <summary>Stores what <paramref name="content"/> holds.</summary>
    /// <param name="content">The bytes, read to the end.</param>
    /// <param name="expected">Digest that the bytes must have; null for whatever they have.</param>
    /// <param name="cancellationToken">Gives up and leaves nothing.</param>
    /// <exception cref="VolantException"><c>checksum_mismatch</c>, <c>too_large</c> or <c>disk_full</c>.</exception>
    public async Task<StoredArtifact> AddAsync(Stream content, string? expected, CancellationToken cancellationToken)
    {
        using var writer = Begin();
        var buffer = new byte[BufferSize];
        while (await content.ReadAsync(buffer, cancellationToken) is > 0 and var read)
        {
            await writer.WriteAsync(buffer.AsMemory(0, read), cancellationToken);
        }

        return writer.Commit(expected, "The content");
    }

    /// <summary>Removes what nobody names and nobody has used for a while.</summary>
    /// <param name="isNamed">Whether somebody needs the file of a digest.</param>
    /// <param name="unusedSince">Files that were used later stay.</param>
    /// <returns>Number and bytes of the files that are gone.</returns>
    public (int Count, long Bytes) Collect(Func<string, bool> isNamed, DateTimeOffset unusedSince)
    {
        var (count, bytes) = (0, 0L);
        foreach (var file in new DirectoryInfo(_directory).EnumerateFiles().Where(file => Sha256Text.IsValid(file.Name) && !isNamed(file.Name)))
        {
            lock (_collecting)
            {
                file.Refresh();
                if (file.Exists && file.LastWriteTimeUtc < unusedSince.UtcDateTime)
                {
                    (count, bytes) = (count + 1, bytes + file.Length);
                    file.Delete();
                }
            }
        }

        return (count, bytes);
    }

    /// <summary>Whether a write failed for want of space.</summary>
    public static bool IsDiskFull(IOException failure) => (failure.HResult & 0xffff) == NoSpace;

    /// <summary>The failure of whoever finds the disk full.</summary>
    internal static VolantException DiskIsFull(Exception cause) => new(ErrorCodes.DiskFull, "The disk of the artifact cache is full; free space and try again.", cause);

    /// <summary>Gives a complete file its name.</summary>
    internal StoredArtifact Adopt(string partial, string sha256, long length)
    {
        lock (_collecting)
        {
            File.Move(partial, PathOf(sha256), overwrite: true);
            File.SetLastWriteTimeUtc(PathOf(sha256), _clock.GetUtcNow().UtcDateTime);
        }

        return Describe(sha256, length);
    }

    private static StoredArtifact Describe(string sha256, long length) => new() { Sha256 = sha256, SizeBytes = length, Url = MediaReference.ForDigest(sha256) };
}
