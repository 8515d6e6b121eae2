using System.Globalization;
using Microsoft.AspNetCore.Http.HttpResults;
using Microsoft.AspNetCore.Http.Timeouts;
using Volant.Contracts.Api;
using Volant.Daemon.Orchestration.Deployments;
using Volant.Daemon.Store;

namespace Volant.Daemon.Api;

/// <summary><c>/api/v1/deployments</c>.</summary>
internal static class DeploymentEndpoints
{
    public static void MapDeployments(this IEndpointRouteBuilder routes)
    {
        var deployments = routes.MapGroup("/api/v1/deployments").WithTags("deployments");
        deployments.MapGet("/", List).WithName("listDeployments").WithSummary("List deployments by name").ProducesProblem(400);
        deployments.MapPost("/", CreateAsync).WithName("createDeployment").RequireRateLimiting(RateLimits.Expensive).WithMetadata(new DisableRequestTimeoutAttribute()).WithSummary("Create a deployment; its replicas follow")
            .ProducesProblem(400).ProducesProblem(404).ProducesProblem(409).ProducesProblem(422).ProducesProblem(503);
        deployments.MapGet("/{name}", Get).WithName("getDeployment").WithSummary("Get one deployment").ProducesProblem(404);
        deployments.MapPatch("/{name}", ChangeAsync).WithName("scaleDeployment").RequireRateLimiting(RateLimits.Expensive).WithMetadata(new DisableRequestTimeoutAttribute()).WithSummary("Change the number of replicas, or roll out another configuration")
            .ProducesProblem(400).ProducesProblem(404).ProducesProblem(409).ProducesProblem(412).ProducesProblem(422).ProducesProblem(503);
        deployments.MapDelete("/{name}", DeleteAsync).WithName("deleteDeployment").RequireRateLimiting(RateLimits.Expensive).WithMetadata(new DisableRequestTimeoutAttribute()).WithSummary("Delete a deployment and its VMs").ProducesProblem(404).ProducesProblem(409);
    }

    private static Ok<IReadOnlyList<Deployment>> List(HttpContext context, VolantStore store, string? limit, string? offset)
    {
        var query = new QueryFaults();
        var most = query.Number("limit", limit, 1000, 1, 10_000);
        var skip = query.Number("offset", offset, 0, 0, int.MaxValue);
        query.Reject();
        var (deployments, total) = store.ListDeployments(most, skip);
        context.Response.Headers["X-Total-Count"] = total.ToString(CultureInfo.InvariantCulture);
        return TypedResults.Ok<IReadOnlyList<Deployment>>([.. deployments.Select(record => record.Deployment)]);
    }

    private static async Task<Created<Deployment>> CreateAsync(HttpContext context, CreateDeploymentRequest request, DeploymentController controller, CancellationToken cancellationToken)
    {
        var created = await controller.CreateAsync(request, cancellationToken);
        context.Response.Headers.ETag = ETags.Of(created.Version);
        return TypedResults.Created($"/api/v1/deployments/{created.Name}", created.Deployment);
    }

    private static Ok<Deployment> Get(HttpContext context, string name, VolantStore store) => Answer(context, store.FindDeployment(name) ?? throw VolantStore.NoDeployment(name));

    private static async Task<Ok<Deployment>> ChangeAsync(
        HttpContext context, string name, UpdateDeploymentRequest request, DeploymentController controller, CancellationToken cancellationToken) =>
        Answer(context, await controller.ChangeAsync(name, version => ETags.Matches(context.Request, ETags.Of(version)), request, cancellationToken));

    private static async Task<NoContent> DeleteAsync(string name, DeploymentController controller, CancellationToken cancellationToken)
    {
        await controller.DeleteAsync(name, cancellationToken);
        return TypedResults.NoContent();
    }

    private static Ok<Deployment> Answer(HttpContext context, DeploymentRecord record)
    {
        context.Response.Headers.ETag = ETags.Of(record.Version);
        return TypedResults.Ok(record.Deployment);
    }
}
