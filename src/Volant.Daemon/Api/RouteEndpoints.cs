using System.Globalization;
using Microsoft.AspNetCore.Http.HttpResults;
using Volant.Contracts.Api;
using Volant.Daemon.Orchestration;

namespace Volant.Daemon.Api;

/// <summary><c>/api/v1/drift/routes</c>: published ports.</summary>
internal static class RouteEndpoints
{
    public static void MapRoutes(this IEndpointRouteBuilder routes)
    {
        var drift = routes.MapGroup("/api/v1/drift/routes").WithTags("routes");
        drift.MapGet("/", List).WithName("listRoutes").WithSummary("List the published ports of the host");
        drift.MapPost("/", CreateAsync).WithName("createRoute").RequireRateLimiting(RateLimits.Expensive).WithSummary("Publish a port of the host")
            .WithDescription("Besides those that VMs and deployments publish by 'expose'. A route to a VM, by its address or its vsock_cid, ends with the VM.")
            .ProducesProblem(400).ProducesProblem(404).ProducesProblem(409).ProducesProblem(422).ProducesProblem(503);
        drift.MapDelete("/{protocol}/{port}", DeleteAsync).WithName("deleteRoute").RequireRateLimiting(RateLimits.Expensive).WithSummary("Close a port that was published by createRoute")
            .ProducesProblem(400).ProducesProblem(404).ProducesProblem(409);
    }

    private static Ok<IReadOnlyList<PublishedRoute>> List(PublishedPorts ports) => TypedResults.Ok(ports.List());

    private static async Task<Created<PublishedRoute>> CreateAsync(CreateRouteRequest request, PublishedPorts ports, CancellationToken cancellationToken)
    {
        var route = await ports.CreateAsync(request, cancellationToken);
        return TypedResults.Created(string.Create(CultureInfo.InvariantCulture, $"/api/v1/drift/routes/{route.Protocol}/{route.HostPort}"), route);
    }

    private static async Task<NoContent> DeleteAsync(string protocol, string port, PublishedPorts ports, CancellationToken cancellationToken)
    {
        var faults = new QueryFaults();
        _ = faults.Choice("protocol", protocol, [PortProtocols.Tcp, PortProtocols.Udp]);
        var number = faults.Number("port", port, 0, 1, ushort.MaxValue);
        faults.Reject();
        await ports.DeleteAsync(protocol, number, cancellationToken);
        return TypedResults.NoContent();
    }
}
