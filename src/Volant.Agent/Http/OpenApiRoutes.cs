using System.Text.Json;
using Microsoft.AspNetCore.Http;
using Volant.Contracts;
using Volant.Contracts.Api;
using Volant.Contracts.Manifests;

namespace Volant.Agent.Http;

/// <summary><c>GET /v1/openapi</c>: the workload's own document, else one made from the manifest's actions (contract §9).</summary>
/// <remarks>Its own is what the manifest's <c>openapi</c> names, a path of the workload or a URL at its address; without that, what the workload serves at <c>/v1/openapi</c>.</remarks>
/// <param name="manifest">The manifest.</param>
/// <param name="target">The workload; null when it serves no HTTP.</param>
/// <param name="clock">Clock of the limits.</param>
internal sealed class OpenApiRoutes(PluginManifest manifest, WorkloadTarget? target, TimeProvider clock)
{
    private const string OwnPath = "/v1/openapi";
    private const int MaxBytes = 4 * 1024 * 1024;

    /// <summary>The routes.</summary>
    public IEnumerable<AgentRoute> Routes => [new("GET", OwnPath, AnswerAsync)];

    private async Task AnswerAsync(HttpContext context)
    {
        if (await FindAsync(context.RequestAborted) is { } own)
        {
            await WriteAsync(context, own.Type is { Length: > 0 } type ? type : "application/json", own.Body);
        }
        else if (manifest.Actions is { Count: > 0 })
        {
            await WriteAsync(context, "application/json", Generate(manifest));
        }
        else
        {
            await Problems.WriteAsync(
                context, 404, ErrorCodes.NotFound, "The workload has no OpenAPI document and the manifest has no actions; set 'openapi' in the manifest to the path where the workload serves one.");
        }
    }

    /// <summary>An OpenAPI 3.1 document of a manifest's actions.</summary>
    internal static byte[] Generate(PluginManifest manifest)
    {
        using var bytes = new MemoryStream();
        using (var json = new Utf8JsonWriter(bytes, new JsonWriterOptions { Encoder = ContractsJson.Readable.Options.Encoder }))
        {
            json.WriteStartObject();
            json.WriteString("openapi", "3.1.0");
            json.WriteStartObject("info");
            json.WriteString("title", manifest.Name);
            json.WriteString("version", manifest.Version);
            json.WriteString("description", "Made from the actions of the plugin's manifest.");
            json.WriteEndObject();
            json.WriteStartObject("paths");
            foreach (var path in (manifest.Actions ?? new Dictionary<string, ManifestAction>(StringComparer.Ordinal)).GroupBy(action => action.Value.Path!.Split('?')[0], StringComparer.Ordinal).OrderBy(path => path.Key, StringComparer.Ordinal))
            {
                json.WriteStartObject(path.Key);

                // One operation for each method of a path: the first by name.
                foreach (var (name, action) in path.OrderBy(action => action.Key, StringComparer.Ordinal).DistinctBy(action => action.Value.Method, StringComparer.Ordinal))
                {
                    Write(json, name, action);
                }

                json.WriteEndObject();
            }

            json.WriteEndObject();
            json.WriteEndObject();
        }

        return bytes.ToArray();
    }

    private static void Write(Utf8JsonWriter json, string name, ManifestAction action)
    {
        json.WriteStartObject(action.Method!.ToLowerInvariant());
        json.WriteString("operationId", name);
        if (action.Description is { } description)
        {
            json.WriteString("summary", description);
        }

        if (action.TimeoutMs is { } limit)
        {
            json.WriteNumber("x-volant-timeout-ms", limit);
        }

        if (action.Method is "POST" or "PUT" or "PATCH")
        {
            json.WriteStartObject("requestBody");
            json.WriteStartObject("content");
            json.WriteStartObject("application/json");
            json.WriteStartObject("schema");
            json.WriteEndObject();
            json.WriteEndObject();
            json.WriteEndObject();
            json.WriteEndObject();
        }

        json.WriteStartObject("responses");
        json.WriteStartObject("default");
        json.WriteString("description", "What the workload answers.");
        json.WriteEndObject();
        json.WriteEndObject();
        json.WriteEndObject();
    }

    private static async Task WriteAsync(HttpContext context, string type, byte[] body)
    {
        context.Response.ContentType = type;
        context.Response.ContentLength = body.Length;
        if (context.Request.Method != "HEAD")
        {
            await context.Response.Body.WriteAsync(body, context.RequestAborted);
        }
    }

    private async Task<WorkloadDocument?> FindAsync(CancellationToken cancellationToken)
    {
        foreach (var path in target is null ? [] : new[] { PathOf(manifest, target), target.BasePath + OwnPath }.OfType<string>())
        {
            try
            {
                var document = await WorkloadDocument.GetAsync(target!, path, MaxBytes, clock, cancellationToken);
                if (document.Status == 200 && document.Body.Length > 0)
                {
                    return document;
                }
            }
            catch (IOException)
            {
                // It is not there to say anything: the manifest has the word.
            }
        }

        return null;
    }

    private static string? PathOf(PluginManifest manifest, WorkloadTarget target) => manifest.OpenApi switch
    {
        ['/', ..] path => target.BasePath + path,
        { } url when Uri.TryCreate(url, UriKind.Absolute, out var wanted) && wanted.Scheme == Uri.UriSchemeHttp && wanted.Authority == target.Authority => wanted.PathAndQuery,
        _ => null,
    };
}
