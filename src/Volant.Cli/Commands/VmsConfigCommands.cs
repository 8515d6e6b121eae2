using System.CommandLine;
using System.Globalization;
using System.Text;
using System.Text.Json;
using Volant.Cli.Media;
using Volant.Cli.Output;

namespace Volant.Cli.Commands;

/// <summary><c>volar vms config get</c>, <c>set</c> and <c>history</c>.</summary>
internal static class VmsConfigCommands
{
    /// <summary>Makes them.</summary>
    public static IEnumerable<Command> Create(CommandScope scope) => [CreateGet(scope), CreateSet(scope), CreateHistory(scope)];

    private static Command CreateGet(CommandScope scope)
    {
        var name = Symbols.VmName();
        var raw = new Option<bool>("--raw") { Description = "Print the configuration alone, as 'config set' takes it" };
        var output = Symbols.Text("--output", "table|json|yaml|FILE", "How to print it, or the file to write it to", "-o");
        return scope.Define(
            "get",
            "Show the configuration of a VM.",
            [name, raw, output],
            ["volar vms config get web", "volar vms config get web --raw --output web.json"],
            async (parsed, run, cancellationToken) =>
            {
                var config = await run.Client.GetConfigAsync(parsed.GetRequiredValue(name), cancellationToken);
                var shown = parsed.GetValue(raw) ? config.Json.GetProperty("config") : config.Json;
                if (parsed.GetValue(output) is { } file and not ("table" or "json" or "yaml"))
                {
                    WriteFile(Path.GetFullPath(file, run.Host.WorkingDirectory), shown);
                    run.Talk.Say(string.Create(CultureInfo.InvariantCulture, $"Wrote version {config.Value.Version} to '{file}'."));
                    return ExitCodes.Ok;
                }

                // A tree is no table: YAML is what people read most easily, JSON what 'config set' takes.
                var asJson = run.Format == OutputFormat.Json || (run.Format == OutputFormat.Table && parsed.GetValue(raw));
                JsonPrinter.Write(run.Output, shown, asJson ? OutputFormat.Json : OutputFormat.Yaml);
                return ExitCodes.Ok;
            });
    }

    private static Command CreateSet(CommandScope scope)
    {
        var name = Symbols.VmName();
        var file = Symbols.Text("--file", "FILE", "JSON with the members to change; - is standard input", "-f");
        file.Required = true;
        var version = Symbols.Number("--if-version", "N", "Only when this is the current version", 1, int.MaxValue);
        return scope.Define(
            "set",
            "Change the configuration of a VM. Members that are absent stay, null clears one; local boot media are uploaded. It takes effect at the next start.",
            [name, file, version],
            ["volar vms config set web --file web.json", "volar vms config set web --file - --if-version 3"],
            async (parsed, run, cancellationToken) =>
            {
                var vm = parsed.GetRequiredValue(name);
                var from = parsed.GetRequiredValue(file)!;
                var origin = from == "-" ? DocumentOrigin.InDirectory(run.Host.WorkingDirectory) : DocumentOrigin.OfFile(Path.GetFullPath(from, run.Host.WorkingDirectory));
                await using var uploads = new MediaUploads(run.Client, run.Talk, origin);
                var patch = await ConfigPatch.UploadAsync(from, await ReadAsync(run, from, cancellationToken), origin, uploads, cancellationToken);
                var changed = await run.Client.PatchConfigAsync(vm, Encoding.UTF8.GetBytes(patch.GetRawText()), parsed.GetValue(version), cancellationToken);
                run.Talk.Say(string.Create(CultureInfo.InvariantCulture, $"VM '{vm}' has version {changed.Value.Version} of its configuration; it takes effect at the next start: 'volar vms restart {vm}'."));
                if (run.IsStructured)
                {
                    run.Print(changed.Json);
                }

                return ExitCodes.Ok;
            });
    }

    private static Command CreateHistory(CommandScope scope)
    {
        var name = Symbols.VmName();
        var limit = Symbols.Number("--limit", "N", "Most versions [default: 100]", 1, 1000);
        return scope.Define(
            "history",
            "List the versions of a VM's configuration, newest first; with --output json whole.",
            [name, limit],
            ["volar vms config history web --limit 5"],
            async (parsed, run, cancellationToken) =>
            {
                var history = await run.Client.ListConfigsAsync(parsed.GetRequiredValue(name), parsed.GetValue(limit), cancellationToken);
                run.Print(history.Json, () =>
                {
                    var table = new TextTable("VERSION", "UPDATED", "MEMBERS");
                    foreach (var (version, json) in history.Value.Zip(history.Json.EnumerateArray()))
                    {
                        table.Add(
                            version.Version.ToString(CultureInfo.InvariantCulture),
                            version.UpdatedAt.UtcDateTime.ToString("yyyy-MM-dd'T'HH:mm:ss'Z'", CultureInfo.InvariantCulture),
                            string.Join(',', json.GetProperty("config").EnumerateObject().Select(member => member.Name)));
                    }

                    return table;
                });
                return ExitCodes.Ok;
            });
    }

    private static async Task<JsonElement> ReadAsync(CommandRun run, string file, CancellationToken cancellationToken)
    {
        var json = await run.ReadAsync(file, JsonDocuments.MaxConfigBytes, cancellationToken);
        try
        {
            return JsonElement.Parse(JsonDocuments.WithoutMark(json)) is { ValueKind: JsonValueKind.Object } patch ? patch : throw CliException.Failed($"'{file}' holds no JSON object.");
        }
        catch (JsonException e)
        {
            throw CliException.Failed($"'{file}' is no JSON: line {e.LineNumber + 1}, byte {e.BytePositionInLine + 1}.", e);
        }
    }

    private static void WriteFile(string path, JsonElement json)
    {
        try
        {
            using var writer = new StreamWriter(path, append: false, new UTF8Encoding(encoderShouldEmitUTF8Identifier: false)) { NewLine = "\n" };
            JsonPrinter.Write(writer, json);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw CliException.Failed($"'{path}' cannot be written: {e.Message}", e);
        }
    }
}
