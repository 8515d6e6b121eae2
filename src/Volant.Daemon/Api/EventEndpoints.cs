using System.Globalization;
using System.Text.Json;
using Microsoft.AspNetCore.Http.Timeouts;
using Volant.Contracts;
using Volant.Contracts.Api;
using Volant.Daemon.Artifacts;
using Volant.Daemon.Events;
using Volant.Daemon.Logs;
using Volant.Daemon.Store;

namespace Volant.Daemon.Api;

/// <summary><c>/api/v1/events</c>: what happens to VMs, with numbers to resume from, and what comes into the artifact cache.</summary>
internal static class EventEndpoints
{
    private const int PageSize = 500;

    public static void MapEvents(this IEndpointRouteBuilder routes)
    {
        routes.MapGet("/api/v1/events/vms", StreamAsync).WithTags("events").WithName("streamVMEvents").WithMetadata(new DisableRequestTimeoutAttribute()).WithSummary("Stream the events of all VMs")
            .WithDescription(
                "Server-sent events: `id` is the number of the event, `event` its type, `data` a VMEvent. Send the last number as Last-Event-ID to resume: every later event follows. " +
                "When that number is not known any more the first event is `gap`: read the state anew, and go on from its `id`. A comment is sent every 15 s. A client that falls 1,024 events behind is cut off and should resume. " +
                "`logs=1` adds every new line of every workload as VM_LOG; these have no id, and nobody can resume after one. " +
                "`follow=0` sends the events that are kept after Last-Event-ID, all of them without one, and ends; log lines are not kept.")
            .Produces<VmEvent>(200, "text/event-stream").ProducesProblem(400);
        routes.MapGet("/api/v1/events/artifacts", StreamTransfersAsync).WithTags("events").WithName("streamArtifactEvents").WithMetadata(new DisableRequestTimeoutAttribute()).WithSummary("Stream the progress of what comes into the artifact cache")
            .WithDescription("Server-sent events: `event` is the state of a transfer (running, done, failed), `data` an ArtifactTransfer. Those under way come first; a running one is told at most four times a second. Nothing is kept, so nobody can resume.")
            .Produces<ArtifactTransfer>(200, "text/event-stream");
    }

    private static async Task StreamAsync(HttpContext context, string? logs, string? follow, EventBus bus, VolantStore store, LogHub hub, TimeProvider clock, IHostApplicationLifetime lifetime)
    {
        var (withLogs, follows) = ParseQuery(logs, follow);
        var place = ParsePlace(context.Request);
        if (!follows)
        {
            context.Response.ContentType = "text/event-stream";
            context.Response.Headers.CacheControl = "no-store";
            await SendKeptAsync(context, store, place ?? 0);
            return;
        }

        using var stop = CancellationTokenSource.CreateLinkedTokenSource(context.RequestAborted, lifetime.ApplicationStopping);
        var subscription = bus.Open(place, stop.Token);
        var source = withLogs ? EventMerge.MergeAsync(subscription.Events, hub.SubscribeAllAsync(stop.Token), stop.Token) : subscription.Events;
        await ServerSentEvents.WriteAsync(context, subscription.Missed ? Gap(subscription.After) : ": connected\n\n", source, Frame, clock, stop);
    }

    private static async Task StreamTransfersAsync(HttpContext context, ArtifactTransfers transfers, TimeProvider clock, IHostApplicationLifetime lifetime)
    {
        using var stop = CancellationTokenSource.CreateLinkedTokenSource(context.RequestAborted, lifetime.ApplicationStopping);
        await ServerSentEvents.WriteAsync(
            context, ": connected\n\n", transfers.FollowAsync(stop.Token),
            transfer => $"event: {transfer.State}\ndata: {JsonSerializer.Serialize(transfer, ContractsJson.Readable.ArtifactTransfer)}\n\n", clock, stop);
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
