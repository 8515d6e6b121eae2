using System.Globalization;
using System.Text.Json;
using Microsoft.AspNetCore.Http.Timeouts;
using Volant.Contracts;
using Volant.Contracts.Api;
using Volant.Daemon.Events;
using Volant.Daemon.Logs;
using Volant.Daemon.Store;

namespace Volant.Daemon.Api;

/// <summary><c>/api/v1/events/vms</c>: server-sent events with numbers to resume from.</summary>
/// <remarks>Source: WHATWG HTML, section 9.2 (server-sent events).</remarks>
internal static class EventEndpoints
{
    private const int PageSize = 500;

    private static readonly TimeSpan Heartbeat = TimeSpan.FromSeconds(15);

    public static void MapEvents(this IEndpointRouteBuilder routes) =>
        routes.MapGet("/api/v1/events/vms", StreamAsync).WithTags("events").WithName("streamVMEvents").WithMetadata(new DisableRequestTimeoutAttribute()).WithSummary("Stream the events of all VMs")
            .WithDescription(
                "Server-sent events: `id` is the number of the event, `event` its type, `data` a VMEvent. Send the last number as Last-Event-ID to resume: every later event follows. " +
                "When that number is not known any more the first event is `gap`: read the state anew, and go on from its `id`. A comment is sent every 15 s. A client that falls 1,024 events behind is cut off and should resume. " +
                "`logs=1` adds every new line of every workload as VM_LOG; these have no id, and nobody can resume after one. " +
                "`follow=0` sends the events that are kept after Last-Event-ID, all of them without one, and ends; log lines are not kept.")
            .Produces<VmEvent>(200, "text/event-stream").ProducesProblem(400);

    private static async Task StreamAsync(HttpContext context, string? logs, string? follow, EventBus bus, VolantStore store, LogHub hub, TimeProvider clock, IHostApplicationLifetime lifetime)
    {
        var (withLogs, follows) = ParseQuery(logs, follow);
        var place = ParsePlace(context.Request);
        context.Response.ContentType = "text/event-stream";
        context.Response.Headers.CacheControl = "no-store";
        if (!follows)
        {
            await SendKeptAsync(context, store, place ?? 0);
            return;
        }

        using var stop = CancellationTokenSource.CreateLinkedTokenSource(context.RequestAborted, lifetime.ApplicationStopping);
        var subscription = bus.Open(place, stop.Token);
        var source = withLogs ? EventMerge.MergeAsync(subscription.Events, hub.SubscribeAllAsync(stop.Token), stop.Token) : subscription.Events;
        var events = source.GetAsyncEnumerator(stop.Token);
        var next = Task.FromResult(false);
        try
        {
            await context.Response.WriteAsync(subscription.Missed ? Gap(subscription.After) : ": connected\n\n", stop.Token);
            await context.Response.Body.FlushAsync(stop.Token);
            next = events.MoveNextAsync().AsTask();
            while (true)
            {
                if (!next.IsCompleted && await Task.WhenAny(next, Task.Delay(Heartbeat, clock, stop.Token)) != next)
                {
                    stop.Token.ThrowIfCancellationRequested();
                    await context.Response.WriteAsync(": heartbeat\n\n", stop.Token);
                }
                else if (await next)
                {
                    await context.Response.WriteAsync(Frame(events.Current), stop.Token);
                    next = events.MoveNextAsync().AsTask();
                    if (next.IsCompleted)
                    {
                        continue;
                    }
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
            // An enumerator may only be disposed of between two steps: the step under way is ended first.
            await stop.CancelAsync();
            await ((Task)next).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
            await events.DisposeAsync();
        }
    }

    /// <summary>Sends what is kept now; a place that is not kept, at first or because the reader was slow, is a gap and the end.</summary>
    private static async Task SendKeptAsync(HttpContext context, VolantStore store, long after)
    {
        var newest = store.LastSequence();
        while (after != newest)
        {
            if (after > newest || store.ListEvents(after, newest, PageSize) is not { } page)
            {
                await context.Response.WriteAsync(Gap(newest), context.RequestAborted);
                return;
            }

            foreach (var kept in page)
            {
                await context.Response.WriteAsync(Frame(kept), context.RequestAborted);
            }

            after = page is [.., var last] ? last.Sequence : newest;
        }
    }

    private static (bool WithLogs, bool Follows) ParseQuery(string? logs, string? follow)
    {
        var faults = new QueryFaults();
        var withLogs = faults.Switch("logs", logs);
        var follows = string.IsNullOrEmpty(follow) || faults.Switch("follow", follow);
        if (withLogs && !follows)
        {
            faults.Add("logs", "needs follow=1: log lines are not kept among the events");
        }

        faults.Reject();
        return (withLogs, follows);
    }

    private static long? ParsePlace(HttpRequest request)
    {
        var text = request.Headers["Last-Event-ID"].ToString();
        return text.Length == 0 ? null
            : long.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out var last) ? last
            : throw new VolantException(ErrorCodes.InvalidRequest, "Last-Event-ID must be the id of an event, a whole number.") { Fields = [new FieldError("Last-Event-ID", "must be a whole number")] };
    }

    private static string Frame(SequencedEvent next) => string.Create(
        CultureInfo.InvariantCulture, $"{(next.Sequence == EventMerge.NoSequence ? string.Empty : $"id: {next.Sequence}\n")}event: {next.Event.Type}\ndata: {next.Json}\n\n");

    private static string Gap(long after)
    {
        var data = JsonSerializer.Serialize(new EventGap { Message = "Events were missed: the place to resume from is not known any more. Read the state anew.", ResumeAfter = after }, ContractsJson.Readable.EventGap);
        return string.Create(CultureInfo.InvariantCulture, $"id: {after}\nevent: gap\ndata: {data}\n\n");
    }
}
