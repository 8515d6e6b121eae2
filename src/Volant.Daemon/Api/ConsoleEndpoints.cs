using System.Net.WebSockets;
using Microsoft.AspNetCore.Http.Timeouts;
using Volant.Daemon.Logs;
using Volant.Daemon.Orchestration;
using Volant.Daemon.Store;

namespace Volant.Daemon.Api;

/// <summary><c>/ws/v1/vms/{name}/console</c>: the serial console, several viewers and one writer at a time.</summary>
internal static class ConsoleEndpoints
{
    private const long MaxMessage = 1024 * 1024;

    public static void MapConsole(this IEndpointRouteBuilder routes) =>
        routes.MapGet("/ws/v1/vms/{name}/console", AttachAsync).WithTags("vms").WithMetadata(new DisableRequestTimeoutAttribute()).WithName("attachVMConsole").WithSummary("Serial console of a VM (WebSocket)")
            .WithDescription("Binary messages out are what the guest writes, its last 64 KiB first. Text and binary messages in are typed into the guest. One viewer writes at a time; text messages out are notices (`ConsoleNotice`).")
            .Produces(StatusCodes.Status101SwitchingProtocols).ProducesProblem(400).ProducesProblem(404).ProducesProblem(409).ProducesProblem(502).ProducesProblem(503);

    private static async Task AttachAsync(
        HttpContext context, string name, VmOwners owners, VolantStore store, HostResources resources, SerialConsoles consoles, TimeProvider clock, IHostApplicationLifetime lifetime)
    {
        Sockets.Require(context);
        var owner = owners.Get(name);
        owners.GetGuest(name);
        var paths = resources.PathsOf(store.FindVm(owner.Id)!.Vm.Uid);
        using var viewer = await consoles.JoinAsync(paths.SerialSocket, paths.ConsoleLog, context.RequestAborted);
        using var socket = await Sockets.AcceptAsync(context);
        await Sockets.ServeAsync(
            socket, (sender, stop) => SendAsync(viewer, sender, stop), new MessageReceiver(MaxMessage, viewer.WriteAsync).RunAsync, clock, lifetime.ApplicationStopping);
    }

    private static async Task<SocketEnd> SendAsync(SerialViewer viewer, MessageSender sender, CancellationToken stop)
    {
        while (await viewer.Feed.WaitAsync(stop))
        {
            while (viewer.Feed.TryTake(out var frame))
            {
                await sender.SendAsync(frame.Bytes, frame.IsText ? WebSocketMessageType.Text : WebSocketMessageType.Binary);
            }
        }

        if (viewer.HasEnded)
        {
            return new SocketEnd(WebSocketCloseStatus.NormalClosure, "the VM ended");
        }

        await sender.SendAsync(SerialConsole.TooSlow.Bytes, WebSocketMessageType.Text);
        return SocketEnd.TooSlow;
    }
}
