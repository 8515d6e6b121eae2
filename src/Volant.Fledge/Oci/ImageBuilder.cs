using System.Globalization;
using System.Runtime.InteropServices;
using Volant.Fledge.Configuration;
using Volant.Fledge.Output;

namespace Volant.Fledge.Oci;

/// <summary>Builds Dockerfiles with a builder that is installed: BuildKit through <c>buildctl</c>, or <c>buildah</c>.</summary>
/// <remarks>
/// <c>FLEDGE_BUILDKIT_MODE</c> is <c>auto</c> (default), <c>buildctl</c> (also <c>external</c>) or <c>buildah</c>; <c>FLEDGE_BUILDKIT_ADDR</c> is the address of the
/// BuildKit daemon, and chooses it. The builder's own variables are passed on, its caches are used.
/// </remarks>
internal static class ImageBuilder
{
    /// <summary>Variable that chooses the builder.</summary>
    public const string ModeVariable = "FLEDGE_BUILDKIT_MODE";

    /// <summary>Variable with the address of BuildKit's daemon.</summary>
    public const string AddressVariable = "FLEDGE_BUILDKIT_ADDR";

    private static readonly string[] PassedOn = ["BUILDAH_", "BUILDKIT_", "CONTAINERS_", "STORAGE_", "DOCKER_", "REGISTRY_AUTH_FILE", "XDG_", "http_proxy", "https_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "SSL_CERT_"];

    /// <summary>Builds an image into an archive in the OCI layout.</summary>
    /// <param name="build">What to build.</param>
    /// <param name="archive">The archive to write.</param>
    /// <param name="cancellationToken">Kills the builder.</param>
    /// <exception cref="FledgeException">No builder is installed, or it failed: what it says.</exception>
    public static async Task BuildAsync(ImageInput.Dockerfile build, string archive, CancellationToken cancellationToken)
    {
        if (!File.Exists(build.File))
        {
            throw new FledgeException($"There is no Dockerfile '{build.File}'.");
        }

        if (!Directory.Exists(build.Context))
        {
            throw new FledgeException($"There is no directory '{build.Context}' for the Dockerfile to copy from; set 'source.context' or --context.");
        }

        var address = Environment.GetEnvironmentVariable(AddressVariable) is { Length: > 0 } given ? given : null;
        var program = Choose(Environment.GetEnvironmentVariable(ModeVariable), address);
        var arguments = program.Name == "buildctl" ? BuildctlArguments(build, archive, address) : BuildahArguments(build, archive);
        await program.RunAsync(arguments, null, Variables(), build.Context, cancellationToken);
        if (!File.Exists(archive))
        {
            throw new FledgeException($"'{program.Name}' ended without an image.");
        }
    }

    /// <summary>Arguments of <c>buildctl</c>.</summary>
    internal static string[] BuildctlArguments(ImageInput.Dockerfile build, string archive, string? address) =>
    [
        .. address is null ? [] : new[] { "--addr", address },
        "build", "--progress", "plain", "--frontend", "dockerfile.v0",
        "--local", $"context={build.Context}", "--local", $"dockerfile={Path.GetDirectoryName(build.File)}",
        "--opt", $"filename={Path.GetFileName(build.File)}", "--opt", $"platform=linux/{Architecture}",
        .. build.Target is null ? [] : new[] { "--opt", $"target={build.Target}" },
        .. Sorted(build).SelectMany(pair => new[] { "--opt", $"build-arg:{pair.Key}={pair.Value}" }),
        "--output", $"type=oci,dest={archive}",
    ];

    /// <summary>Arguments of <c>buildah</c>.</summary>
    internal static string[] BuildahArguments(ImageInput.Dockerfile build, string archive) =>
    [
        "build", "--format", "oci", "--layers", "--timestamp", "0", "--file", build.File, "--platform", $"linux/{Architecture}",
        .. build.Target is null ? [] : new[] { "--target", build.Target },
        .. Sorted(build).SelectMany(pair => new[] { "--build-arg", $"{pair.Key}={pair.Value}" }),
        "--tag", $"oci-archive:{archive}", build.Context,
    ];

    private static string Architecture => RuntimeInformation.OSArchitecture == System.Runtime.InteropServices.Architecture.Arm64 ? "arm64" : "amd64";

    private static IOrderedEnumerable<KeyValuePair<string, string>> Sorted(ImageInput.Dockerfile build) => build.Arguments.OrderBy(pair => pair.Key, StringComparer.Ordinal);

    private static ToolProgram Choose(string? mode, string? address)
    {
        const string remedy = "install buildah, or BuildKit with buildctl (its daemon's address goes into " + AddressVariable + "), or build the image elsewhere and name it as 'source.image'";
        return mode switch
        {
            "buildctl" or "external" => ToolProgram.Find("buildctl") ?? throw new FledgeException($"{ModeVariable} is '{mode}', but 'buildctl' is not installed; {remedy}."),
            "buildah" => ToolProgram.Find("buildah") ?? throw new FledgeException($"{ModeVariable} is '{mode}', but 'buildah' is not installed; {remedy}."),
            null or "" or "auto" => (address is not null ? ToolProgram.Find("buildctl") : ToolProgram.Find("buildah") ?? ToolProgram.Find("buildctl"))
                ?? throw new FledgeException($"A Dockerfile needs a builder, and {(address is null ? "neither 'buildah' nor 'buildctl' is" : "'buildctl' is not")} installed: {remedy}."),
            _ => throw new FledgeException(string.Create(CultureInfo.InvariantCulture, $"{ModeVariable} is '{mode}'; it must be auto, buildctl, external or buildah.")),
        };
    }

    private static Dictionary<string, string> Variables()
    {
        var variables = new Dictionary<string, string>(StringComparer.Ordinal);
        foreach (var (name, value) in Environment.GetEnvironmentVariables().Cast<System.Collections.DictionaryEntry>().Select(entry => ((string)entry.Key, (string?)entry.Value)))
        {
            if (value is not null && PassedOn.Any(prefix => name.StartsWith(prefix, StringComparison.Ordinal)))
            {
                variables[name] = value;
            }
        }

        return variables;
    }
}
