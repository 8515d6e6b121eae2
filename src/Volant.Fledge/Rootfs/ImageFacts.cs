using System.Text.RegularExpressions;
using Volant.Contracts.Api;
using Volant.Contracts.Manifests;
using Volant.Fledge.Cpio;
using Volant.Fledge.Oci;
using Volant.Fledge.Tar;

namespace Volant.Fledge.Rootfs;

/// <summary>What an image says about how it is run, as a manifest says it.</summary>
/// <param name="Image">Reference of the image.</param>
/// <param name="Digest"><c>sha256:HEX</c>.</param>
/// <param name="Name">A plugin name for it.</param>
/// <param name="Version">A version for it: the tag, else the start of the digest.</param>
/// <param name="Workload">Entrypoint, environment, working directory and user; null where the image says nothing that can be used.</param>
/// <param name="ProgramFault">Why there is no entrypoint.</param>
/// <param name="UserFault">Why there is no user, although the image names one.</param>
internal sealed partial record ImageFacts(string Image, string Digest, string Name, string Version, Workload Workload, string? ProgramFault = null, string? UserFault = null)
{
    private const string DefaultPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

    /// <summary>Reads them.</summary>
    public static ImageFacts Of(ImageReference reference, ResolvedImage image, RootTree tree)
    {
        var run = image.Config.Config ?? new ImageRun();
        var variables = new SortedDictionary<string, string>(StringComparer.Ordinal);
        foreach (var variable in run.Env ?? [])
        {
            if (variable.IndexOf('=', StringComparison.Ordinal) is > 0 and var equals)
            {
                variables[variable[..equals]] = variable[(equals + 1)..];
            }
        }

        var workdir = run.WorkingDir is { Length: > 0 } directory ? (directory.StartsWith('/') ? directory : "/" + directory) : null;
        var path = variables.GetValueOrDefault("PATH") ?? DefaultPath;
        string[] command = [.. run.Entrypoint ?? [], .. run.Cmd ?? []];
        var program = command.Length == 0 ? null : FindProgram(command[0], path, workdir ?? "/", tree);
        var hasUser = !string.IsNullOrEmpty(run.User);
        var isUser = hasUser && UserText.IsValid(run.User);
        return new ImageFacts(
            reference.Text,
            image.Digest,
            PluginName(reference.ShortName),
            reference is ImageReference.Registry { Tag: { } tag } ? tag : image.Digest[Contracts.Sha256Text.Prefix.Length..][..12],
            new Workload
            {
                Type = WorkloadTypes.Process,
                Entrypoint = program is null ? null : [program, .. command[1..]],
                Env = variables.Count == 0 ? null : variables,
                Workdir = workdir,
                User = isUser ? run.User : null,
            },
            program is not null ? null
                : command.Length == 0 ? "The image names no program to run; set 'workload.entrypoint' in manifest.toml."
                : $"The image is to run '{ByteText.Show(command[0])}', which is no program in it (PATH is {ByteText.Show(path)}); set 'workload.entrypoint' in manifest.toml, or correct the image.",
            hasUser && !isUser ? $"The image runs as the user '{ByteText.Show(run.User!)}', but a user {UserText.Rule}; set 'workload.user' in manifest.toml." : null);
    }

    /// <summary>Makes a plugin name of any text.</summary>
    public static string PluginName(string text)
    {
        var name = NotAllowed().Replace(text.ToLowerInvariant(), "-").Trim('-', '_', '.');
        name = (name.Length > Contracts.Names.MaxLength ? name[..Contracts.Names.MaxLength] : name).Trim('-', '_', '.');
        return name.Length == 0 ? "image" : name;
    }

    /// <summary>The absolute path of a program, looked up as a shell would; null when the image has none.</summary>
    private static string? FindProgram(string program, string path, string workdir, RootTree tree)
    {
        var candidates = program.Contains('/', StringComparison.Ordinal)
            ? [Path.GetFullPath(program, workdir)]
            : path.Split(':').Where(directory => directory.StartsWith('/')).Select(directory => $"{directory.TrimEnd('/')}/{program}");
        return candidates.FirstOrDefault(candidate => IsProgram(tree, candidate));
    }

    private static bool IsProgram(RootTree tree, string path) =>
        tree.Find(ByteText.Encode(path)) is { Kind: TarKind.File } file && (file.Permissions & Permissions.AnyExecute) != 0;

    [GeneratedRegex("[^a-z0-9._-]+", RegexOptions.CultureInvariant, 1000)]
    private static partial Regex NotAllowed();
}
