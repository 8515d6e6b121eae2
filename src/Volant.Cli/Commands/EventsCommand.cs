using System.CommandLine;
using System.Globalization;
using System.Net.ServerSentEvents;
using System.Text.Json;
using Volant.Cli.Output;
using Volant.Contracts;
using Volant.Contracts.Api;

namespace Volant.Cli.Commands;

/// <summary><c>volar events</c>: what happens to the VMs, resumed where a connection broke off.</summary>
internal static class EventsCommand
{
    private const string Gap = "gap";

    /// <summary>Makes the command.</summary>
    public static Command Create(CommandScope scope)
    {
        var follow = new Option<bool>("--follow", "-f") { Description = "Go on printing until Ctrl-C" };
        var vm = Symbols.Text("--vm", "NAME", "Only events of this VM");
        var type = Symbols.Repeated("--type", "TYPE", "Only events of this type, such as VM_CRASHED");
        var after = Symbols.Number("--after", "N", "Go on after this event; 0 for all that volantd holds", 0L, long.MaxValue);
        var logs = new Option<bool>("--logs") { Description = "Log lines of the workloads, too (VM_LOG); only with --follow" };
        return scope.Define(
            "events",
            "Print events of VMs: those that volantd holds, and then end; or with --follow new ones as they happen.",
            [follow, vm, type, after, logs],
            ["volar events --follow", "volar events --vm web --output json", "volar events --follow --type VM_CRASHED --after 0"],
            async (parsed, run, cancellationToken) =>
            {
                var follows = parsed.GetValue(follow);
                var types = parsed.GetValue(type) ?? [];
                if (parsed.GetValue(logs) && !follows)
                {
                    throw CliException.Usage("--logs needs --follow: volantd keeps no log lines among the events; 'volar vms logs NAME' shows those of one VM.");
                }

                await foreach (var item in run.Client.ReadEventsAsync(parsed.GetValue(after), parsed.GetValue(logs), follows, run.Talk.Warn, cancellationToken))
                {
                    Print(run, item, parsed.GetValue(vm), types);
                }

                return ExitCodes.Ok;
            });
    }

    private static void Print(CommandRun run, SseItem<string> item, string? vm, string[] types)
    {
        if (item.EventType == Gap)
        {
            run.Talk.Warn($"Note: {run.Client.Read(item, ContractsJson.Default.EventGap).Value.Message}");
            return;
        }

        var read = run.Client.Read(item, ContractsJson.Default.VmEvent);
        if ((vm is not null && read.Value.Name != vm) || (types.Length > 0 && !types.Contains(read.Value.Type, StringComparer.OrdinalIgnoreCase)))
        {
            return;
        }

        if (run.IsStructured)
        {
            run.PrintItem(item.EventId is { } id ? WithId(read.Json, id) : read.Json);
            return;
        }

        var happened = read.Value;
        run.PrintLine($"{happened.Timestamp.UtcDateTime.ToString("yyyy-MM-dd'T'HH:mm:ss.fff'Z'", CultureInfo.InvariantCulture)}  {happened.Type,-12}  {happened.Name}  {Detail(happened)}".TrimEnd());
        run.Output.Flush();
    }

    private static string Detail(VmEvent happened) => happened.Line is { } line ? $"{happened.Stream}: {line}" : happened.Message ?? happened.Status.ToText();

    /// <summary>With its number, which <c>--after</c> takes.</summary>
    private static JsonElement WithId(JsonElement json, string id) => JsonPrinter.Make(writer =>
    {
        writer.WriteStartObject();
        writer.WriteString("id", id);
        foreach (var member in json.EnumerateObject())
        {
            member.WriteTo(writer);
        }

        writer.WriteEndObject();
    });
}
