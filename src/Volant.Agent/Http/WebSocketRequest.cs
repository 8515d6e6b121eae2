using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Http.Features;
using Volant.Linux.Kernel;

namespace Volant.Agent.Http;

/// <summary>A caller's wish for a WebSocket, in HTTP/2 (RFC 8441) or HTTP/1.1 (RFC 6455), and how it is granted.</summary>
/// <remarks>
/// The agent does not speak WebSocket: after the workload's 101 it passes bytes both ways. It does not check Sec-WebSocket-Accept
/// either: in HTTP/1.1 the caller does, and in HTTP/2 there is none; the hash would need a library that a static program cannot load.
/// </remarks>
internal sealed class WebSocketRequest
{
    /// <summary>How long one direction may outlive the other.</summary>
    private static readonly TimeSpan Linger = TimeSpan.FromSeconds(5);

    private const int CopySize = 16 * 1024;
    private const int KeyBytes = 16;

    private readonly IHttpExtendedConnectFeature? _connect;
    private readonly IHttpUpgradeFeature? _upgrade;

    private WebSocketRequest(string key, IHttpExtendedConnectFeature? connect, IHttpUpgradeFeature? upgrade)
    {
        Key = key;
        _connect = connect;
        _upgrade = upgrade;
    }

    /// <summary>Key for the workload: the caller's, or in HTTP/2 a fresh one.</summary>
    public string Key { get; }

    /// <summary>The wish in a request; null when it is an ordinary one.</summary>
    public static WebSocketRequest? From(HttpContext context)
    {
        if (context.Features.Get<IHttpExtendedConnectFeature>() is { IsExtendedConnect: true } connect)
        {
            return string.Equals(connect.Protocol, "websocket", StringComparison.OrdinalIgnoreCase)
                ? new WebSocketRequest(NewKey(), connect, null)
                : null;
        }

        return context.Features.Get<IHttpUpgradeFeature>() is { IsUpgradableRequest: true } upgrade &&
            string.Equals(context.Request.Headers.Upgrade, "websocket", StringComparison.OrdinalIgnoreCase) &&
            context.Request.Headers.SecWebSocketKey is [{ Length: > 0 and < 128 } key]
            ? new WebSocketRequest(key, null, upgrade)
            : null;
    }

    /// <summary>Grants the wish after the workload's 101 and passes bytes until both sides are done.</summary>
    public async Task AcceptAsync(HttpContext context, ResponseHead head, WorkloadConnection connection)
    {
        await using var caller = await AcceptAsync(context, head);
        using var over = CancellationTokenSource.CreateLinkedTokenSource(context.RequestAborted);
        var up = UpAsync(caller, connection, over.Token);
        var down = DownAsync(caller, connection, over.Token);
        await Task.WhenAny(up, down);
        if (down.IsCompleted)
        {
            // In HTTP/2 the caller sees the end of its answer only when the request is over here.
            await over.CancelAsync();
        }
        else
        {
            over.CancelAfter(Linger);
        }

        await Task.WhenAll(up, down);
    }

    private async Task<Stream> AcceptAsync(HttpContext context, ResponseHead head)
    {
        ResponseFields.CopyFields(head, context.Response);
        if (_connect is not null)
        {
            return await _connect.AcceptAsync();
        }

        foreach (var (name, value) in head.Fields)
        {
            if (name.Equals("Sec-WebSocket-Accept", StringComparison.OrdinalIgnoreCase))
            {
                context.Response.Headers.SecWebSocketAccept = value;
            }
        }

        context.Response.Headers.Upgrade = "websocket";
        return await _upgrade!.UpgradeAsync();
    }

    private static string NewKey()
    {
        Span<byte> bytes = stackalloc byte[KeyBytes];
        KernelRandom.Fill(bytes);
        return Convert.ToBase64String(bytes);
    }

    private static async Task UpAsync(Stream caller, WorkloadConnection connection, CancellationToken cancellationToken)
    {
        var buffer = new byte[CopySize];
        try
        {
            int count;
            while ((count = await caller.ReadAsync(buffer, cancellationToken)) > 0)
            {
                await connection.WriteAsync(buffer.AsMemory(0, count), cancellationToken);
            }
        }
        catch (Exception e) when (e is IOException or OperationCanceledException)
        {
            // Either side is gone: the other copy ends by itself or is cancelled.
        }

        connection.CloseSending();
    }

    private static async Task DownAsync(Stream caller, WorkloadConnection connection, CancellationToken cancellationToken)
    {
        var buffer = new byte[CopySize];
        try
        {
            int count;
            while ((count = await connection.ReadRawAsync(buffer, cancellationToken)) > 0)
            {
                await caller.WriteAsync(buffer.AsMemory(0, count), cancellationToken);
                await caller.FlushAsync(cancellationToken);
            }
        }
        catch (Exception e) when (e is IOException or OperationCanceledException)
        {
            // As above.
        }
    }
}
