using System.Diagnostics.CodeAnalysis;

namespace Volant.Contracts.Manifests;

/// <summary>How a boot medium is named.</summary>
public enum MediaScheme
{
    /// <summary>A file on the daemon's host, below one of its image directories.</summary>
    File,

    /// <summary>An artifact uploaded to the daemon, by digest.</summary>
    Volant,

    /// <summary>A download.</summary>
    Http,
}

/// <summary>A parsed medium reference (contract §4).</summary>
/// <param name="Scheme">Which kind.</param>
/// <param name="Value">Absolute path, lower-case hex digest, or URL, by <paramref name="Scheme"/>.</param>
public readonly record struct MediaReference(MediaScheme Scheme, string Value)
{
    private const string VolantPrefix = "volant://sha256/";

    /// <summary>The reference of an uploaded artifact.</summary>
    public static string ForDigest(string sha256) => VolantPrefix + sha256;

    /// <summary>Reads a reference; false when it is none of the allowed forms.</summary>
    public static bool TryParse([NotNullWhen(true)] string? text, out MediaReference reference)
    {
        reference = default;
        if (string.IsNullOrEmpty(text) || text.Any(char.IsControl))
        {
            return false;
        }

        if (text.StartsWith(VolantPrefix, StringComparison.Ordinal))
        {
            var digest = text[VolantPrefix.Length..].ToLowerInvariant();
            reference = new MediaReference(MediaScheme.Volant, digest);
            return Sha256Text.IsValid(digest);
        }

        if (text[0] == '/')
        {
            reference = new MediaReference(MediaScheme.File, text);
            return true;
        }

        if (!Uri.TryCreate(text, UriKind.Absolute, out var url))
        {
            return false;
        }

        if (url.IsFile)
        {
            reference = new MediaReference(MediaScheme.File, url.LocalPath);
            return url.Host.Length == 0 && url.LocalPath.StartsWith('/');
        }

        reference = new MediaReference(MediaScheme.Http, url.AbsoluteUri);
        return (url.Scheme == Uri.UriSchemeHttp || url.Scheme == Uri.UriSchemeHttps) && url.Host.Length > 0 && url.UserInfo.Length == 0;
    }
}
