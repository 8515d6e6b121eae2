using System.CommandLine;
using System.Text.Json;
using Volant.Cli.Media;
using Volant.Cli.Output;
using Volant.Contracts.Manifests;

namespace Volant.Cli.Commands;

/// <summary><c>volar plugins install</c>: reads a manifest, uploads the local files it names, and registers it.</summary>
internal static class PluginsInstallCommand
{
    /// <summary>Makes the command.</summary>
    public static Command Create(CommandScope scope)
    {
        var source = new Argument<string?>("FILE|URL") { Description = "Manifest: a JSON file, or an http(s) URL", Arity = ArgumentArity.ZeroOrOne };
        var file = Symbols.Text("--manifest", "FILE", "Manifest file; the same as the argument");
        var url = Symbols.Text("--url", "URL", "Manifest URL; the same as the argument");
        var command = scope.Define(
            "install",
            "Install a plugin, or replace it. Local boot media that the manifest names are uploaded.",
            [source, file, url],
            ["volar plugins install hello/manifest.json", "volar plugins install https://plugins.example.org/hello.json"],
            (parsed, run, cancellationToken) =>
            {
                var text = parsed.GetValue(source);
                var isUrl = text is not null && IsUrl(text);
                return RunAsync(run, parsed.GetValue(file) ?? (isUrl ? null : text), parsed.GetValue(url) ?? (isUrl ? text : null), cancellationToken);
            });
        command.Validators.Add(result =>
        {
            var given = (result.GetResult(source) is { Tokens.Count: > 0 } ? 1 : 0) + (result.GetResult(file) is null ? 0 : 1) + (result.GetResult(url) is null ? 0 : 1);
            if (given != 1)
            {
                result.AddError(given == 0 ? "Name the manifest: a file or a URL." : "Name one manifest: the argument, --manifest or --url.");
            }
        });
        return command;
    }

    private static bool IsUrl(string text) =>
        text.StartsWith("https://", StringComparison.OrdinalIgnoreCase) || text.StartsWith("http://", StringComparison.OrdinalIgnoreCase);

    private static async Task<int> RunAsync(CommandRun run, string? file, string? url, CancellationToken cancellationToken)
    {
        var (manifest, origin) = url is null
            ? ReadFile(Path.GetFullPath(file ?? string.Empty, run.Host.WorkingDirectory))
            : await FetchAsync(run, url, cancellationToken);
        await using var uploads = new MediaUploads(run.Client, run.Talk, origin);
        manifest = await uploads.UploadAsync(manifest, cancellationToken);
        var (replaced, json) = await run.Client.InstallPluginAsync(JsonDocuments.Serialise(manifest), cancellationToken);
        run.Talk.Say($"{(replaced ? "Replaced" : "Installed")} plugin '{ManifestRules.Normalise(manifest).Name}'.");
        if (run.Quiet && !run.IsStructured)
        {
            run.PrintLine(ManifestRules.Normalise(manifest).Name ?? string.Empty);
        }
        else if (!run.IsStructured)
        {
            run.Print(PluginView.Table([JsonElement.Parse(JsonDocuments.Serialise(ManifestRules.Normalise(manifest)))]));
        }
        else if (json is { } answer)
        {
            run.Print(answer);
        }

        return ExitCodes.Ok;
    }

    private static (PluginManifest Manifest, DocumentOrigin Origin) ReadFile(string path)
    {
        if (Directory.Exists(path))
        {
            throw CliException.Usage($"'{path}' is a directory; name the manifest in it.");
        }

        var origin = DocumentOrigin.OfFile(path);
        return (JsonDocuments.ReadManifest(path, TextFile.ReadBytes(path, ManifestReader.MaxBytes), origin), origin);
    }

    private static async Task<(PluginManifest Manifest, DocumentOrigin Origin)> FetchAsync(CommandRun run, string text, CancellationToken cancellationToken)
    {
        if (!Uri.TryCreate(text, UriKind.Absolute, out var url) || (url.Scheme != Uri.UriSchemeHttps && url.Scheme != Uri.UriSchemeHttp))
        {
            throw CliException.Usage($"'{text}' is no http or https URL.");
        }

        if (url.Scheme == Uri.UriSchemeHttp && !url.IsLoopback)
        {
            run.Talk.Say($"Warning: {url} is fetched unencrypted; anyone on the way can change what you install.");
        }

        run.Host.CatchInterrupts();
        var (json, final) = await ManifestDownload.FetchAsync(url, run.Host.Clock, cancellationToken);
        var origin = DocumentOrigin.FetchedFrom(final);
        return (JsonDocuments.ReadManifest(final.ToString(), json, origin), origin);
    }
}
