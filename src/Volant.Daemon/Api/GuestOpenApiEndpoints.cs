using Volant.Contracts.Api;
using Volant.Contracts.Manifests;
using Volant.Daemon.Guests;
using Volant.Daemon.Orchestration;
using Volant.Daemon.Plugins;
using Volant.Daemon.Store;

namespace Volant.Daemon.Api;

/// <summary><c>/api/v1/vms/{name}/openapi</c>: what the workload says of its own API.</summary>
internal static class GuestOpenApiEndpoints
{
    private const int MaxBytes = 4 * 1024 * 1024;
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(10);
    private static readonly string[] Types = ["application/json", "application/yaml", "application/x-yaml", "text/yaml", "application/vnd.oai.openapi", "application/vnd.oai.openapi+json", "text/plain"];

    public static void MapGuestOpenApi(this IEndpointRouteBuilder routes) =>
        routes.MapGet("/api/v1/vms/{name}/openapi", GetAsync).WithTags("vms").WithName("getVMOpenAPI").WithSummary("Get the OpenAPI document of the workload in a VM")
            .WithDescription("The agent's /v1/openapi, else the document that the manifest's 'openapi' names: an absolute path of the workload, or a URL below its base URL. JSON or YAML, as the guest wrote it.")
            .Produces(200, contentType: "application/json").ProducesProblem(404).ProducesProblem(409).ProducesProblem(502).ProducesProblem(503);

    private static async Task GetAsync(HttpContext context, string name, VolantStore store, PluginRegistry plugins, VmOwners owners, TimeProvider clock)
    {
        var vm = store.GetVm(name);
        var manifest = store.GetConfig(vm.Id).Manifest is { } own ? ManifestRules.Normalise(own) : plugins.Get(vm.Vm.Plugin);
        var guest = owners.GetGuest(name);
        using var late = new CancellationTokenSource(Patience, clock);
        using var stop = CancellationTokenSource.CreateLinkedTokenSource(late.Token, context.RequestAborted);
        string[] paths = ["/v1/openapi", .. PathOf(manifest) is { } path ? [path] : Array.Empty<string>()];
        foreach (var candidate in paths)
        {
            if (await ReadAsync(guest, candidate, stop.Token) is var (type, body))
            {
                context.Response.ContentType = type;
                context.Response.Headers.XContentTypeOptions = "nosniff";
                await context.Response.Body.WriteAsync(body, context.RequestAborted);
                return;
            }
        }

        throw new VolantException(
            ErrorCodes.NotFound, $"The workload of VM '{name}' has no OpenAPI document at {string.Join(" or ", paths)}; set 'openapi' in the manifest to the path where it serves one.");
    }

    /// <summary>The manifest's document as a path of the workload; null when it names none, or one elsewhere.</summary>
    private static string? PathOf(PluginManifest manifest) => manifest.OpenApi switch
    {
        // Two slashes would name another host.
        ['/', not '/', ..] path => path,
        { } url when Uri.TryCreate(url, UriKind.Absolute, out var wanted) && Uri.TryCreate(manifest.Workload?.BaseUrl, UriKind.Absolute, out var workload) && wanted.Authority == workload.Authority => wanted.PathAndQuery,
        _ => null,
    };

    private static async Task<(string Type, byte[] Body)?> ReadAsync(GuestClient guest, string path, CancellationToken cancellationToken)
    {
        try
        {
            using var request = new HttpRequestMessage(HttpMethod.Get, new Uri(GuestClient.BaseAddress, path));
            using var response = await guest.Invoker.SendAsync(request, cancellationToken);
            if (!response.IsSuccessStatusCode || response.Content.Headers.ContentType?.MediaType is not { } type || !Types.Contains(type, StringComparer.OrdinalIgnoreCase))
            {
                return null;
            }

            await using var body = await response.Content.ReadAsStreamAsync(cancellationToken);
            var buffer = new byte[MaxBytes + 1];
            var length = await body.ReadAtLeastAsync(buffer, buffer.Length, throwOnEndOfStream: false, cancellationToken);
            return length <= MaxBytes ? (type, buffer[..length]) : throw new VolantException(ErrorCodes.AgentUnreachable, $"The workload's OpenAPI document has more than {MaxBytes >> 20} MiB.");
        }
        catch (Exception e) when (e is HttpRequestException or IOException or OperationCanceledException)
        {
            throw new VolantException(ErrorCodes.AgentUnreachable, $"The guest did not give its OpenAPI document: {e.Message}", e);
        }
    }
}
