using System.Globalization;
using System.Net;
using Microsoft.AspNetCore.Http;
using Volant.Contracts.Api;

namespace Volant.Agent.Http;

/// <summary><c>POST /v1/agent/tunnel?port=</c>: request and answer are the two directions of a TCP connection to 127.0.0.1 in the guest.</summary>
internal sealed class TunnelRoutes(TimeProvider clock)
{
    private const int CopySize = 32 * 1024;

    /// <summary>The routes.</summary>
    public IEnumerable<AgentRoute> Routes => [new("POST", "/v1/agent/tunnel", ServeAsync, RouteTraits.HostOnly)];

    private async Task ServeAsync(HttpContext context)
    {
        if (context.Request.Query["port"] is not [var text] || !ushort.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out var port) || port == 0)
        {
            await Problems.WriteAsync(context, 400, ErrorCodes.InvalidRequest, "'port' must be a TCP port from 1 to 65535.");
            return;
        }

        try
        {
            using var connection = await OpenAsync(port, context.RequestAborted);
            context.Response.ContentType = "application/octet-stream";
            await context.Response.StartAsync(context.RequestAborted);

            // The head would leave with the first bytes, and many programs wait for the caller's.
            await context.Response.Body.FlushAsync(context.RequestAborted);
            await CarryAsync(context, connection);
        }
        catch (WorkloadUnreachableException e)
        {
            await Problems.WriteAsync(context, 502, ErrorCodes.ConnectionRefused, $"{e.Message} Start a program in the guest that listens there.");
        }
        catch (Exception e) when (e is IOException or OperationCanceledException or ObjectDisposedException)
        {
            context.Abort();
        }
    }

    private async Task<WorkloadConnection> OpenAsync(ushort port, CancellationToken cancellationToken)
    {
        var address = new IPEndPoint(IPAddress.Loopback, port);
        try
        {
            return await WorkloadConnection.OpenAsync(new WorkloadTarget(address, address.ToString(), string.Empty), clock, cancellationToken);
        }
        catch (IOException e)
        {
            throw new WorkloadUnreachableException(e.Message, e);
        }
    }

    private static async Task CarryAsync(HttpContext context, WorkloadConnection connection)
    {
        using var over = CancellationTokenSource.CreateLinkedTokenSource(context.RequestAborted);
        var up = UpAsync(context, connection, over.Token);
        try
        {
            await DownAsync(context, connection);

            // The guest has said everything; what the caller still has to say finds a reader or fails.
            await up;
        }
        finally
        {
            await over.CancelAsync();
            await up;
        }
    }

    private static async Task UpAsync(HttpContext context, WorkloadConnection connection, CancellationToken cancellationToken)
    {
        var buffer = new byte[CopySize];
        try
        {
            while (await context.Request.Body.ReadAsync(buffer, cancellationToken) is > 0 and var count)
            {
                await connection.WriteAsync(buffer.AsMemory(0, count), cancellationToken);
            }

            connection.CloseSending();
        }
        catch (Exception e) when (e is IOException or OperationCanceledException)
        {
            // The program hung up, or the caller left: the other direction tells.
            connection.Dispose();
        }
    }

    private static async Task DownAsync(HttpContext context, WorkloadConnection connection)
    {
        var buffer = new byte[CopySize];
        while (await connection.ReadRawAsync(buffer, context.RequestAborted) is > 0 and var count)
        {
            await context.Response.Body.WriteAsync(buffer.AsMemory(0, count), context.RequestAborted);
            await context.Response.Body.FlushAsync(context.RequestAborted);
        }

        await context.Response.CompleteAsync();
    }

    private sealed class WorkloadUnreachableException(string message, Exception cause) : Exception(message, cause);
}
