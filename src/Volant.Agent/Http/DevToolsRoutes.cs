using System.Text.Json;
using System.Text.Json.Serialization;
using Microsoft.AspNetCore.Http;
using Volant.Contracts;
using Volant.Contracts.Api;

namespace Volant.Agent.Http;

/// <summary><c>GET /v1/devtools</c>: where a browser that is the workload, or serves at its address, takes DevTools clients (contract §9).</summary>
/// <remarks>
/// A browser tells so at <c>/json/version</c> (Chrome DevTools Protocol, HTTP endpoints). A workload without that is asked itself: it may serve
/// <c>/v1/devtools</c>. The WebSocket goes through the agent like any other request for the workload.
/// </remarks>
internal sealed class DevToolsRoutes(WorkloadTarget target, PassThrough workload, TimeProvider clock)
{
    private const string VersionPath = "/json/version";
    private const int MaxBytes = 64 * 1024;

    /// <summary>The routes.</summary>
    public IEnumerable<AgentRoute> Routes => [new("GET", "/v1/devtools", AnswerAsync)];

    private async Task AnswerAsync(HttpContext context)
    {
        if (await FindAsync(context.RequestAborted) is { } info)
        {
            await Json.WriteAsync(context, 200, info, ContractsJson.Readable.DevToolsInfo);
        }
        else
        {
            await workload.HandleAsync(context);
        }
    }

    private async Task<DevToolsInfo?> FindAsync(CancellationToken cancellationToken)
    {
        try
        {
            var document = await WorkloadDocument.GetAsync(target, VersionPath, MaxBytes, clock, cancellationToken);
            return document.Status == 200 ? Read(document.Body) : null;
        }
        catch (Exception e) when (e is IOException or JsonException)
        {
            // No browser; or none yet, and then the workload does not answer either.
            return null;
        }
    }

    private DevToolsInfo? Read(byte[] body)
    {
        var version = JsonSerializer.Deserialize(body, BrowserJson.Default.BrowserVersion);
        return Uri.TryCreate(version?.WebSocketDebuggerUrl, UriKind.Absolute, out var url) && url.Scheme is "ws" or "wss"
            ? new DevToolsInfo
            {
                WebsocketUrl = url.ToString(),
                WebsocketPath = url.PathAndQuery,
                Port = target.Address.Port,
                BrowserVersion = version!.Browser,
                UserAgent = version.UserAgent,
                Address = target.Address.Address.ToString(),
            }
            : null;
    }
}

/// <summary>Answer of a browser's <c>/json/version</c>.</summary>
internal sealed record BrowserVersion
{
    /// <summary>Product and version.</summary>
    [JsonPropertyName("Browser")]
    public string? Browser { get; init; }

    /// <summary>User agent.</summary>
    [JsonPropertyName("User-Agent")]
    public string? UserAgent { get; init; }

    /// <summary>Address of the browser's WebSocket.</summary>
    [JsonPropertyName("webSocketDebuggerUrl")]
    public string? WebSocketDebuggerUrl { get; init; }
}

/// <summary>JSON of browsers.</summary>
[JsonSerializable(typeof(BrowserVersion))]
internal sealed partial class BrowserJson : JsonSerializerContext;
