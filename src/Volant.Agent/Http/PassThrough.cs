using System.Globalization;
using System.Text;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Http.Features;
using Volant.Agent.Workloads;
using Volant.Contracts.Api;

namespace Volant.Agent.Http;

/// <summary>Passes a request on to the workload and its answer back: bodies streamed both ways at once, nothing buffered, nothing followed.</summary>
internal sealed class PassThrough(WorkloadTarget target, AgentStatus status, TimeProvider clock)
{
    /// <summary>Longest wait for the head of an answer, counted from the last byte of the request that was sent.</summary>
    public static readonly TimeSpan HeadTimeout = TimeSpan.FromSeconds(120);

    private const int CopySize = 16 * 1024;
    private const int ChunkHeadSize = 8;

    private static ReadOnlySpan<byte> ChunkEnd => "\r\n"u8;

    /// <summary>Handles one request.</summary>
    public async Task HandleAsync(HttpContext context)
    {
        var workload = status.Current.Workload;
        if (workload.Status != WorkloadStatus.Running)
        {
            await Problems.WriteAsync(context, 503, ErrorCodes.Unavailable, $"The workload does not run (status '{workload.Status}'). {workload.Message}".TrimEnd());
            return;
        }

        var webSocket = WebSocketRequest.From(context);
        var path = RequestHead.PathOf(context.Features.GetRequiredFeature<IHttpRequestFeature>().RawTarget);
        var isConnect = HttpMethods.IsConnect(context.Request.Method) && webSocket is null;
        var shape = path is null || isConnect ? default : ShapeOf(context, path, webSocket);
        if (path is null || isConnect || RequestHead.Write(target, shape, context.Request.Headers) is not { } head)
        {
            await Problems.WriteAsync(context, 400, ErrorCodes.InvalidRequest, "The request cannot be passed on: its method, path or a header field is not valid in HTTP/1.1.");
            return;
        }

        using var patience = new CancellationTokenSource(HeadTimeout, clock);
        using var either = CancellationTokenSource.CreateLinkedTokenSource(patience.Token, context.RequestAborted);
        try
        {
            using var connection = await WorkloadConnection.OpenAsync(target, clock, either.Token);
            await connection.WriteAsync(head, either.Token);
            if (webSocket is null)
            {
                await ExchangeAsync(context, connection, shape, patience, either.Token);
            }
            else
            {
                await SwitchAsync(context, connection, webSocket, patience, either.Token);
            }
        }
        catch (OperationCanceledException) when (context.RequestAborted.IsCancellationRequested)
        {
            // The caller left; disposing the connection tells the workload.
            context.Abort();
        }
        catch (OperationCanceledException)
        {
            await Problems.WriteAsync(context, 504, ErrorCodes.Timeout, $"The workload did not answer within {HeadTimeout.TotalSeconds} s.");
        }
        catch (IOException e)
        {
            await Problems.WriteAsync(context, 502, ErrorCodes.AgentUnreachable, e.Message);
        }
    }

    private static RequestShape ShapeOf(HttpContext context, string path, WebSocketRequest? webSocket)
    {
        if (webSocket is not null)
        {
            return new RequestShape("GET", path, null, IsChunked: false, webSocket.Key);
        }

        var hasBody = context.Features.Get<IHttpRequestBodyDetectionFeature>()?.CanHaveBody ?? false;
        var method = context.Request.Method;
        var length = context.Request.ContentLength ?? (!hasBody && method is "POST" or "PUT" or "PATCH" ? 0 : null);
        return new RequestShape(method, path, length, IsChunked: hasBody && length is null, null);
    }

    private static async Task ExchangeAsync(
        HttpContext context, WorkloadConnection connection, RequestShape shape, CancellationTokenSource patience, CancellationToken cancellationToken)
    {
        using var answered = CancellationTokenSource.CreateLinkedTokenSource(context.RequestAborted);
        var upload = shape.IsChunked || shape.Length > 0
            ? UploadAsync(context, connection, shape, patience, answered.Token)
            : Task.CompletedTask;
        try
        {
            // An answer may come before the whole request was sent, and ends the exchange.
            var head = await connection.ReadHeadAsync(cancellationToken);
            patience.CancelAfter(Timeout.InfiniteTimeSpan);
            await AnswerAsync(context, head, connection.Body(head, shape.Method));
        }
        finally
        {
            await answered.CancelAsync();
            await upload;
        }
    }

    private static async Task SwitchAsync(
        HttpContext context, WorkloadConnection connection, WebSocketRequest webSocket, CancellationTokenSource patience, CancellationToken cancellationToken)
    {
        var head = await connection.ReadHeadAsync(cancellationToken);
        patience.CancelAfter(Timeout.InfiniteTimeSpan);
        if (head.Status == 101)
        {
            await webSocket.AcceptAsync(context, head, connection);
        }
        else
        {
            await AnswerAsync(context, head, connection.Body(head, "GET"));
        }
    }

    private static async Task AnswerAsync(HttpContext context, ResponseHead head, ResponseBody body)
    {
        if (head.Status == 101)
        {
            throw new WorkloadProtocolException("The workload switched protocols without being asked to.");
        }

        ResponseFields.Copy(head, context.Response);
        await context.Response.StartAsync(context.RequestAborted);
        var writer = context.Response.BodyWriter;
        while (true)
        {
            // Flushed after every read: an event stream must not wait for a full buffer.
            var count = await body.ReadAsync(writer.GetMemory(CopySize), context.RequestAborted);
            if (count == 0)
            {
                return;
            }

            writer.Advance(count);
            if ((await writer.FlushAsync(context.RequestAborted)).IsCompleted)
            {
                // The caller left. Without the abort the server would complain of an answer that is too short.
                context.Abort();
                return;
            }
        }
    }

    private static async Task UploadAsync(
        HttpContext context, WorkloadConnection connection, RequestShape shape, CancellationTokenSource patience, CancellationToken cancellationToken)
    {
        var buffer = new byte[ChunkHeadSize + CopySize + ChunkEnd.Length];
        try
        {
            while (true)
            {
                var count = await context.Request.Body.ReadAsync(buffer.AsMemory(ChunkHeadSize, CopySize), cancellationToken);
                if (shape.IsChunked)
                {
                    await connection.WriteAsync(Chunk(buffer, count), cancellationToken);
                }
                else
                {
                    await connection.WriteAsync(buffer.AsMemory(ChunkHeadSize, count), cancellationToken);
                }

                if (count == 0)
                {
                    return;
                }

                Extend(patience);
            }
        }
        catch (Exception e) when (e is IOException or OperationCanceledException)
        {
            // The workload stopped reading, perhaps because it has answered, or the caller left: the answer, or its absence, decides.
        }
    }

    /// <summary>Puts size and end around the bytes at <see cref="ChunkHeadSize"/>; no bytes make the last chunk.</summary>
    private static ReadOnlyMemory<byte> Chunk(byte[] buffer, int count)
    {
        var head = Encoding.ASCII.GetBytes(string.Create(CultureInfo.InvariantCulture, $"{count:x}\r\n"));
        var start = ChunkHeadSize - head.Length;
        head.CopyTo(buffer, start);
        ChunkEnd.CopyTo(buffer.AsSpan(ChunkHeadSize + count));
        return buffer.AsMemory(start, head.Length + count + ChunkEnd.Length);
    }

    private static void Extend(CancellationTokenSource patience)
    {
        if (patience.IsCancellationRequested)
        {
            return;
        }

        patience.CancelAfter(HeadTimeout);
    }
}
