using System.Text.Json;
using Microsoft.AspNetCore.Http.Timeouts;
using ModelContextProtocol.Protocol;
using Volant.Contracts;
using Volant.Contracts.Api;

namespace Volant.Daemon.Api.Mcp;

/// <summary><c>POST /api/v1/mcp</c>: the Model Context Protocol and the older one-shot form, told apart by the body.</summary>
/// <remarks>Source: Model Context Protocol 2025-11-25, basic/transports, "Streamable HTTP"; without sessions, so GET and DELETE are not there.</remarks>
internal static class McpEndpoints
{
    /// <summary>Where it is.</summary>
    public const string Path = "/api/v1/mcp";

    private const string Description =
        "A body with `jsonrpc` is one message of the Model Context Protocol (Streamable HTTP, without sessions): `Accept` must name `application/json` and `text/event-stream`. A request is answered with an event stream that ends after one message, a notification with 202; what the protocol refuses (400, 404, 406) with a JSON-RPC error as `application/json`. `tools/list` describes the tools.\n\n"
        + "Any other body is a command of the older one-shot form, `{command, params}`: `volant.vms.list`, `volant.vms.create` (params as the body of `createVM`) or `volant.system.get_capabilities`. It is answered with `{result}`, or with a problem.";

    private const string Instructions =
        """
        Volant runs workloads in microVMs on this host. A plugin says what a VM runs; list_plugins shows them. create_vm makes a VM and waits until its workload answers; run_action then calls the
        workload, get_vm_logs shows what it wrote, run_command runs a program in the VM. For several equal VMs that are kept running use deployments. Delete what you no longer need: VMs stay until delete_vm.
        A failed call says in JSON: code, message, and often next_step.
        """;

    private static readonly JsonDocumentOptions Strict = new() { AllowDuplicateProperties = false, MaxDepth = StrictJson.MaxDepth };

    /// <summary>Adds the server and its tools. A new tool is a method of one of these classes.</summary>
    public static void AddMcp(this IServiceCollection services)
    {
        services.AddHttpContextAccessor();
        services.AddSingleton<CommandCaller>();
        services.AddSingleton<GuestCaller>();
        services.AddSingleton<McpProtocol>();
        services.AddSingleton<OneShotCommands>();
        services.AddSingleton<ToolGuard>();
        services
            .AddMcpServer(server =>
            {
                server.ServerInfo = new Implementation { Name = "volant", Title = "Volant", Version = DaemonHost.Version };
                server.ServerInstructions = Instructions;
            })
            .WithHttpTransport()
            .WithTools<VmTools>(McpJson.Tools)
            .WithTools<DeploymentTools>(McpJson.Tools)
            .WithTools<PluginTools>(McpJson.Tools)
            .WithTools<SystemTools>(McpJson.Tools)
            .WithRequestFilters(filters => filters.AddCallToolFilter(
                next => (request, cancellationToken) => request.Services!.GetRequiredService<ToolGuard>().InvokeAsync(request, next, cancellationToken)));
    }

    /// <summary>Maps it.</summary>
    public static void MapMcpAndCommands(this IEndpointRouteBuilder routes) =>
        routes.MapPost(Path, AnswerAsync).WithTags("mcp").WithName("callMCP").WithMetadata(new DisableRequestTimeoutAttribute()).WithSummary("Call tools over the Model Context Protocol, or run one command")
            .WithDescription(Description).Accepts<McpCommand>("application/json").Produces<McpAnswer>().Produces(StatusCodes.Status202Accepted)
            .ProducesProblem(400).ProducesProblem(404).ProducesProblem(409).ProducesProblem(413).ProducesProblem(415).ProducesProblem(422).ProducesProblem(503);

    private static async Task AnswerAsync(HttpContext context, McpProtocol protocol, OneShotCommands commands)
    {
        if (!context.Request.HasJsonContentType())
        {
            throw new VolantException(ErrorCodes.UnsupportedMediaType, "The request body must be JSON: send Content-Type: application/json.");
        }

        using var body = new MemoryStream();
        await context.Request.Body.CopyToAsync(body, context.RequestAborted);
        using var json = Parse(body);
        if (json.RootElement is { ValueKind: JsonValueKind.Object } root && root.TryGetProperty("jsonrpc", out _))
        {
            // JSON is UTF-8 (RFC 8259, section 8.1), and this one was read as such.
            body.Position = 0;
            context.Request.Body = body;
            context.Request.ContentType = "application/json";
            await protocol.InvokeAsync(context);
            return;
        }

        var answer = await commands.RunAsync(context, json.RootElement);
        await context.Response.WriteAsJsonAsync(answer, ContractsJson.Readable.McpAnswer, cancellationToken: context.RequestAborted);
    }

    private static JsonDocument Parse(MemoryStream body)
    {
        try
        {
            return JsonDocument.Parse(body.GetBuffer().AsMemory(0, (int)body.Length), Strict);
        }
        catch (JsonException e)
        {
            var fault = StrictJson.Explain(e);
            throw new VolantException(ErrorCodes.InvalidRequest, $"The request body is not valid: {fault.Path} {fault.Message}.", e) { Fields = [fault] };
        }
    }
}
