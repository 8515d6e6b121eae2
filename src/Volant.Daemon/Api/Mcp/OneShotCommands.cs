using System.Text.Json;
using System.Text.Json.Serialization.Metadata;
using Volant.Contracts;
using Volant.Contracts.Api;
using Volant.Daemon.Orchestration;
using Volant.Daemon.Store;

namespace Volant.Daemon.Api.Mcp;

/// <summary>The older one-shot form of <c>POST /api/v1/mcp</c>: a command, and its result (contract §2).</summary>
internal sealed class OneShotCommands(VolantStore store, VmOrchestrator orchestrator, RateLimits limits)
{
    private static readonly Capabilities All = new()
    {
        Commands =
        [
            new Capability
            {
                Name = McpCommands.CreateVm,
                Description = "Create and start a VM",
                Params = new Dictionary<string, string>(StringComparer.Ordinal)
                {
                    ["name"] = "string (required)",
                    ["plugin"] = "string (required; or its name as runtime)",
                    ["runtime"] = "string (default: the plugin's)",
                    ["cpu_cores"] = "int (default: the plugin's)",
                    ["memory_mb"] = "int (default: the plugin's)",
                    ["kernel_cmdline"] = "string",
                    ["api_host"] = "string",
                    ["api_port"] = "int",
                    ["config"] = "object",
                },
            },
            new Capability { Name = McpCommands.ListVms, Description = "List all VMs", Params = new Dictionary<string, string>(StringComparer.Ordinal) },
            new Capability { Name = McpCommands.GetCapabilities, Description = "List the commands", Params = new Dictionary<string, string>(StringComparer.Ordinal) },
        ],
    };

    /// <summary>Runs the command in a body.</summary>
    /// <param name="context">The request, whose client is charged for an expensive command.</param>
    /// <param name="body">The body.</param>
    /// <exception cref="VolantException">It is no command, or it failed.</exception>
    public async Task<McpAnswer> RunAsync(HttpContext context, JsonElement body)
    {
        var command = Read(body, "$", ContractsJson.Strict.McpCommand);
        switch (command.Command)
        {
            case McpCommands.ListVms:
                RejectParams(command);
                return Answer(store.ListVms(new VmFilter { Limit = int.MaxValue }).Vms, ContractsJson.Readable.IReadOnlyListVm);
            case McpCommands.CreateVm:
                var request = Read(command.Params ?? default, "params", ContractsJson.Strict.CreateVmRequest);
                limits.Take(context);

                // Older clients name the plugin as the runtime.
                return Answer(await orchestrator.CreateAsync(request with { Plugin = request.Plugin ?? request.Runtime }, context.RequestAborted), ContractsJson.Readable.Vm);
            case McpCommands.GetCapabilities:
                RejectParams(command);
                return Answer(All, McpJson.Readable.Capabilities);
            default:
                throw Invalid(new FieldError("command", $"must be one of {string.Join(", ", All.Commands.Select(known => known.Name))}"));
        }
    }

    private static McpAnswer Answer<T>(T result, JsonTypeInfo<T> type) => new() { Result = JsonSerializer.SerializeToElement(result, type) };

    private static T Read<T>(JsonElement json, string path, JsonTypeInfo<T> type)
    {
        if (json.ValueKind != JsonValueKind.Object)
        {
            throw Invalid(new FieldError(path, "must be an object"));
        }

        try
        {
            return json.Deserialize(type)!;
        }
        catch (JsonException e)
        {
            var fault = StrictJson.Explain(e);
            throw Invalid(path == "$" ? fault : fault with { Path = fault.Path == "$" ? path : $"{path}.{fault.Path}" }, e);
        }
    }

    private static void RejectParams(McpCommand command)
    {
        if (command.Params is { ValueKind: not JsonValueKind.Null } given && (given.ValueKind != JsonValueKind.Object || given.EnumerateObject().Any()))
        {
            throw Invalid(new FieldError("params", $"must be absent or empty: {command.Command} takes none"));
        }
    }

    private static VolantException Invalid(FieldError fault, Exception? inner = null) =>
        new(ErrorCodes.InvalidRequest, $"The request body is not valid: {fault.Path} {fault.Message}.", inner) { Fields = [fault] };
}
