using System.CommandLine;
using System.Globalization;
using System.Text.Json;
using Volant.Fledge.Initramfs;
using Volant.Fledge.Output;
using Volant.Fledge.Sources;

namespace Volant.Fledge.Commands;

/// <summary><c>fledge build [PATH]</c>.</summary>
internal static class BuildCommand
{
    private const string ConfigName = "fledge.toml";
    private const string ManifestName = "manifest.toml";

    /// <summary>Options of Dockerfile builds, which a later version brings: known, so that they can be refused by name.</summary>
    private static readonly string[] LaterOptions = ["--context", "--target", "--build-arg", "--output-initramfs"];

    /// <summary>Makes the command.</summary>
    public static Command Create(Terminal terminal, ProgramDefaults defaults, TimeProvider clock)
    {
        var path = new Argument<string>("PATH") { Description = $"Directory with a {ConfigName}, or the build file itself", DefaultValueFactory = _ => "." };
        FledgeApp.RefuseOptions(path);
        var config = new Option<string?>("--config") { Description = "Build file; instead of PATH", HelpName = "FILE" };
        var manifest = new Option<string?>("--manifest") { Description = $"Manifest; default: {ManifestName} beside the build file, if there is one", HelpName = "FILE" };
        var output = new Option<string?>("--output", "-o") { Description = "Directory, file (.cpio, .cpio.gz) or name without suffix; default: the manifest's name, in the working directory", HelpName = "PATH" };
        var compress = new Option<string?>("--compress") { Description = "none (starts soonest) or gzip (smallest, the default)", HelpName = "none|gzip" };
        compress.AcceptOnlyFromAmong("none", "gzip");
        var quiet = new Option<bool>("--quiet", "-q") { Description = "Print nothing but errors" };
        var json = new Option<bool>("--json") { Description = "Print the result as JSON" };
        var later = LaterOptions.Select(name => new Option<string[]>(name) { Hidden = true, Arity = ArgumentArity.ZeroOrMore }).ToArray();
        var command = new Command("build", "Build boot media and manifest from a build file") { path, config, manifest, output, compress, quiet, json };
        foreach (var option in later)
        {
            command.Add(option);
        }

        command.SetAction((parsed, cancellationToken) => FledgeApp.GuardAsync(terminal, async () =>
        {
            RefuseLater(parsed, later);
            var configFile = FindConfig(parsed.GetValue(path)!, parsed.GetValue(config));
            var request = new BuildRequest(
                configFile,
                FindManifest(configFile, parsed.GetValue(manifest)),
                parsed.GetValue(output),
                parsed.GetValue(compress) switch { "none" => Compression.None, "gzip" => Compression.Gzip, _ => null });
            var isQuiet = parsed.GetValue(quiet);
            if (request.ManifestFile is null && !isQuiet)
            {
                await terminal.Error.WriteLineAsync($"fledge: no {ManifestName} beside '{configFile}': building the artifact only.");
            }

            using var client = new HttpClient { Timeout = Timeout.InfiniteTimeSpan };
            var programs = new BootPrograms(defaults, new VerifiedDownload(client, defaults.CacheDirectory));
            var progress = new Progress(terminal.ErrorIsTerminal && !isQuiet ? terminal.Error : null, clock);
            var built = await new InitramfsBuilder(programs, progress).BuildAsync(request, cancellationToken);
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

    private static void RefuseLater(ParseResult parsed, Option<string[]>[] later)
    {
        var used = later.Where(option => parsed.GetResult(option) is not null).Select(option => option.Name).ToArray();
        if (used.Length > 0)
        {
            throw new FledgeException([.. used.Select(name => $"{name} belongs to Dockerfile builds, which are not supported by this version of fledge.")], ExitCodes.Usage);
        }
    }

    private static string FindConfig(string path, string? config)
    {
        var file = config ?? (Directory.Exists(path) ? Path.Combine(path, ConfigName) : path);
        if (config is null && File.Exists(path) && Path.GetExtension(path) != ".toml")
        {
            throw new FledgeException([$"'{path}' is not a .toml file; Dockerfile builds are not supported by this version of fledge. Give a build file, or --config."], ExitCodes.Usage);
        }

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
