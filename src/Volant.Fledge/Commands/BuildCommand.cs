using System.CommandLine;
using System.Globalization;
using System.Text.Json;
using Volant.Fledge.Initramfs;
using Volant.Fledge.Oci;
using Volant.Fledge.Output;
using Volant.Fledge.Rootfs;
using Volant.Fledge.Sources;

namespace Volant.Fledge.Commands;

/// <summary><c>fledge build [PATH]</c>.</summary>
internal static class BuildCommand
{
    private const string ConfigName = "fledge.toml";
    private const string ManifestName = "manifest.toml";

    /// <summary>Makes the command.</summary>
    public static Command Create(Terminal terminal, ProgramDefaults defaults, TimeProvider clock)
    {
        var path = new Argument<string>("PATH") { Description = $"Directory with a {ConfigName}, the build file itself, a Dockerfile, or an image: docker://NAME, oci:DIR, oci-archive:FILE, docker-archive:FILE", DefaultValueFactory = _ => "." };
        FledgeApp.RefuseOptions(path);
        var config = new Option<string?>("--config") { Description = "Build file; instead of PATH", HelpName = "FILE" };
        var manifest = new Option<string?>("--manifest") { Description = $"Manifest; default: {ManifestName} beside the build file, if there is one", HelpName = "FILE" };
        var output = new Option<string?>("--output", "-o") { Description = "Directory, file (.img, .cpio, .cpio.gz) or name without suffix; default: the manifest's name, in the working directory", HelpName = "PATH" };
        var compress = new Option<string?>("--compress") { Description = "Of an initramfs: none (starts soonest) or gzip (smallest, the default)", HelpName = "none|gzip" };
        compress.AcceptOnlyFromAmong("none", "gzip");
        var quiet = new Option<bool>("--quiet", "-q") { Description = "Print nothing but errors" };
        var json = new Option<bool>("--json") { Description = "Print the result as JSON" };
        var direct = new DirectOptions();
        var command = new Command("build", "Build boot media and manifest from a build file or a Dockerfile") { path, config, manifest, output, compress, direct.Context, direct.Target, direct.Arguments, direct.IsInitramfs, quiet, json };
        command.SetAction((parsed, cancellationToken) => FledgeApp.GuardAsync(terminal, async () =>
        {
            var wanted = parsed.GetValue(compress) switch { "none" => Compression.None, "gzip" => Compression.Gzip, _ => (Compression?)null };
            var what = parsed.GetValue(path)!;
            var build = parsed.GetValue(config) is null ? direct.Find(parsed, what) : null;
            var configFile = build is null ? direct.Refuse(parsed, FindConfig(what, parsed.GetValue(config))) : null;
            var request = new BuildRequest(configFile, build, FindManifest(configFile ?? what, parsed.GetValue(manifest)), parsed.GetValue(output), wanted);
            var isQuiet = parsed.GetValue(quiet);
            using var client = new HttpClient { Timeout = Timeout.InfiniteTimeSpan };
            var programs = new BootPrograms(defaults, new VerifiedDownload(client, defaults.CacheDirectory));
            var progress = new Progress(terminal.ErrorIsTerminal && !isQuiet ? terminal.Error : null, clock);
            var images = new ImageSources(client, new BlobCache(Path.Combine(defaults.CacheDirectory, "oci"), progress, clock), defaults.RegistriesFile);
            var built = await request.RunAsync(new InitramfsBuilder(programs, images, progress), new RootfsBuilder(programs, images, progress), cancellationToken);
            if (built.Manifest is null && !isQuiet)
            {
                await terminal.Error.WriteLineAsync($"fledge: no {ManifestName} beside '{configFile ?? what}': the artifact has no manifest.");
            }

            if (parsed.GetValue(json))
            {
                await terminal.Out.WriteLineAsync(JsonSerializer.Serialize(built, FledgeJson.Default.BuiltArtifact));
            }
            else if (!isQuiet)
            {
                await terminal.Out.WriteAsync(Describe(built));
            }
        }));
        return command;
    }

    private static string Describe(BuiltArtifact built)
    {
        var text = string.Create(
            CultureInfo.InvariantCulture,
            $"artifact  {built.Artifact}\nsha256    {built.Sha256}\nsize      {built.SizeBytes} bytes, {built.UnpackedBytes} unpacked, {built.Entries} entries\n");
        return built.Manifest is null ? text : $"{text}manifest  {built.Manifest}\n";
    }

    private static string FindConfig(string path, string? config)
    {
        var file = config ?? (Directory.Exists(path) ? Path.Combine(path, ConfigName) : path);
        return File.Exists(file)
            ? file
            : throw new FledgeException([$"There is no build file '{file}'; give the directory that holds {ConfigName}, or the file."], ExitCodes.Usage);
    }

    private static string? FindManifest(string configFile, string? manifest)
    {
        if (manifest is not null)
        {
            return File.Exists(manifest) ? manifest : throw new FledgeException([$"There is no manifest '{manifest}' (--manifest)."], ExitCodes.Usage);
        }

        var beside = Path.Combine(Path.GetDirectoryName(configFile) ?? string.Empty, ManifestName);
        return File.Exists(beside) ? beside : null;
    }
}
