using Microsoft.AspNetCore.Http.HttpResults;
using Microsoft.AspNetCore.Http.Metadata;
using Volant.Contracts;
using Volant.Contracts.Api;
using Volant.Contracts.Manifests;
using Volant.Daemon.Plugins;

namespace Volant.Daemon.Api;

/// <summary><c>/api/v1/plugins</c>.</summary>
internal static class PluginEndpoints
{
    public static void MapPlugins(this IEndpointRouteBuilder routes)
    {
        var plugins = routes.MapGroup("/api/v1/plugins").WithTags("plugins");
        plugins.MapGet("/", (PluginRegistry registry) => TypedResults.Ok(new PluginList { Plugins = registry.Names }))
            .WithName("listPlugins").WithSummary("List the installed plugins");
        plugins.MapPost("/", InstallAsync).WithName("installPlugin").RequireRateLimiting(RateLimits.Expensive).WithSummary("Install a plugin, or replace the one of that name")
            .Accepts<PluginManifest>("application/json").WithMetadata(new RequestLimit(ManifestReader.MaxBytes)).ProducesProblem(400).ProducesProblem(413).ProducesProblem(415);
        plugins.MapGet("/{plugin}", (string plugin, PluginRegistry registry) => TypedResults.Ok(registry.Get(plugin)))
            .WithName("getPlugin").WithSummary("Get the manifest of a plugin").ProducesProblem(404);
        plugins.MapGet("/{plugin}/manifest", (string plugin, PluginRegistry registry) => TypedResults.Ok(registry.GetEnabled(plugin)))
            .WithName("getPluginManifest").WithSummary("Get the manifest of an enabled plugin").ProducesProblem(404).ProducesProblem(409);
        plugins.MapPost("/{plugin}/enabled", SetEnabledAsync).WithName("setPluginEnabled").WithSummary("Enable or disable a plugin").ProducesProblem(404);
        plugins.MapDelete("/{plugin}", RemoveAsync).WithName("removePlugin").WithSummary("Remove a plugin").ProducesProblem(404).ProducesProblem(409);
    }

    private static async Task<Results<Created<PluginManifest>, Ok<PluginManifest>>> InstallAsync(HttpRequest request, PluginRegistry registry, CancellationToken cancellationToken)
    {
        if (!request.HasJsonContentType())
        {
            throw new VolantException(ErrorCodes.UnsupportedMediaType, "The manifest must be JSON: send Content-Type: application/json.");
        }

        using var body = new MemoryStream();
        await request.Body.CopyToAsync(body, cancellationToken);
        PluginManifest manifest;
        try
        {
            manifest = ManifestReader.Read(body.GetBuffer().AsSpan(0, (int)body.Length));
        }
        catch (InvalidDocumentException e)
        {
            throw new VolantException(ErrorCodes.InvalidManifest, e.Message, e) { Fields = e.Errors };
        }

        return await registry.InstallAsync(manifest, cancellationToken)
            ? TypedResults.Created($"/api/v1/plugins/{manifest.Name}", manifest)
            : TypedResults.Ok(manifest);
    }

    private static async Task<Ok<PluginManifest>> SetEnabledAsync(string plugin, PluginEnabled body, PluginRegistry registry, CancellationToken cancellationToken) =>
        TypedResults.Ok(await registry.SetEnabledAsync(plugin, body.Enabled, cancellationToken));

    private static async Task<NoContent> RemoveAsync(string plugin, PluginRegistry registry, CancellationToken cancellationToken)
    {
        await registry.RemoveAsync(plugin, cancellationToken);
        return TypedResults.NoContent();
    }
}

/// <summary>Largest body of one route in bytes; null for no limit.</summary>
internal sealed record RequestLimit(long? MaxRequestBodySize) : IRequestSizeLimitMetadata;
