using System.Text.Json;
using Volant.Contracts;
using Volant.Contracts.Manifests;

namespace Volant.Cli.Images;

/// <summary>A container image as a root disk on this machine.</summary>
/// <param name="Manifest">Its manifest, named after image and digest; the disk is named by its path.</param>
/// <param name="Directory">Where manifest and disk lie.</param>
/// <param name="Entrypoint">What always runs; empty when the image has no such thing.</param>
internal sealed record BuiltImage(PluginManifest Manifest, string Directory, IReadOnlyList<string> Entrypoint)
{
    private const int DigestDigits = 12;

    private static readonly string[] Prefixes = ["docker://", "oci:", "oci-archive:", "docker-archive:"];

    /// <summary>Finds the image, and builds the disk when this digest has none yet.</summary>
    /// <param name="fledge">Does the work.</param>
    /// <param name="host">The surroundings.</param>
    /// <param name="image">The user's name for it.</param>
    /// <param name="say">Told before something takes long.</param>
    /// <param name="cancellationToken">Stops it.</param>
    /// <exception cref="CliException">There is no such image, or it cannot be built.</exception>
    public static async Task<BuiltImage> GetAsync(FledgeProgram fledge, CliHost host, string image, Action<string> say, CancellationToken cancellationToken)
    {
        var reference = HasPrefix(image) ? image : $"docker://{image}";
        using var inspected = Parse(await fledge.RunAsync(["inspect", reference, "--json"], cancellationToken));
        var facts = inspected.RootElement.GetProperty("image");
        var digest = facts.GetProperty("digest").GetString() ?? string.Empty;
        var hex = digest.StartsWith(Sha256Text.Prefix, StringComparison.Ordinal) ? digest[Sha256Text.Prefix.Length..] : string.Empty;
        if (!Sha256Text.IsValid(hex))
        {
            throw CliException.Failed($"fledge gave '{digest}' as the digest of '{image}'.");
        }

        var directory = Path.Combine(CacheDirectory(host), hex);
        var manifest = Path.Combine(directory, "image.manifest.json");
        if (!File.Exists(manifest) || !File.Exists(Path.Combine(directory, "image.img")))
        {
            // The manifest comes last, so where there is one the disk is whole.
            System.IO.Directory.CreateDirectory(directory);
            say($"Building a root disk from {image} ({digest[..(Sha256Text.Prefix.Length + DigestDigits)]}).");
            await fledge.RunAsync(["build", Pinned(reference, digest), "--output", Path.Combine(directory, "image"), "--json"], cancellationToken);
        }

        return new BuiltImage(Read(manifest, hex), directory, [.. facts.GetProperty("entrypoint").EnumerateArray().Select(word => word.GetString() ?? string.Empty)]);
    }

    /// <summary>A tag may move between two requests; a digest does not.</summary>
    private static string Pinned(string reference, string digest)
    {
        if (!reference.StartsWith("docker://", StringComparison.Ordinal))
        {
            return reference;
        }

        var name = reference.Split('@')[0];
        var colon = name.LastIndexOf(':');
        return $"{(colon > name.LastIndexOf('/') ? name[..colon] : name)}@{digest}";
    }

    private static PluginManifest Read(string file, string hex)
    {
        try
        {
            var manifest = ManifestReader.Read(File.ReadAllBytes(file));
            var suffix = $"-{hex[..DigestDigits]}";
            var stem = manifest.Name!.Length + suffix.Length > Names.MaxLength ? manifest.Name[..(Names.MaxLength - suffix.Length)] : manifest.Name;
            var name = stem + suffix;
            return manifest with { Name = name, Runtime = name, Labels = null };
        }
        catch (Exception e) when (e is InvalidDocumentException or IOException or UnauthorizedAccessException)
        {
            throw CliException.Failed($"'{file}' cannot be used: {e.Message.TrimEnd('.')}. Remove its directory and run again.", e);
        }
    }

    private static bool HasPrefix(string image) => Prefixes.Any(prefix => image.StartsWith(prefix, StringComparison.Ordinal));

    private static JsonDocument Parse(string json)
    {
        try
        {
            return JsonDocument.Parse(json);
        }
        catch (JsonException e)
        {
            throw CliException.Failed("fledge printed no JSON; install volar and fledge of the same version.", e);
        }
    }

    private static string CacheDirectory(CliHost host)
    {
        var cache = host.Environment("XDG_CACHE_HOME") is { Length: > 0 } directory && Path.IsPathRooted(directory)
            ? directory
            : host.Environment("HOME") is { Length: > 0 } home ? Path.Combine(home, ".cache") : "/var/cache";
        return Path.Combine(cache, "volant", "images");
    }
}
