namespace Volant.Fledge.Output;

/// <summary>How an archive is stored.</summary>
internal enum Compression
{
    /// <summary>As it is (<c>.cpio</c>): the guest starts soonest.</summary>
    None,

    /// <summary>gzip (<c>.cpio.gz</c>): a third of the size.</summary>
    Gzip,
}

/// <summary>Where a build writes to.</summary>
/// <param name="Artifact">Absolute path of the artifact.</param>
/// <param name="Manifest">Absolute path of the manifest.</param>
/// <param name="Compression">How the artifact is stored.</param>
internal sealed record OutputNames(string Artifact, string Manifest, Compression Compression)
{
    private const string Raw = ".cpio";
    private const string Gzipped = ".cpio.gz";
    private const string Image = ".img";
    private const string ManifestSuffix = ".manifest.json";

    /// <summary>Works out the names.</summary>
    /// <param name="output">
    /// What <c>--output</c> says: a directory (existing, or ending in a slash), a file (<c>.cpio</c>, <c>.cpio.gz</c>), or a name without suffix;
    /// null for the working directory.
    /// </param>
    /// <param name="name">Name of the artifact when <paramref name="output"/> has none.</param>
    /// <param name="wanted">What <c>--compress</c> says; null to go by the suffix, gzip without one.</param>
    /// <exception cref="FledgeException">The suffix contradicts <paramref name="wanted"/>.</exception>
    public static OutputNames Resolve(string? output, string name, Compression? wanted)
    {
        var path = output ?? "./";
        if (path.EndsWith('/') || Directory.Exists(path))
        {
            path = Path.Combine(path, name);
        }
        else if (SuffixOf(path) is { } suffix)
        {
            var implied = suffix == Raw ? Compression.None : Compression.Gzip;
            if (wanted is { } given && given != implied)
            {
                throw new FledgeException(
                    [$"--output '{output}' and --compress {(given == Compression.None ? "none" : "gzip")} contradict each other: leave out --compress, or the suffix."],
                    ExitCodes.Usage);
            }

            wanted = implied;
            path = path[..^suffix.Length];
        }

        var stem = Path.GetFullPath(path);
        var compression = wanted ?? Compression.Gzip;
        return new OutputNames(stem + (compression == Compression.None ? Raw : Gzipped), stem + ManifestSuffix, compression);
    }

    /// <summary>Works out the names of a root disk, <c>.img</c>.</summary>
    /// <param name="output">As in <see cref="Resolve"/>.</param>
    /// <param name="name">Name of the artifact when <paramref name="output"/> has none.</param>
    /// <exception cref="FledgeException">The suffix is that of an initramfs.</exception>
    public static OutputNames ResolveImage(string? output, string name)
    {
        var path = output ?? "./";
        if (path.EndsWith('/') || Directory.Exists(path))
        {
            path = Path.Combine(path, name);
        }
        else if (SuffixOf(path) is { } suffix)
        {
            throw new FledgeException([$"--output '{output}' has the suffix of an initramfs, but a root disk is built: write {path[..^suffix.Length]}{Image}."], ExitCodes.Usage);
        }

        var stem = Path.GetFullPath(path.EndsWith(Image, StringComparison.Ordinal) ? path[..^Image.Length] : path);
        return new OutputNames(stem + Image, stem + ManifestSuffix, Compression.None);
    }

    private static string? SuffixOf(string path) =>
        path.EndsWith(Gzipped, StringComparison.Ordinal) ? Gzipped : path.EndsWith(Raw, StringComparison.Ordinal) ? Raw : null;
}
