using Microsoft.AspNetCore.Http.HttpResults;
using Volant.Contracts.Api;
using Volant.Daemon.Orchestration;
using Volant.Daemon.Store;

namespace Volant.Daemon.Api;

/// <summary><c>/api/v1/volumes</c>: disks with names that outlive VMs.</summary>
internal static class VolumeEndpoints
{
    public static void MapVolumes(this IEndpointRouteBuilder routes)
    {
        var volumes = routes.MapGroup("/api/v1/volumes").WithTags("volumes");
        volumes.MapGet("/", List).WithName("listVolumes").WithSummary("List the volumes");
        volumes.MapPost("/", CreateAsync).WithName("createVolume").RequireRateLimiting(RateLimits.Expensive).WithSummary("Create an empty volume")
            .WithDescription("A VM gets it at its next start when its configuration names it in 'volumes'. Many VMs may read a volume at a time, or one may write to it.")
            .ProducesProblem(400).ProducesProblem(409).ProducesProblem(507);
        volumes.MapGet("/{volume}", Get).WithName("getVolume").WithSummary("Get a volume").ProducesProblem(404);
        volumes.MapPatch("/{volume}", ResizeAsync).WithName("resizeVolume").RequireRateLimiting(RateLimits.Expensive).WithSummary("Enlarge a volume that no running VM has")
            .WithDescription("The file system on it is the guest's affair. A volume does not shrink.")
            .ProducesProblem(400).ProducesProblem(404).ProducesProblem(409).ProducesProblem(422).ProducesProblem(507);
        volumes.MapDelete("/{volume}", DeleteAsync).WithName("deleteVolume").RequireRateLimiting(RateLimits.Expensive).WithSummary("Delete a volume with all that is on it")
            .WithDescription("Refused while a VM or a deployment names it, whether it runs or not.")
            .ProducesProblem(404).ProducesProblem(409);
    }

    private static Ok<IReadOnlyList<Volume>> List(VolantStore store) => TypedResults.Ok(store.ListVolumes());

    private static Ok<Volume> Get(string volume, VolantStore store) => TypedResults.Ok(store.GetVolume(volume));

    private static async Task<Created<Volume>> CreateAsync(CreateVolumeRequest request, VolumeKeeper keeper, CancellationToken cancellationToken)
    {
        var volume = await keeper.CreateAsync(request, cancellationToken);
        return TypedResults.Created($"/api/v1/volumes/{volume.Name}", volume);
    }

    private static async Task<Ok<Volume>> ResizeAsync(string volume, ResizeVolumeRequest request, VolumeKeeper keeper, CancellationToken cancellationToken) =>
        TypedResults.Ok(await keeper.ResizeAsync(volume, request, cancellationToken));

    private static async Task<NoContent> DeleteAsync(string volume, VolumeKeeper keeper, CancellationToken cancellationToken)
    {
        await keeper.DeleteAsync(volume, cancellationToken);
        return TypedResults.NoContent();
    }
}
