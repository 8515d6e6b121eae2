using System.Text.Json;
using System.Text.Json.Nodes;
using Microsoft.AspNetCore.Http.HttpResults;
using Volant.Contracts;
using Volant.Contracts.Api;
using Volant.Daemon.Orchestration;
using Volant.Daemon.Store;

namespace Volant.Daemon.Api;

/// <summary><c>/api/v1/vms/{name}/config</c>: versioned configuration.</summary>
internal static class VmConfigEndpoints
{
    public static void MapVmConfigs(this IEndpointRouteBuilder routes)
    {
        var config = routes.MapGroup("/api/v1/vms/{name}/config").WithTags("vms");
        config.MapGet("/", Get).WithName("getVMConfig").WithSummary("Get the configuration of a VM").ProducesProblem(404);
        config.MapPatch("/", PatchAsync).WithName("updateVMConfig").RequireRateLimiting(RateLimits.Expensive).WithSummary("Change the configuration of a VM; it takes effect at the next start")
            .WithDescription("A JSON merge patch (RFC 7396): members that are absent stay, a member set to null is cleared. The result is validated as a whole. If-Match takes the version's ETag.")
            .Accepts<VmConfig>("application/json", "application/merge-patch+json")
            .ProducesProblem(400).ProducesProblem(404).ProducesProblem(412).ProducesProblem(413).ProducesProblem(415).ProducesProblem(422);
        config.MapGet("/history", History).WithName("listVMConfigHistory").WithSummary("List the versions of a VM's configuration, newest first").ProducesProblem(400).ProducesProblem(404);
    }

    private static Ok<VmConfigVersion> Get(HttpContext context, string name, VolantStore store) => Answer(context, store.GetConfigVersion(store.GetVm(name).Id));

    private static async Task<Ok<VmConfigVersion>> PatchAsync(HttpContext context, string name, VmOrchestrator orchestrator, CancellationToken cancellationToken)
    {
        var patch = await ReadPatchAsync(context.Request, cancellationToken);
        return Answer(context, await orchestrator.ChangeConfigAsync(
            name, version => ETags.Matches(context.Request, ETags.Of(version)), current => Merge(current, patch), cancellationToken));
    }

    private static Ok<IReadOnlyList<VmConfigVersion>> History(string name, string? limit, VolantStore store)
    {
        var query = new QueryFaults();
        var count = query.Number("limit", limit, 100, 1, VolantStore.ConfigCapacity);
        query.Reject();
        return TypedResults.Ok(store.ListConfigs(store.GetVm(name).Id, count));
    }

    private static Ok<VmConfigVersion> Answer(HttpContext context, VmConfigVersion version)
    {
        context.Response.Headers.ETag = ETags.Of(version.Version);
        return TypedResults.Ok(version);
    }

    private static async Task<JsonObject> ReadPatchAsync(HttpRequest request, CancellationToken cancellationToken)
    {
        if (!request.HasJsonContentType())
        {
            throw new VolantException(ErrorCodes.UnsupportedMediaType, "The request body must be JSON: send Content-Type: application/json.");
        }

        using var body = new MemoryStream();
        await request.Body.CopyToAsync(body, cancellationToken);
        try
        {
            var strict = new JsonDocumentOptions { AllowDuplicateProperties = false, MaxDepth = StrictJson.MaxDepth };
            return JsonNode.Parse(body.GetBuffer().AsSpan(0, (int)body.Length), documentOptions: strict) as JsonObject
                ?? throw new VolantException(ErrorCodes.InvalidRequest, "The request body must be a JSON object.") { Fields = [new FieldError("$", "must be a JSON object")] };
        }
        catch (JsonException e)
        {
            throw Invalid(e);
        }
    }

    private static VmConfig Merge(VmConfig current, JsonObject patch)
    {
        var node = JsonSerializer.SerializeToNode(current, ContractsJson.Default.VmConfig)!;
        var merged = Apply(node, patch);
        try
        {
            // By way of text: only a reader of text refuses what the strict rules refuse.
            return JsonSerializer.Deserialize(merged.ToJsonString(), ContractsJson.Strict.VmConfig) ?? new VmConfig();
        }
        catch (JsonException e)
        {
            throw Invalid(e);
        }
    }

    /// <summary>RFC 7396, section 2.</summary>
    private static JsonObject Apply(JsonNode? target, JsonObject patch)
    {
        var result = target as JsonObject ?? [];
        foreach (var (name, value) in patch)
        {
            switch (value)
            {
                case null:
                    result.Remove(name);
                    break;
                case JsonObject inner:
                    result.TryGetPropertyValue(name, out var old);
                    result.Remove(name);
                    result[name] = Apply(old, inner);
                    break;
                default:
                    result[name] = value.DeepClone();
                    break;
            }
        }

        return result;
    }

    private static VolantException Invalid(JsonException failure)
    {
        var fault = StrictJson.Explain(failure);
        return new VolantException(ErrorCodes.InvalidRequest, $"The request body is not valid: {fault.Path} {fault.Message}.", failure) { Fields = [fault] };
    }
}
