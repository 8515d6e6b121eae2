using System.Globalization;
using System.Text;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Http.Features;
using Volant.Agent.Workloads;
using Volant.Contracts.Api;
using Volant.Contracts.Manifests;

namespace Volant.Agent.Http;

/// <summary>Passes a request on to the workload and its answer back: bodies streamed both ways at once, nothing buffered, nothing followed.</summary>
/// <remarks>An action of the manifest is found at its method and path, and at that path under /v1, too; its time limit is the manifest's (contract §9).</remarks>
internal sealed class PassThrough(WorkloadTarget target, IReadOnlyCollection<ManifestAction> actions, AgentStatus status, TimeProvider clock)
{
    /// <summary>Longest wait for the head of an answer, counted from the last byte of the request that was sent.</summary>
    public static readonly TimeSpan HeadTimeout = TimeSpan.FromSeconds(120);

    private const int CopySize = 16 * 1024;
    private const int ChunkHeadSize = 8;
    private const string VersionPrefix = "/v1";

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
        var action = path is null ? null : Find(context.Request.Method, path.Split('?')[0]);
        var limit = action?.TimeoutMs is { } milliseconds ? TimeSpan.FromMilliseconds(milliseconds) : HeadTimeout;
        path = action is not null && path!.StartsWith(VersionPrefix + action.Path!.Split('?')[0], StringComparison.Ordinal) ? path[VersionPrefix.Length..] : path;
        var isConnect = HttpMethods.IsConnect(context.Request.Method) && webSocket is null;
        var shape = path is null || isConnect ? default : ShapeOf(context, path, webSocket);
        if (path is null || isConnect || RequestHead.Write(target, shape, context.Request.Headers) is not { } head)
        {
            await Problems.WriteAsync(context, 400, ErrorCodes.InvalidRequest, "The request cannot be passed on: its method, path or a header field is not valid in HTTP/1.1.");
            return;
        }

        using var patience = new Patience(limit, clock);
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
            await Problems.WriteAsync(context, 504, ErrorCodes.Timeout, $"The workload did not answer within {limit.TotalSeconds} s.");
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
        HttpContext context, WorkloadConnection connection, RequestShape shape, Patience patience, CancellationToken cancellationToken)
    {
        using var answered = CancellationTokenSource.CreateLinkedTokenSource(context.RequestAborted);
        var upload = shape.IsChunked || shape.Length > 0
            ? UploadAsync(context, connection, shape, patience, answered.Token)
            : Task.CompletedTask;
        try
        {
            // An answer may come before the whole request was sent, and ends the exchange.
            var head = await connection.ReadHeadAsync(cancellationToken);
            patience.Meet();
            await AnswerAsync(context, head, connection.Body(head, shape.Method));
        }
        finally
        {
            await answered.CancelAsync();
            await upload;
        }
    }

    private static async Task SwitchAsync(
        HttpContext context, WorkloadConnection connection, WebSocketRequest webSocket, Patience patience, CancellationToken cancellationToken)
    {
        var head = await connection.ReadHeadAsync(cancellationToken);
        patience.Meet();
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
        HttpContext context, WorkloadConnection connection, RequestShape shape, Patience patience, CancellationToken cancellationToken)
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

                patience.Extend();
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

    private ManifestAction? Find(string method, string path)
    {
        foreach (var action in actions)
        {
            var own = action.Path!.Split('?')[0];
            if (action.Method == method && (path == own || (path.Length == VersionPrefix.Length + own.Length && path.StartsWith(VersionPrefix, StringComparison.Ordinal) && path.EndsWith(own, StringComparison.Ordinal))))
            {
                return action;
            }
        }

        return null;
    }

    /// <summary>Runs out unless the head of an answer comes; begins anew with every part of the request that is sent.</summary>
    private sealed class Patience(TimeSpan limit, TimeProvider clock) : IDisposable
    {
        private readonly CancellationTokenSource _source = new(limit, clock);

        public CancellationToken Token => _source.Token;

        public void Meet() => _source.CancelAfter(Timeout.InfiniteTimeSpan);

        public void Extend()
        {
            if (!_source.IsCancellationRequested)
            {
                _source.CancelAfter(limit);
            }
        }

        public void Dispose() => _source.Dispose();
    }
}
