using System.Runtime.CompilerServices;
using System.Text.Json;
using Volant.Contracts;
using Volant.Contracts.Api;
using Volant.Daemon.Store;

namespace Volant.Daemon.Api;

/// <summary>Lifecycle events and log lines in one stream.</summary>
internal static class EventMerge
{
    /// <summary>Number of an event that has none: log lines are not kept, so nobody can resume after one.</summary>
    public const long NoSequence = 0;

    /// <summary>Both sources as they come; ends with the first of them, because a reader must not miss one and not know.</summary>
    public static async IAsyncEnumerable<SequencedEvent> MergeAsync(
        IAsyncEnumerable<SequencedEvent> events, IAsyncEnumerable<VmEvent> lines, [EnumeratorCancellation] CancellationToken cancellationToken)
    {
        using var stop = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        await using var eventSource = events.GetAsyncEnumerator(stop.Token);
        await using var lineSource = lines.GetAsyncEnumerator(stop.Token);
        var nextEvent = eventSource.MoveNextAsync().AsTask();
        var nextLine = lineSource.MoveNextAsync().AsTask();
        try
        {
            while (true)
            {
                await Task.WhenAny(nextEvent, nextLine);

                // An event first: lines may come without a pause.
                if (nextEvent.IsCompleted)
                {
                    if (!await nextEvent)
                    {
                        yield break;
                    }

                    yield return eventSource.Current;
                    nextEvent = eventSource.MoveNextAsync().AsTask();
                }
                else
                {
                    if (!await nextLine)
                    {
                        yield break;
                    }

                    yield return new SequencedEvent(NoSequence, lineSource.Current, JsonSerializer.Serialize(lineSource.Current, ContractsJson.Readable.VmEvent));
                    nextLine = lineSource.MoveNextAsync().AsTask();
                }
            }
        }
        finally
        {
            // An enumerator must not be disposed while it is moving.
            await stop.CancelAsync();
            await Task.WhenAny(Task.WhenAll(nextEvent, nextLine));
        }
    }
}
