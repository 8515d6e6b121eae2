using System.Globalization;
using System.Net.WebSockets;
using Microsoft.AspNetCore.Http.Timeouts;
using Volant.Contracts.Api;
using Volant.Daemon.Guests;
using Volant.Daemon.Orchestration;

namespace Volant.Daemon.Api;

/// <summary><c>/ws/v1/vms/{name}/tunnel?port=</c>: TCP to a port inside a guest, see <see cref="TunnelRules"/>.</summary>
internal static class TunnelEndpoints
{
    private const int ReadSize = 32 * 1024;

    public static void MapTunnel(this IEndpointRouteBuilder routes) =>
        routes.MapGet("/ws/v1/vms/{name}/tunnel", AttachAsync).WithTags("vms").WithMetadata(new DisableRequestTimeoutAttribute()).WithName("openVMTunnel").WithSummary("TCP connection to a port inside a VM (WebSocket)")
            .WithDescription("Binary frames both ways; one without bytes ends its direction. The connection is made to 127.0.0.1 in the guest, before the handshake is answered.")
            .Produces(StatusCodes.Status101SwitchingProtocols).ProducesProblem(400).ProducesProblem(404).ProducesProblem(409).ProducesProblem(502).ProducesProblem(503).ProducesProblem(504);

    private static async Task AttachAsync(HttpContext context, string name, string? port, VmOwners owners, DaemonOptions options, TimeProvider clock, IHostApplicationLifetime lifetime)
    {
        Sockets.Require(context);
        var query = new QueryFaults();
        var number = query.Number("port", port, 0, 1, ushort.MaxValue);
        if (string.IsNullOrEmpty(port))
        {
            query.Add("port", "is required: a TCP port inside the VM, from 1 to 65535");
        }

        query.Reject();
        var path = string.Create(CultureInfo.InvariantCulture, $"v1/agent/tunnel?port={number}");
        using var stream = await GuestStream.OpenAsync(owners.GetGuest(name), name, path, ReadOnlyMemory<byte>.Empty, options.AgentTimeout, context.RequestAborted);
        using var socket = await Sockets.AcceptAsync(context);
        var sent = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        await Sockets.ServeAsync(
            socket, (sender, stop) => SendAsync(stream, sender, sent.Task, stop), (client, abort) => ReceiveAsync(stream, client, sent, abort), clock, lifetime.ApplicationStopping, Timeout.InfiniteTimeSpan);
    }

    private static async Task<SocketEnd> SendAsync(GuestStream stream, MessageSender sender, Task clientIsDone, CancellationToken stop)
    {
        var buffer = new byte[ReadSize];
        try
        {
            while (await stream.Input.ReadAsync(buffer, stop) is > 0 and var count)
            {
                await sender.SendAsync(buffer.AsMemory(0, count), WebSocketMessageType.Binary);
            }
        }
        catch (Exception e) when (e is HttpRequestException or HttpIOException)
        {
            return new SocketEnd(WebSocketCloseStatus.InternalServerError, "the connection in the guest broke");
        }

        await sender.SendAsync(ReadOnlyMemory<byte>.Empty, WebSocketMessageType.Binary);
        await clientIsDone.WaitAsync(stop);
        return SocketEnd.Left;
    }

    private static async Task<SocketEnd> ReceiveAsync(GuestStream stream, WebSocket client, TaskCompletionSource done, CancellationToken abort)
    {
        var messages = new MessageReader(client);
        try
        {
            while (await messages.ReadAsync(TunnelRules.MaxFrameBytes, abort) is var (type, bytes))
            {
                if (type != WebSocketMessageType.Binary)
                {
                    return new SocketEnd(WebSocketCloseStatus.InvalidMessageType, "a tunnel takes binary frames");
                }

                if (bytes.IsEmpty)
                {
                    stream.Complete();
                    done.TrySetResult();
                }
                else if (!done.Task.IsCompleted)
                {
                    await WriteAsync(stream, bytes, done, abort);
                }
            }

            return SocketEnd.Left;
        }
        catch (InvalidDataException e)
        {
            return new SocketEnd(WebSocketCloseStatus.MessageTooBig, e.Message);
        }
        catch (Exception e) when (e is WebSocketException or IOException or OperationCanceledException or ObjectDisposedException)
        {
            return SocketEnd.Left;
        }
    }

    private static async Task WriteAsync(GuestStream stream, ReadOnlyMemory<byte> bytes, TaskCompletionSource done, CancellationToken abort)
    {
        try
        {
            await stream.WriteAsync(bytes, abort);
        }
        catch (Exception e) when (e is IOException or HttpRequestException)
        {
            // The program in the guest takes no more: what it still sends is passed on.
            done.TrySetResult();
        }
    }
}
