using System.Buffers;
using System.Globalization;
using System.Net.WebSockets;
using System.Text;
using System.Text.Json;
using Microsoft.AspNetCore.Http.Timeouts;
using Volant.Contracts;
using Volant.Contracts.Api;
using Volant.Daemon.Logs;
using Volant.Daemon.Store;

namespace Volant.Daemon.Api;

/// <summary><c>/api/v1/vms/{name}/logs</c> and <c>/ws/v1/vms/{name}/logs</c>: what the workload wrote, kept across restarts of VM and daemon.</summary>
/// <remarks>Source of the event stream: WHATWG HTML, section 9.2 (server-sent events).</remarks>
internal static class LogEndpoints
{
    private const string EventStream = "text/event-stream";
    private const int FlushBytes = 32 * 1024;

    public static void MapLogs(this IEndpointRouteBuilder routes)
    {
        routes.MapGet("/api/v1/vms/{name}/logs", WriteAsync).WithTags("vms").WithMetadata(new DisableRequestTimeoutAttribute()).WithName("getVMLogs").WithSummary("Read or follow the log of a VM")
            .WithDescription("`tail`: most lines of what is there (1000). `since`: a time as in RFC 3339, or how long ago, such as 10m. `stream`: stdout, stderr or console. `follow`: 1 to go on with new lines. A workload that never wrote is replaced by the console. As an event stream each line is a `LogLine` with an id to resume from.")
            .Produces<string>(200, "text/plain", EventStream).ProducesProblem(400).ProducesProblem(404);
        routes.MapGet("/ws/v1/vms/{name}/logs", AttachAsync).WithTags("vms").WithMetadata(new DisableRequestTimeoutAttribute()).WithName("followVMLogs").WithSummary("Follow the log of a VM (WebSocket)")
            .WithDescription("One text message per line, a `LogLine` with `name`; lines that are there come first. Takes `tail`, `since` and `stream` as `getVMLogs` does.")
            .Produces(StatusCodes.Status101SwitchingProtocols).ProducesProblem(400).ProducesProblem(404);
    }

    private static async Task WriteAsync(
        HttpContext context, string name, string? tail, string? follow, string? since, string? stream,
        VolantStore store, LogReader logs, TimeProvider clock, IHostApplicationLifetime lifetime)
    {
        var vm = Find(store, name);
        var faults = new QueryFaults();
        var follows = faults.Switch("follow", follow);
        var asEvents = context.Request.Headers.Accept.Any(accept => accept?.Contains(EventStream, StringComparison.OrdinalIgnoreCase) ?? false);
        var query = Parse(faults, tail, since, stream, clock) with { AfterId = asEvents && context.Request.Headers["Last-Event-ID"] is [{ Length: > 0 } id] ? id : null };
        context.Response.ContentType = asEvents ? EventStream : "text/plain; charset=utf-8";
        context.Response.Headers.CacheControl = "no-store";
        using var stop = CancellationTokenSource.CreateLinkedTokenSource(context.RequestAborted, lifetime.ApplicationStopping);
        var writer = context.Response.BodyWriter;
        try
        {
            await context.Response.StartAsync(stop.Token);
            await foreach (var line in logs.ReadAsync(vm, query, follows, consoleInstead: true, stop.Token))
            {
                if (line is not null)
                {
                    Write(writer, line, asEvents);
                }
                else if (asEvents)
                {
                    writer.Write(": \n\n"u8);
                }

                if (line is null || writer.UnflushedBytes > FlushBytes)
                {
                    await writer.FlushAsync(stop.Token);
                }
            }

            await writer.FlushAsync(stop.Token);
        }
        catch (OperationCanceledException)
        {
            // The client left, or the daemon stops.
        }
    }

    private static async Task AttachAsync(
        HttpContext context, string name, string? tail, string? since, string? stream, VolantStore store, LogReader logs, TimeProvider clock, IHostApplicationLifetime lifetime)
    {
        Sockets.Require(context);
        var vm = Find(store, name);
        var query = Parse(new QueryFaults(), tail, since, stream, clock);
        using var socket = await Sockets.AcceptAsync(context);
        await Sockets.ServeAsync(
            socket,
            async (sender, stop) =>
            {
                await foreach (var line in logs.ReadAsync(vm, query, follow: true, consoleInstead: false, stop))
                {
                    if (line is not null)
                    {
                        var message = JsonSerializer.SerializeToUtf8Bytes(line with { Id = null, Name = name }, ContractsJson.Readable.LogLine);
                        await sender.SendAsync(message, WebSocketMessageType.Text);
                    }
                }

                return store.FindVm(vm.Id) is null ? new SocketEnd(WebSocketCloseStatus.NormalClosure, "the VM was deleted") : SocketEnd.TooSlow;
            },
            MessageReceiver.Ignore.RunAsync,
            clock,
            lifetime.ApplicationStopping);
    }

    /// <summary>The VM whose log is wanted; one that is being deleted still has it.</summary>
    /// <exception cref="VolantException"><c>vm_not_found</c>.</exception>
    public static VmRecord Find(VolantStore store, string name) =>
        store.FindVm(name) ?? throw VolantStore.NoVm(name);

    /// <summary>Reads what a client writes to say which lines it wants.</summary>
    /// <exception cref="VolantException"><c>invalid_request</c> with every fault, those collected before included.</exception>
    public static LogQuery Parse(QueryFaults faults, string? tail, string? since, string? stream, TimeProvider clock)
    {
        var query = new LogQuery
        {
            Tail = faults.Number("tail", tail, new LogQuery().Tail, 0, LogQuery.MaxTail),
            Stream = string.IsNullOrEmpty(stream) ? null : faults.Choice("stream", stream, [LogStreams.Stdout, LogStreams.Stderr, LogStreams.Console]),
            Since = string.IsNullOrEmpty(since) ? null : ParseSince(since, clock),
        };
        if (!string.IsNullOrEmpty(since) && query.Since is null)
        {
            faults.Add("since", "must be a time as in RFC 3339 (2026-01-31T12:00:00Z) or how long ago (90s, 10m, 2h, 1d)");
        }

        faults.Reject();
        return query;
    }

    /// <summary>A moment (RFC 3339), or how long ago: a whole number with s, m, h or d. Null when it is neither.</summary>
    private static DateTimeOffset? ParseSince(string text, TimeProvider clock)
    {
        const int mostDays = 36_500;
        if (text.Length > 1 && long.TryParse(text.AsSpan(..^1), NumberStyles.None, CultureInfo.InvariantCulture, out var count))
        {
            long? unit = text[^1] switch { 's' => 1, 'm' => 60, 'h' => 3600, 'd' => 86_400, _ => null };
            if (unit is { } seconds && count <= mostDays * 86_400L / seconds)
            {
                return clock.GetUtcNow() - TimeSpan.FromSeconds(count * seconds);
            }
        }

        return text.Length >= "2026-01-01T00:00:00Z".Length && DateTimeOffset.TryParse(text, CultureInfo.InvariantCulture, DateTimeStyles.AssumeUniversal, out var moment) ? moment : null;
    }

    private static void Write(IBufferWriter<byte> writer, LogLine line, bool asEvent)
    {
        if (!asEvent)
        {
            Encoding.UTF8.GetBytes(LogTail.Clean(line.Line), writer);
            writer.Write("\n"u8);
            return;
        }

        if (line.Id is not null)
        {
            Encoding.UTF8.GetBytes($"id: {line.Id}\n", writer);
        }

        writer.Write("data: "u8);
        writer.Write(JsonSerializer.SerializeToUtf8Bytes(line with { Id = null }, ContractsJson.Readable.LogLine));
        writer.Write("\n\n"u8);
    }
}
