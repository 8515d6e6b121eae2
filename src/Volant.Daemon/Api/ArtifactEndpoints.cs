using Microsoft.AspNetCore.Http.HttpResults;
using Microsoft.AspNetCore.Http.Timeouts;
using Volant.Contracts;
using Volant.Contracts.Api;
using Volant.Daemon.Artifacts;

namespace Volant.Daemon.Api;

/// <summary><c>/api/v1/artifacts</c>: files of the cache by digest.</summary>
internal static class ArtifactEndpoints
{
    public static void MapArtifacts(this IEndpointRouteBuilder routes)
    {
        var artifacts = routes.MapGroup("/api/v1/artifacts").WithTags("artifacts");
        artifacts.MapGet("/transfers", ListTransfers).WithName("listArtifactTransfers").WithSummary("List what is being downloaded or copied into the cache");
        artifacts.MapPut("/{sha256}", UploadAsync).WithName("uploadArtifactFile").RequireRateLimiting(RateLimits.Expensive).WithMetadata(new DisableRequestTimeoutAttribute()).WithSummary("Upload a file; it must have this SHA-256")
            .WithMetadata(new RequestLimit(null)).ProducesProblem(413).ProducesProblem(422).ProducesProblem(507);
        artifacts.MapMethods("/{sha256}", ["HEAD"], Find).WithName("checkArtifactFile").WithSummary("Tell whether a file is there, without a body").ProducesProblem(404);
        artifacts.MapGet("/{sha256}", Find).WithName("findArtifactFile").WithSummary("Tell whether a file is there").ProducesProblem(404);
    }

    private static async Task<Results<Created<StoredArtifact>, Ok<StoredArtifact>>> UploadAsync(string sha256, HttpRequest request, ArtifactCache cache, CancellationToken cancellationToken)
    {
        RequireDigest(sha256);
        if (cache.Use(sha256) is not null && cache.Find(sha256) is { } present)
        {
            return TypedResults.Ok(present);
        }

        var artifact = await cache.AddAsync(request.Body, sha256, cancellationToken);
        return TypedResults.Created($"/api/v1/artifacts/{sha256}", artifact);
    }

    private static Ok<IReadOnlyList<ArtifactTransfer>> ListTransfers(ArtifactTransfers transfers) => TypedResults.Ok(transfers.List());

    private static Ok<StoredArtifact> Find(string sha256, ArtifactCache cache)
    {
        RequireDigest(sha256);

        // Whoever asks means to name it soon.
        _ = cache.Use(sha256);
        return TypedResults.Ok(cache.Find(sha256) ?? throw new VolantException(ErrorCodes.ArtifactNotFound, $"There is no artifact {sha256}; upload it with PUT."));
    }

    private static void RequireDigest(string sha256)
    {
        if (!Sha256Text.IsValid(sha256))
        {
            throw new VolantException(ErrorCodes.InvalidRequest, $"'{sha256}' is no SHA-256; expected 64 lower-case hex digits.") { Fields = [new FieldError("sha256", "must be 64 lower-case hex digits")] };
        }
    }
}
