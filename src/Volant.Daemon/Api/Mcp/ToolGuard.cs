using System.Text.Json;
using ModelContextProtocol;
using ModelContextProtocol.Protocol;
using ModelContextProtocol.Server;
using Volant.Contracts.Api;

namespace Volant.Daemon.Api.Mcp;

/// <summary>Around every tool call: checks its arguments, bounds expensive ones, and turns a failure into a result that the caller can act on.</summary>
/// <remarks>Source of the results: Model Context Protocol 2025-11-25, server/tools, "Error Handling": a failed call is a result with <c>isError</c>, not a protocol error.</remarks>
internal sealed partial class ToolGuard(RateLimits limits, IHttpContextAccessor http, ILogger<ToolGuard> logger)
{
    /// <summary>The filter.</summary>
    public async ValueTask<CallToolResult> InvokeAsync(
        RequestContext<CallToolRequestParams> request, McpRequestHandler<CallToolRequestParams, CallToolResult> next, CancellationToken cancellationToken)
    {
        if (request.MatchedPrimitive is not McpServerTool { ProtocolTool: var tool })
        {
            return await next(request, cancellationToken);
        }

        try
        {
            request.Params!.Arguments = ToolArguments.Check(tool, request.Params.Arguments);
            if (tool.Annotations?.ReadOnlyHint != true && http.HttpContext is { } context)
            {
                limits.Take(context);
            }

            return await next(request, cancellationToken);
        }
        catch (Exception e) when (e is not McpException && !(e is OperationCanceledException && cancellationToken.IsCancellationRequested))
        {
            var (code, message, fields) = Problems.Explain(e);
            if (code == ErrorCodes.Internal)
            {
                LogFault(e, tool.Name);
            }

            var error = new ToolError { Code = code, Message = message, Errors = Problems.ByField(fields), NextStep = NextStep(code) };
            return new CallToolResult { IsError = true, Content = [new TextContentBlock { Text = JsonSerializer.Serialize(error, McpJson.Readable.ToolError) }] };
        }
    }

    private static string? NextStep(string code) => code switch
    {
        ErrorCodes.VmNotFound => "list_vms shows the VMs that exist.",
        ErrorCodes.VmExists => "Choose another name, or look at the one that is there with get_vm.",
        ErrorCodes.VmNotRunning => "start_vm starts it.",
        ErrorCodes.VmStatusConflict or ErrorCodes.VmBusy => "get_vm shows its status; repeat the call when that has settled.",
        ErrorCodes.Timeout or ErrorCodes.AgentUnreachable => "get_vm shows whether the VM is ready, get_vm_logs what it wrote. A VM that was being created or started goes on.",
        ErrorCodes.DeploymentNotFound => "list_deployments shows the deployments that exist.",
        ErrorCodes.DeploymentExists => "Choose another name, or change the one that is there with scale_deployment.",
        ErrorCodes.DeploymentIncomplete => "get_deployment answers deployment_not_found once it is gone.",
        ErrorCodes.PluginNotFound or ErrorCodes.PluginDisabled => "list_plugins shows the plugins and which are enabled.",
        ErrorCodes.ActionNotFound => "get_plugin shows the actions of a plugin.",
        ErrorCodes.RuntimeMismatch => "list_vms with 'plugin' shows the VMs of a plugin.",
        ErrorCodes.NoReadyVm => "list_vms with 'plugin' shows whether one is on its way; create_vm makes one.",
        ErrorCodes.IpPoolExhausted or ErrorCodes.InsufficientCapacity => "Ask for less, or make room with delete_vm.",
        ErrorCodes.ExecFailed => "run_command takes a program of the guest, found by its PATH or named by its whole path; a shell is a program, too, where the image has one: [\"/bin/sh\", \"-c\", \"...\"].",
        ErrorCodes.TooManyRequests => "Wait a second and repeat the call.",
        _ => null,
    };

    [LoggerMessage(EventId = 5301, Level = LogLevel.Error, Message = "Tool {Tool} failed")]
    private partial void LogFault(Exception exception, string tool);
}
