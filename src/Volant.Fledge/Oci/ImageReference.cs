using System.Text.RegularExpressions;
using Volant.Contracts;

namespace Volant.Fledge.Oci;

/// <summary>Where an image is.</summary>
internal abstract partial record ImageReference
{
    private const string DockerPrefix = "docker://";

    /// <summary>Name for people and manifests.</summary>
    public abstract string Text { get; }

    /// <summary>A name for a plugin or artifact: the last part of the repository or file.</summary>
    public abstract string ShortName { get; }

    /// <summary>Whether a text says by its beginning that it names an image.</summary>
    public static bool HasPrefix(string text) => text.StartsWith(DockerPrefix, StringComparison.Ordinal) || Locals.Any(local => text.StartsWith(local.Prefix, StringComparison.Ordinal));

    /// <summary>Reads a reference.</summary>
    /// <param name="text"><c>docker://NAME</c>, <c>NAME</c>, <c>oci:DIR[:TAG]</c>, <c>oci-archive:FILE[:TAG]</c> or <c>docker-archive:FILE[:NAME]</c>.</param>
    /// <param name="directory">Where relative paths start.</param>
    /// <exception cref="FormatException">It is none of these; the message is the end of a sentence.</exception>
    public static ImageReference Parse(string text, string directory)
    {
        if (text.Length is 0 or > 4096 || text.Any(char.IsControl))
        {
            throw new FormatException("must be the name of an image, or oci:DIR, oci-archive:FILE or docker-archive:FILE");
        }

        foreach (var (prefix, make) in Locals)
        {
            if (text.StartsWith(prefix, StringComparison.Ordinal))
            {
                return make(text[prefix.Length..], directory);
            }
        }

        return ParseName(text.StartsWith(DockerPrefix, StringComparison.Ordinal) ? text[DockerPrefix.Length..] : text, text);
    }

    private static readonly (string Prefix, Func<string, string, ImageReference> Make)[] Locals =
    [
        ("oci:", (rest, directory) => new LayoutDirectory(Full(SplitTag(rest).Path, directory), SplitTag(rest).Tag)),
        ("oci-archive:", (rest, directory) => new LayoutArchive(Full(SplitTag(rest).Path, directory), SplitTag(rest).Tag)),
        ("docker-archive:", (rest, directory) => new DockerArchive(Full(rest.Split(':', 2)[0], directory), rest.Split(':', 2) is [_, { Length: > 0 } name] ? name : null)),
    ];

    private static Registry ParseName(string name, string text)
    {
        var (rest, digest) = name.Split('@', 2) is [var before, var after] ? (before, after) : (name, null);
        if (digest is not null && !(digest.StartsWith(Sha256Text.Prefix, StringComparison.Ordinal) && Sha256Text.IsValid(digest[Sha256Text.Prefix.Length..])))
        {
            throw new FormatException($"names the digest '{digest}'; it must be 'sha256:' and 64 lower-case hex digits");
        }

        // A first part with a dot or a port is a registry (Docker's rule, which every tool follows); a name without one is looked up in registries.conf.
        var slash = rest.IndexOf('/', StringComparison.Ordinal);
        var first = slash < 0 ? string.Empty : rest[..slash];
        var hasHost = first == "localhost" || first.AsSpan().ContainsAny('.', ':');
        var (host, path) = hasHost ? (first, rest[(slash + 1)..]) : (null, rest);
        var colon = path.LastIndexOf(':');
        var tag = colon >= 0 ? path[(colon + 1)..] : digest is null ? "latest" : null;
        var repository = colon >= 0 ? path[..colon] : path;
        return (host is null || HostPattern().IsMatch(host)) && repository.Length <= 255 && RepositoryPattern().IsMatch(repository) && (tag is null || TagPattern().IsMatch(tag))
            ? new Registry(host, repository, tag, digest)
            : throw new FormatException($"is '{text}', which is no name of an image such as 'registry.example:5000/team/app:1.2' or 'app@sha256:…'");
    }

    /// <summary>Whether a text is <c>HOST</c> or <c>HOST/PATH</c>, where repositories may be.</summary>
    public static bool IsPlace(string text) => text.Split('/', 2) switch
    {
        [var host] => HostPattern().IsMatch(host),
        [var host, var path] => HostPattern().IsMatch(host) && RepositoryPattern().IsMatch(path),
        _ => false,
    };

    private static (string Path, string? Tag) SplitTag(string rest) =>
        rest.LastIndexOf(':') is > 0 and var colon && TagPattern().IsMatch(rest[(colon + 1)..]) ? (rest[..colon], rest[(colon + 1)..]) : (rest, null);

    private static string Full(string path, string directory) =>
        path.Length > 0 ? System.IO.Path.GetFullPath(path, directory) : throw new FormatException("names no path after its prefix");

    [GeneratedRegex(@"^[a-zA-Z0-9]([a-zA-Z0-9.-]*[a-zA-Z0-9])?(:[0-9]{1,5})?$|^\[[0-9a-fA-F:]+\](:[0-9]{1,5})?$", RegexOptions.CultureInvariant | RegexOptions.ExplicitCapture, 1000)]
    private static partial Regex HostPattern();

    [GeneratedRegex("^[a-z0-9]+((\\.|_|__|-+)[a-z0-9]+)*(/[a-z0-9]+((\\.|_|__|-+)[a-z0-9]+)*)*$", RegexOptions.CultureInvariant | RegexOptions.ExplicitCapture, 1000)]
    private static partial Regex RepositoryPattern();

    [GeneratedRegex("^[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}$", RegexOptions.CultureInvariant | RegexOptions.ExplicitCapture, 1000)]
    private static partial Regex TagPattern();

    /// <summary>An image of a registry.</summary>
    /// <param name="Host">Host and port; null when the name says none.</param>
    /// <param name="Repository">Path below it.</param>
    /// <param name="Tag">Tag; null when only the digest counts.</param>
    /// <param name="Digest"><c>sha256:HEX</c> when it is fixed.</param>
    internal sealed record Registry(string? Host, string Repository, string? Tag, string? Digest) : ImageReference
    {
        public override string Text => $"{(Host is null ? string.Empty : Host + "/")}{Repository}{(Tag is null ? string.Empty : ":" + Tag)}{(Digest is null ? string.Empty : "@" + Digest)}";

        public override string ShortName => Repository[(Repository.LastIndexOf('/') + 1)..];
    }

    /// <summary>A directory in the OCI layout.</summary>
    internal sealed record LayoutDirectory(string Path, string? Tag) : ImageReference
    {
        public override string Text => $"oci:{Path}{(Tag is null ? string.Empty : ":" + Tag)}";

        public override string ShortName => System.IO.Path.GetFileName(System.IO.Path.TrimEndingDirectorySeparator(Path));
    }

    /// <summary>An OCI layout in a tar file.</summary>
    internal sealed record LayoutArchive(string Path, string? Tag) : ImageReference
    {
        public override string Text => $"oci-archive:{Path}{(Tag is null ? string.Empty : ":" + Tag)}";

        public override string ShortName => System.IO.Path.GetFileNameWithoutExtension(Path);
    }

    /// <summary>What <c>docker save</c> writes.</summary>
    internal sealed record DockerArchive(string Path, string? Name) : ImageReference
    {
        public override string Text => $"docker-archive:{Path}{(Name is null ? string.Empty : ":" + Name)}";

        public override string ShortName => System.IO.Path.GetFileNameWithoutExtension(Path);
    }
}
