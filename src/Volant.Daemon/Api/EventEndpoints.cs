using System.Globalization;
using System.Text.Json;
using Volant.Contracts;
using Volant.Contracts.Api;
using Volant.Daemon.Events;
using Volant.Daemon.Logs;

namespace Volant.Daemon.Api;

/// <summary><c>/api/v1/events/vms</c>: server-sent events with numbers to resume from.</summary>
/// <remarks>Source: WHATWG HTML, section 9.2 (server-sent events).</remarks>
internal static class EventEndpoints
{
    private static readonly TimeSpan Heartbeat = TimeSpan.FromSeconds(15);

    public static void MapEvents(this IEndpointRouteBuilder routes) =>
        routes.MapGet("/api/v1/events/vms", StreamAsync).WithTags("events").WithName("streamVMEvents").WithSummary("Stream the events of all VMs")
            .Produces<VmEvent>(200, "text/event-stream");

    private static async Task StreamAsync(HttpContext context, string? logs, EventBus bus, LogHub hub, TimeProvider clock, IHostApplicationLifetime lifetime)
    {
        using var stop = CancellationTokenSource.CreateLinkedTokenSource(context.RequestAborted, lifetime.ApplicationStopping);
        var after = long.TryParse(context.Request.Headers["Last-Event-ID"], NumberStyles.None, CultureInfo.InvariantCulture, out var last) ? last : (long?)null;
        var events = bus.SubscribeAsync(after, stop.Token);
        var subscription = (logs is "1" or "true" ? EventMerge.MergeAsync(events, hub.SubscribeAllAsync(stop.Token), stop.Token) : events).GetAsyncEnumerator(stop.Token);
        context.Response.ContentType = "text/event-stream";
        context.Response.Headers.CacheControl = "no-store";
        try
        {
            await context.Response.WriteAsync(": connected\n\n", stop.Token);
            await context.Response.Body.FlushAsync(stop.Token);
            var next = subscription.MoveNextAsync().AsTask();
            while (true)
            {
                if (await Task.WhenAny(next, Task.Delay(Heartbeat, clock, stop.Token)) != next)
                {
                    stop.Token.ThrowIfCancellationRequested();
                    await context.Response.WriteAsync(": heartbeat\n\n", stop.Token);
                }
                else if (await next)
                {
                    await WriteAsync(context.Response, subscription.Current, stop.Token);
                    next = subscription.MoveNextAsync().AsTask();
                }
                else
                {
                    return;
                }

                await context.Response.Body.FlushAsync(stop.Token);
            }
        }
        catch (OperationCanceledException)
        {
            // The client left, or the daemon stops: the stream ends here.
        }
        finally
        {
            await stop.CancelAsync();
        }
    }

    private static Task WriteAsync(HttpResponse response, SequencedEvent next, CancellationToken cancellationToken) => response.WriteAsync(
        string.Create(CultureInfo.InvariantCulture, $"{(next.Sequence == EventMerge.NoSequence ? string.Empty : $"id: {next.Sequence}\n")}event: {next.Event.Type}\ndata: {JsonSerializer.Serialize(next.Event, ContractsJson.Default.VmEvent)}\n\n"),
        cancellationToken);
}
