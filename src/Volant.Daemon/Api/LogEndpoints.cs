using System.Globalization;
using System.Text;
using Microsoft.AspNetCore.Http.Timeouts;
using Volant.Contracts;
using Volant.Contracts.Api;
using Volant.Daemon.Orchestration;
using Volant.Daemon.Store;

namespace Volant.Daemon.Api;

/// <summary><c>/api/v1/vms/{name}/logs</c>: what the guest wrote to its console, kept across restarts of VM and daemon.</summary>
internal static class LogEndpoints
{
    private const int MaxTail = 10_000;
    private static readonly TimeSpan PollInterval = TimeSpan.FromMilliseconds(200);

    public static void MapLogs(this IEndpointRouteBuilder routes) =>
        routes.MapGet("/api/v1/vms/{name}/logs", WriteAsync).WithTags("vms").WithName("getVMLogs").WithMetadata(new DisableRequestTimeoutAttribute()).WithSummary("Read or follow the log of a VM")
            .Produces<string>(200, "text/plain").ProducesProblem(400).ProducesProblem(404);

    private static async Task WriteAsync(
        HttpContext context, string name, string? tail, string? follow, VolantStore store, HostResources resources, TimeProvider clock, IHostApplicationLifetime lifetime)
    {
        var vm = store.FindVm(name) ?? throw new VolantException(ErrorCodes.VmNotFound, $"There is no VM named '{name}'; see 'volar vms list'.");
        if (!int.TryParse(tail ?? "1000", NumberStyles.None, CultureInfo.InvariantCulture, out var lines) || lines > MaxTail)
        {
            throw new VolantException(ErrorCodes.InvalidRequest, $"tail must be a whole number from 0 to {MaxTail}.") { Fields = [new FieldError("tail", $"must be 0 to {MaxTail}")] };
        }

        context.Response.ContentType = "text/plain; charset=utf-8";
        var path = resources.PathsOf(vm.Vm.Uid).ConsoleLog;
        var end = File.Exists(path) ? new FileInfo(path).Length : 0;
        foreach (var line in LogTail.Read(path, lines))
        {
            await context.Response.WriteAsync(line + "\n", context.RequestAborted);
        }

        if (follow is "1" or "true")
        {
            using var stop = CancellationTokenSource.CreateLinkedTokenSource(context.RequestAborted, lifetime.ApplicationStopping);
            await FollowAsync(context, vm, path, end, store, clock, stop.Token);
        }
    }

    private static async Task FollowAsync(HttpContext context, VmRecord vm, string path, long position, VolantStore store, TimeProvider clock, CancellationToken cancellationToken)
    {
        var buffer = new byte[64 * 1024];
        try
        {
            await context.Response.Body.FlushAsync(cancellationToken);
            while (store.FindVm(vm.Id) is not null)
            {
                if (File.Exists(path))
                {
                    using var file = File.OpenHandle(path, share: FileShare.ReadWrite | FileShare.Delete);
                    position = Math.Min(position, RandomAccess.GetLength(file));
                    while (await RandomAccess.ReadAsync(file, buffer, position, cancellationToken) is > 0 and var read)
                    {
                        position += read;
                        await context.Response.WriteAsync(string.Concat(Encoding.UTF8.GetString(buffer, 0, read).Where(c => c is '\n' or '\t' || !char.IsControl(c))), cancellationToken);
                    }

                    await context.Response.Body.FlushAsync(cancellationToken);
                }

                await Task.Delay(PollInterval, clock, cancellationToken);
            }
        }
        catch (OperationCanceledException)
        {
            // The client left, or the daemon stops.
        }
    }
}
