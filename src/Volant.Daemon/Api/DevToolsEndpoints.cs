using System.Text.Json;
using Microsoft.AspNetCore.Http.Timeouts;
using Volant.Contracts;
using Volant.Contracts.Api;
using Volant.Daemon.Guests;
using Volant.Daemon.Orchestration;

namespace Volant.Daemon.Api;

/// <summary><c>/ws/v1/vms/{name}/devtools/…</c>: WebSocket to the browser inside a browser runtime.</summary>
/// <remarks>
/// The runtime says at <c>/v1/devtools</c> where its browser listens; without a path of its own a client gets that WebSocket. The bytes
/// pass through the agent to the workload, which must serve DevTools at its own address. Nothing is gathered, so messages have no limit.
/// </remarks>
internal static class DevToolsEndpoints
{
    private const int MaxInfoBytes = 64 * 1024;
    private const int MaxPath = 2048;

    private static readonly TimeSpan AnswerLimit = TimeSpan.FromSeconds(10);

    public static void MapDevTools(this IEndpointRouteBuilder routes) =>
        routes.MapGet("/ws/v1/vms/{name}/devtools/{**path}", AttachAsync).WithTags("vms").WithMetadata(new DisableRequestTimeoutAttribute()).WithName("connectVMDevTools").WithSummary("DevTools of a browser runtime (WebSocket)")
            .Produces(StatusCodes.Status101SwitchingProtocols).ProducesProblem(400).ProducesProblem(404).ProducesProblem(409).ProducesProblem(502).ProducesProblem(504);

    private static async Task AttachAsync(HttpContext context, string name, string? path, VmOwners owners, GuestForwarder forwarder, TimeProvider clock)
    {
        Sockets.Require(context);
        var guest = owners.GetGuest(name);
        var info = await AskAsync(name, guest, clock, context.RequestAborted);
        var target = string.IsNullOrEmpty(path) ? new PathString(info.WebsocketPath) : AgentProxy.PathAfter(context.Request.Path, "/ws/v1/vms/NAME/devtools".Count('/'));

        // Browsers refuse DevTools to pages of other origins; who may come here was decided before.
        await forwarder.ForwardAsync(context, name, new GuestTarget(target, KeepsOrigin: false));
    }

    private static async Task<DevToolsInfo> AskAsync(string name, GuestClient guest, TimeProvider clock, CancellationToken cancellationToken)
    {
        using var limit = new CancellationTokenSource(AnswerLimit, clock);
        using var either = CancellationTokenSource.CreateLinkedTokenSource(limit.Token, cancellationToken);
        try
        {
            using var request = new HttpRequestMessage(HttpMethod.Get, new Uri(GuestClient.BaseAddress, "v1/devtools"));
            using var response = await guest.Invoker.SendAsync(request, either.Token);
            if (!response.IsSuccessStatusCode)
            {
                throw None(name, $"it answered {(int)response.StatusCode} to GET /v1/devtools");
            }

            await using var body = await response.Content.ReadAsStreamAsync(either.Token);
            var buffer = new byte[MaxInfoBytes + 1];
            var length = await body.ReadAtLeastAsync(buffer, buffer.Length, throwOnEndOfStream: false, either.Token);
            var info = length > MaxInfoBytes ? null : JsonSerializer.Deserialize(buffer.AsSpan(0, length), ContractsJson.Default.DevToolsInfo);
            return info?.WebsocketPath is { Length: > 0 and <= MaxPath } path && path[0] == '/' && !path.Any(char.IsControl)
                ? info
                : throw None(name, "its answer to GET /v1/devtools names no websocket_path");
        }
        catch (JsonException e)
        {
            throw None(name, "its answer to GET /v1/devtools is not the JSON that it should be", e);
        }
        catch (OperationCanceledException e) when (limit.IsCancellationRequested && !cancellationToken.IsCancellationRequested)
        {
            throw new VolantException(ErrorCodes.Timeout, $"The runtime of VM '{name}' did not answer GET /v1/devtools within {AnswerLimit.TotalSeconds:0} s.", e);
        }
        catch (Exception e) when (e is HttpRequestException or IOException || (e is OperationCanceledException && !cancellationToken.IsCancellationRequested))
        {
            throw None(name, $"its agent cannot be reached: {e.Message.TrimEnd('.')}", e);
        }
    }

    private static VolantException None(string name, string why, Exception? cause = null) =>
        new(ErrorCodes.AgentUnreachable, $"VM '{name}' has no DevTools: {why}. Only browser runtimes have them.", cause);
}
