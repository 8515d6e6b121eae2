using System.Buffers.Binary;
using System.Globalization;
using System.Net;
using System.Net.Sockets;
using Microsoft.AspNetCore.Http;
using Volant.Contracts.Api;

namespace Volant.Agent.Http;

/// <summary>
/// <c>POST /v1/agent/datagrams?port=</c>: request and answer are the two directions of a UDP socket that is connected to 127.0.0.1 in the guest. Each datagram stands
/// behind its length, 2 bytes with the most significant one first. It ends with the request, or with an error when nothing listens at the port.
/// </summary>
internal static class DatagramRoute
{
    private const int HeadBytes = 2;
    private const int MaxBytes = HeadBytes + ushort.MaxValue;

    /// <summary>Serves one request; needs HTTP/2, which passes bytes both ways at once.</summary>
    public static async Task HandleAsync(HttpContext context)
    {
        if (context.Request.Query["port"] is not [var text] || !ushort.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out var port) || port == 0)
        {
            await Problems.WriteAsync(context, 400, ErrorCodes.InvalidRequest, "'port' must be a UDP port from 1 to 65535.");
            return;
        }

        using var socket = new Socket(AddressFamily.InterNetwork, SocketType.Dgram, ProtocolType.Udp);
        using var over = CancellationTokenSource.CreateLinkedTokenSource(context.RequestAborted);
        try
        {
            await socket.ConnectAsync(new IPEndPoint(IPAddress.Loopback, port), over.Token);
            context.Response.ContentType = "application/octet-stream";
            await context.Response.StartAsync(over.Token);

            // The head leaves with the first bytes, or with this: the caller waits for it before it sends.
            await context.Response.Body.FlushAsync(over.Token);
            var up = UpAsync(context.Request.Body, socket, over.Token);
            var down = DownAsync(socket, context.Response.Body, over.Token);
            await Task.WhenAny(up, down);
            await over.CancelAsync();
            await Task.WhenAll(up, down);
        }
        catch (Exception e) when (e is IOException or SocketException or OperationCanceledException)
        {
            if (!context.RequestAborted.IsCancellationRequested)
            {
                context.Abort();
            }
        }
    }

    private static async Task UpAsync(Stream request, Socket socket, CancellationToken cancellationToken)
    {
        var buffer = new byte[MaxBytes];
        while (await request.ReadAtLeastAsync(buffer.AsMemory(0, HeadBytes), HeadBytes, throwOnEndOfStream: false, cancellationToken) == HeadBytes)
        {
            var datagram = buffer.AsMemory(HeadBytes, BinaryPrimitives.ReadUInt16BigEndian(buffer));
            await request.ReadExactlyAsync(datagram, cancellationToken);
            await socket.SendAsync(datagram, cancellationToken);
        }
    }

    private static async Task DownAsync(Socket socket, Stream answer, CancellationToken cancellationToken)
    {
        var buffer = new byte[MaxBytes];
        while (true)
        {
            var count = await socket.ReceiveAsync(buffer.AsMemory(HeadBytes), cancellationToken);
            BinaryPrimitives.WriteUInt16BigEndian(buffer, (ushort)count);
            await answer.WriteAsync(buffer.AsMemory(0, HeadBytes + count), cancellationToken);
            await answer.FlushAsync(cancellationToken);
        }
    }
}
