using Microsoft.AspNetCore.Http.HttpResults;
using Microsoft.AspNetCore.Http.Timeouts;
using Volant.Contracts.Api;
using Volant.Daemon.Orchestration;

namespace Volant.Daemon.Api;

/// <summary><c>/api/v1/vfio/devices</c>: PCI devices of the host that can be passed through.</summary>
internal static class VfioEndpoints
{
    public static void MapVfio(this IEndpointRouteBuilder routes)
    {
        var devices = routes.MapGroup("/api/v1/vfio/devices").WithTags("vfio");
        devices.MapPost("/info", (VfioDeviceRequest request, DevicePassthrough passthrough) => TypedResults.Ok(passthrough.GetInfo(request)))
            .WithName("getVFIODeviceInfo").WithSummary("Get ids, driver, IOMMU group and NUMA node of a PCI device").ProducesProblem(400).ProducesProblem(404).ProducesProblem(503);
        devices.MapPost("/validate", (VfioDevicesRequest request, DevicePassthrough passthrough) => TypedResults.Ok(passthrough.Validate(request)))
            .WithName("validateVFIODevices").WithSummary("Check whether PCI devices could be bound now; changes nothing").ProducesProblem(400).ProducesProblem(503);
        devices.MapPost("/iommu-groups", (VfioDevicesRequest request, DevicePassthrough passthrough) => TypedResults.Ok(passthrough.ListGroups(request)))
            .WithName("listIOMMUGroups").WithSummary("List the IOMMU groups of PCI devices, or all, with every device in them").ProducesProblem(400).ProducesProblem(404).ProducesProblem(422).ProducesProblem(503);
        devices.MapPost("/bind", BindAsync).WithName("bindVFIODevices").WithSummary("Bind PCI devices and the others of their IOMMU groups to vfio-pci, all or none")
            .RequireRateLimiting(RateLimits.Expensive).WithMetadata(new DisableRequestTimeoutAttribute()).ProducesProblem(400).ProducesProblem(404).ProducesProblem(409).ProducesProblem(422).ProducesProblem(503);
        devices.MapPost("/unbind", UnbindAsync).WithName("unbindVFIODevices").WithSummary("Give PCI devices and the others of their IOMMU groups back to the drivers that they had")
            .RequireRateLimiting(RateLimits.Expensive).WithMetadata(new DisableRequestTimeoutAttribute()).ProducesProblem(400).ProducesProblem(409).ProducesProblem(503);
        devices.MapPost("/group-paths", (VfioDevicesRequest request, DevicePassthrough passthrough) => TypedResults.Ok(passthrough.GetGroupPaths(request)))
            .WithName("getVFIOGroupPaths").WithSummary("Get the device node of each IOMMU group of bound PCI devices").ProducesProblem(400).ProducesProblem(404).ProducesProblem(409).ProducesProblem(422).ProducesProblem(503);
    }

    private static async Task<Ok<VfioBinding>> BindAsync(VfioDevicesRequest request, DevicePassthrough passthrough, CancellationToken cancellationToken) =>
        TypedResults.Ok(await passthrough.BindAsync(request, cancellationToken));

    private static async Task<Ok<VfioUnbinding>> UnbindAsync(VfioDevicesRequest request, DevicePassthrough passthrough, CancellationToken cancellationToken) =>
        TypedResults.Ok(await passthrough.UnbindAsync(request, cancellationToken));
}
