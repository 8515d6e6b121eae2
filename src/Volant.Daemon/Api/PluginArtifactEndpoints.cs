using Microsoft.AspNetCore.Http.HttpResults;
using Volant.Contracts.Api;
using Volant.Daemon.Artifacts;
using Volant.Daemon.Plugins;
using Volant.Daemon.Store;

namespace Volant.Daemon.Api;

/// <summary><c>/api/v1/plugins/{plugin}/artifacts</c>: records of a plugin's files.</summary>
internal static class PluginArtifactEndpoints
{
    public static void MapPluginArtifacts(this IEndpointRouteBuilder routes)
    {
        var artifacts = routes.MapGroup("/api/v1/plugins/{plugin}/artifacts").WithTags("artifacts");
        artifacts.MapGet("/", List).WithName("listArtifacts").WithSummary("List the artifacts of a plugin").ProducesProblem(404);
        artifacts.MapPost("/", PutAsync).WithName("createArtifact").WithSummary("Record an artifact of a plugin, or replace the record of that version and name")
            .ProducesProblem(400).ProducesProblem(404).ProducesProblem(422);
        artifacts.MapDelete("/", DeleteAsync).WithName("deleteArtifacts").WithSummary("Forget the artifacts of a version of a plugin, or of all versions").ProducesProblem(404);
        artifacts.MapGet("/{artifact}", Get).WithName("getArtifact").WithSummary("Get one artifact of a version of a plugin").ProducesProblem(400).ProducesProblem(404);
    }

    private static Ok<IReadOnlyList<Artifact>> List(string plugin, string? version, PluginRegistry registry, VolantStore store) =>
        TypedResults.Ok(store.ListArtifacts(registry.Get(plugin).Name!, string.IsNullOrEmpty(version) ? null : version));

    private static async Task<Created<Artifact>> PutAsync(string plugin, PutArtifactRequest request, PluginRegistry registry, BootImages images, VolantStore store, CancellationToken cancellationToken)
    {
        var wanted = ArtifactRules.Normalise(request);
        var faults = ArtifactRules.Validate(wanted);
        if (faults.Count > 0)
        {
            throw new VolantException(ErrorCodes.InvalidRequest, $"The request is not valid: {string.Join("; ", faults.Select(fault => $"{fault.Path} {fault.Message}"))}.") { Fields = faults };
        }

        if (wanted.LocalPath is { } path)
        {
            images.CheckAllowed(path);
        }

        var artifact = await store.PutArtifactAsync(registry.Get(plugin).Name!, wanted, cancellationToken);
        return TypedResults.Created($"/api/v1/plugins/{plugin}/artifacts/{Uri.EscapeDataString(artifact.ArtifactName)}?version={Uri.EscapeDataString(artifact.Version)}", artifact);
    }

    private static async Task<NoContent> DeleteAsync(string plugin, string? version, PluginRegistry registry, VolantStore store, CancellationToken cancellationToken)
    {
        await store.DeleteArtifactsAsync(registry.Get(plugin).Name!, string.IsNullOrEmpty(version) ? null : version, cancellationToken);
        return TypedResults.NoContent();
    }

    private static Ok<Artifact> Get(string plugin, string artifact, string? version, PluginRegistry registry, VolantStore store)
    {
        if (string.IsNullOrEmpty(version))
        {
            var query = new QueryFaults();
            query.Add("version", "is required");
            query.Reject();
        }

        return TypedResults.Ok(store.FindArtifact(registry.Get(plugin).Name!, version!, artifact)
            ?? throw new VolantException(ErrorCodes.ArtifactNotFound, $"Plugin '{plugin}' has no artifact '{artifact}' of version '{version}'."));
    }
}
