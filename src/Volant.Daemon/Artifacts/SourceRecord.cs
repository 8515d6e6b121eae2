using System.Security.Cryptography;
using System.Text;
using Volant.Contracts;

namespace Volant.Daemon.Artifacts;

/// <summary>What a source without a checksum held last: a URL, and by what its server knows that it still does, or a host file as it was then.</summary>
/// <param name="Sha256">The artifact.</param>
/// <param name="ETag">The entity tag; null for none.</param>
/// <param name="LastModified">The time of the last change, as the server writes it; null for none.</param>
internal sealed record SourceRecord(string Sha256, string? ETag, string? LastModified)
{
    /// <summary>Where the records of a cache lie.</summary>
    public static string DirectoryOf(string cacheDirectory) => Path.Combine(cacheDirectory, "sources");

    /// <summary>Reads the record of a source; null when there is none.</summary>
    public static SourceRecord? Find(string directory, string source)
    {
        try
        {
            return File.ReadAllLines(PathOf(directory, source)) is [var sha256, var etag, var modified] && Sha256Text.IsValid(sha256) ? new SourceRecord(sha256, Some(etag), Some(modified)) : null;
        }
        catch (Exception e) when (e is FileNotFoundException or DirectoryNotFoundException)
        {
            return null;
        }
    }

    /// <summary>Writes the record of a source.</summary>
    /// <exception cref="VolantException"><c>disk_full</c>.</exception>
    public void Write(string directory, string source)
    {
        var next = Path.Combine(directory, $"{Guid.NewGuid():N}.new");
        try
        {
            Directory.CreateDirectory(directory);
            File.WriteAllLines(next, [Sha256, ETag ?? string.Empty, LastModified ?? string.Empty]);
            File.Move(next, PathOf(directory, source), overwrite: true);
        }
        catch (IOException e) when (ArtifactCache.IsDiskFull(e))
        {
            File.Delete(next);
            throw ArtifactCache.DiskIsFull(e);
        }
    }

    /// <summary>Removes the records of artifacts that are gone.</summary>
    public static void Collect(string directory, Func<string, bool> isThere)
    {
        foreach (var file in Directory.Exists(directory) ? Directory.GetFiles(directory) : [])
        {
            // Another name is that of one that is being written.
            if (!Sha256Text.IsValid(Path.GetFileName(file)))
            {
                continue;
            }

            if (File.ReadLines(file).FirstOrDefault() is not { } sha256 || !isThere(sha256))
            {
                File.Delete(file);
            }
        }
    }

    private static string? Some(string text) => text.Length > 0 ? text : null;

    private static string PathOf(string directory, string source) => Path.Combine(directory, Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(source))));
}
