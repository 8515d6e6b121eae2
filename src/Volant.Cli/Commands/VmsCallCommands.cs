using System.CommandLine;
using System.Globalization;
using System.Text;
using System.Text.Json;
using Volant.Cli.Api;
using Volant.Cli.OpenApi;
using Volant.Cli.Output;

namespace Volant.Cli.Commands;

/// <summary><c>volar vms operations</c> and <c>volar vms call</c>: the workload's own API, by its OpenAPI document.</summary>
internal static class VmsCallCommands
{
    private const int MaxBodyBytes = 16 * 1024 * 1024;
    private const long MaxTimeoutMs = 3_600_000;
    private static readonly TimeSpan DefaultTimeout = TimeSpan.FromSeconds(60);

    /// <summary>Makes <c>operations</c>.</summary>
    public static Command CreateOperations(CommandScope scope)
    {
        var name = Symbols.VmName();
        return scope.Define(
            "operations",
            "List the operations of a VM's workload, from its OpenAPI document.",
            [name],
            ["volar vms operations web", "volar vms operations web --output json"],
            async (parsed, run, cancellationToken) =>
            {
                var vm = parsed.GetRequiredValue(name);
                var operations = OperationCatalog.Read(vm, await run.Client.GetOpenApiAsync(vm, cancellationToken)).Operations;
                if (run.Quiet && !run.IsStructured)
                {
                    run.PrintLines(operations.Select(operation => operation.Id));
                    return ExitCodes.Ok;
                }

                run.Print(JsonPrinter.Make(json => Write(json, operations)), () =>
                {
                    var table = new TextTable("OPERATION", "METHOD", "PATH", "BODY", "SUMMARY");
                    foreach (var operation in operations)
                    {
                        table.Add(operation.Id, operation.Method, operation.Path, operation.TakesBody ? "yes" : "no", operation.Summary);
                    }

                    return table;
                });
                return ExitCodes.Ok;
            });
    }

    /// <summary>Makes <c>call</c>.</summary>
    public static Command CreateCall(CommandScope scope)
    {
        var name = Symbols.VmName();
        var operation = new Argument<string>("OPERATION") { Description = "Id of the operation, or 'METHOD /path'" };
        var query = Symbols.Repeated("--query", "NAME=VALUE", "Parameter of the path or the query");
        var body = Symbols.Text("--body", "JSON", "Body to send");
        var bodyFile = Symbols.Text("--body-file", "FILE", "Body to send, from a file; - is standard input");
        var timeout = Symbols.Duration("--timeout", "Limit of the whole call, such as 500ms or 5m [default: 60s]", MaxTimeoutMs);
        return scope.Define(
            "call",
            "Call an operation of a VM's workload and print what it answers; exit code 1 when it answers with an error.",
            [name, operation, query, body, bodyFile, timeout],
            ["volar vms call web getItem --query id=7", "volar vms call web createItem --body {\"name\":\"x\"}", "volar vms call web createItem --body-file item.json --timeout 5s"],
            async (parsed, run, cancellationToken) =>
            {
                var vm = parsed.GetRequiredValue(name);
                var sent = await ReadBodyAsync(run, parsed.GetValue(body), parsed.GetValue(bodyFile), cancellationToken);
                var parameters = (parsed.GetValue(query) ?? []).Select(Split).ToArray();
                var limit = parsed.GetValue(timeout) ?? DefaultTimeout;
                var catalog = OperationCatalog.Read(vm, await run.Client.GetOpenApiAsync(vm, cancellationToken));
                var found = catalog.Find(vm, parsed.GetRequiredValue(operation));
                var reply = await run.Client.CallAsync(vm, new HttpMethod(found.Method), OperationCatalog.PathOf(found, parameters), sent, limit, cancellationToken);
                return Print(run, found, reply);
            });
    }

    private static int Print(CommandRun run, Operation operation, Reply reply)
    {
        var status = (int)reply.Status;
        if (status >= 400 && reply.MediaType == "application/problem+json")
        {
            throw run.Client.Refusal(reply);
        }

        // People read JSON indented; a program asks for a format.
        if (Problems.IsJson(reply.MediaType) && TryParse(reply.Body) is { } json)
        {
            JsonPrinter.Write(run.Output, json, run.Format);
        }
        else if (run.Host.OutputIsTerminal)
        {
            var filter = new LogFilter(run.Output);
            filter.Write(reply.Body);
            run.Output.WriteLine();
        }
        else
        {
            run.Output.Flush();
            run.Host.Output.Write(reply.Body);
        }

        if (status < 400)
        {
            return ExitCodes.Ok;
        }

        run.Output.Flush();
        run.Talk.Warn(string.Create(CultureInfo.InvariantCulture, $"Error: {operation.Method} {operation.Path} answered {status}."));
        return ExitCodes.Failed;
    }

    /// <summary>Null when it is not what its type says.</summary>
    private static JsonElement? TryParse(byte[] body)
    {
        try
        {
            return JsonElement.Parse(body);
        }
        catch (JsonException)
        {
            return null;
        }
    }

    private static async Task<byte[]?> ReadBodyAsync(CommandRun run, string? text, string? file, CancellationToken cancellationToken)
    {
        if (text is not null && file is not null)
        {
            throw CliException.Usage("Give the body once: --body or --body-file.");
        }

        if (file is not null)
        {
            return await run.ReadAsync(file, MaxBodyBytes, cancellationToken);
        }

        if (text is null)
        {
            return null;
        }

        try
        {
            JsonElement.Parse(text);
        }
        catch (JsonException e)
        {
            throw CliException.Usage($"--body is no JSON (byte {e.BytePositionInLine + 1}); quote it for the shell: --body '{{\"name\":\"x\"}}'.");
        }

        return Encoding.UTF8.GetBytes(text);
    }

    private static (string Name, string Value) Split(string text) =>
        text.IndexOf('=', StringComparison.Ordinal) is > 0 and var at ? (text[..at], text[(at + 1)..]) : throw CliException.Usage($"'{text}' is no parameter; write --query NAME=VALUE.");

    private static void Write(Utf8JsonWriter json, IReadOnlyList<Operation> operations)
    {
        json.WriteStartArray();
        foreach (var operation in operations)
        {
            json.WriteStartObject();
            json.WriteString("operation", operation.Id);
            json.WriteString("method", operation.Method);
            json.WriteString("path", operation.Path);
            json.WriteBoolean("takes_body", operation.TakesBody);
            json.WriteString("summary", operation.Summary);
            json.WriteEndObject();
        }

        json.WriteEndArray();
    }
}
