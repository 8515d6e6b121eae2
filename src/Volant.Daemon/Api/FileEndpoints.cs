using Microsoft.AspNetCore.Http.Timeouts;
using Volant.Contracts.Api;

namespace Volant.Daemon.Api;

/// <summary><c>/api/v1/vms/{name}/files</c>: the files of a guest, see <see cref="FileStat"/>. The agent checks paths and does the work; bodies are streamed.</summary>
internal static class FileEndpoints
{
    private const string Binary = "application/octet-stream";

    private static readonly AgentAnswer Content = new([200], [Binary, FileTypes.Tar]);
    private static readonly AgentAnswer Stat = new([200], ["application/json"]);
    private static readonly AgentAnswer Written = new([201, 204], []);
    private static readonly AgentAnswer Deleted = new([204], []);

    public static void MapFiles(this IEndpointRouteBuilder routes)
    {
        var files = routes.MapGroup("/api/v1/vms/{name}/files").WithTags("vms").WithMetadata(new DisableRequestTimeoutAttribute());
        files.MapGet("/", ReadAsync).WithName("readVMFile").WithSummary("Read a file of a VM, or a directory as a tar archive")
            .Produces(200, contentType: Binary, additionalContentTypes: FileTypes.Tar).ProducesProblem(400).ProducesProblem(404).ProducesProblem(409).ProducesProblem(502).ProducesProblem(503).ProducesProblem(504);
        files.MapPut("/", WriteAsync).WithName("writeVMFile").WithSummary("Write a file of a VM, or unpack a tar archive into a directory")
            .WithDescription("With `Content-Type: application/x-tar` the body is unpacked into the directory; anything else becomes the file, whole or not at all. 201 when it is new, 204 when it was there.")
            .WithMetadata(new RequestLimit(null))
            .Produces(201).Produces(204).ProducesProblem(400).ProducesProblem(404).ProducesProblem(409).ProducesProblem(502).ProducesProblem(503).ProducesProblem(504).ProducesProblem(507);
        files.MapDelete("/", DeleteAsync).WithName("deleteVMFile").WithSummary("Delete a file or directory of a VM")
            .Produces(204).ProducesProblem(400).ProducesProblem(404).ProducesProblem(409).ProducesProblem(502).ProducesProblem(503).ProducesProblem(504);
        files.MapGet("/stat", StatAsync).WithName("statVMFile").WithSummary("Tell what a file of a VM is, and what a directory holds")
            .Produces<FileStat>().ProducesProblem(400).ProducesProblem(404).ProducesProblem(409).ProducesProblem(502).ProducesProblem(503).ProducesProblem(504);
    }

    // The query goes to the agent as it is; the parameters stand here for the API document.
    private static Task ReadAsync(HttpContext context, string name, string? path, GuestForwarder forwarder)
    {
        _ = path;
        context.Response.Headers.ContentDisposition = "attachment";
        return ForwardAsync(context, name, forwarder, Content);
    }

    private static Task StatAsync(HttpContext context, string name, string? path, GuestForwarder forwarder)
    {
        _ = path;
        return forwarder.ForwardAsync(context, name, new GuestTarget("/v1/agent/files/stat", Answer: Stat));
    }

    private static Task WriteAsync(HttpContext context, string name, string? path, string? mode, string? uid, string? gid, string? parents, GuestForwarder forwarder)
    {
        _ = (path, mode, uid, gid, parents);
        return ForwardAsync(context, name, forwarder, Written);
    }

    private static Task DeleteAsync(HttpContext context, string name, string? path, string? recursive, GuestForwarder forwarder)
    {
        _ = (path, recursive);
        return ForwardAsync(context, name, forwarder, Deleted);
    }

    private static Task ForwardAsync(HttpContext context, string name, GuestForwarder forwarder, AgentAnswer answer) =>
        forwarder.ForwardAsync(context, name, new GuestTarget("/v1/agent/files", Answer: answer));
}
