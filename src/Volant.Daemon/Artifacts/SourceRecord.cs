using System.Security.Cryptography;
using System.Text;
using Volant.Contracts;

namespace Volant.Daemon.Artifacts;

/// <summary>What a URL without a checksum held last, and by what its server knows that it still does.</summary>
/// <param name="Sha256">The artifact.</param>
/// <param name="ETag">The entity tag; null for none.</param>
/// <param name="LastModified">The time of the last change, as the server writes it; null for none.</param>
internal sealed record SourceRecord(string Sha256, string? ETag, string? LastModified)
{
    /// <summary>Reads the record of a URL; null when there is none.</summary>
    public static SourceRecord? Find(string directory, string url)
    {
        try
        {
            return File.ReadAllLines(PathOf(directory, url)) is [var sha256, var etag, var modified] && Sha256Text.IsValid(sha256) ? new SourceRecord(sha256, Some(etag), Some(modified)) : null;
        }
        catch (Exception e) when (e is FileNotFoundException or DirectoryNotFoundException)
        {
            return null;
        }
    }

    /// <summary>Writes the record of a URL.</summary>
    public void Write(string directory, string url)
    {
        Directory.CreateDirectory(directory);
        var path = PathOf(directory, url);
        File.WriteAllLines($"{path}.new", [Sha256, ETag ?? string.Empty, LastModified ?? string.Empty]);
        File.Move($"{path}.new", path, overwrite: true);
    }

    private static string? Some(string text) => text.Length > 0 ? text : null;

    private static string PathOf(string directory, string url) => Path.Combine(directory, Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(url))));
}
