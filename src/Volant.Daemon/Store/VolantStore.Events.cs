using System.Text.Json;
using Microsoft.Data.Sqlite;
using Volant.Contracts;
using Volant.Contracts.Api;

namespace Volant.Daemon.Store;

/// <summary>An event with its place in the order of all events.</summary>
/// <param name="Sequence">Rises with every event; never the same again, not even after the database was restored from a copy.</param>
/// <param name="Event">What happened.</param>
/// <param name="Json">The same as JSON on one line.</param>
internal sealed record SequencedEvent(long Sequence, VmEvent Event, string Json);

/// <content>Events: written with the change that they tell of, kept in a ring.</content>
internal sealed partial class VolantStore
{
    /// <summary>Events that are kept for clients that come back.</summary>
    public const int EventCapacity = 10_000;

    private const int PruneEvery = 256;

    // Of the writer's thread alone; null until the first event of this daemon. A failed change may leave numbers out.
    private long? _sequence;

    private Action<SequencedEvent>? _committed;

    /// <summary>From now on <paramref name="committed"/> is called on the writer's thread with every event once it is durable, in order; it must be quick and not throw.</summary>
    public void Follow(Action<SequencedEvent> committed) => Interlocked.Exchange(ref _committed, (Action<SequencedEvent>?)Delegate.Combine(_committed, committed));

    /// <summary>Undoes <see cref="Follow"/>.</summary>
    public void Unfollow(Action<SequencedEvent> committed) => Interlocked.Exchange(ref _committed, (Action<SequencedEvent>?)Delegate.Remove(_committed, committed));

    /// <summary>Number of the newest event; 0 when there is none.</summary>
    public long LastSequence() => database.Read(LastSequence);

    /// <summary>Whether the ring still holds an event, so that everything after it is there too.</summary>
    public bool HoldsEvent(long sequence) => database.Read(c => c.Scalar("SELECT 1 FROM events WHERE sequence = $sequence", ("$sequence", sequence)) is not null);

    /// <summary>Events after one and up to another, at most <paramref name="limit"/>, oldest first; null when the ring does not hold <paramref name="after"/> any more. After 0: all that are kept.</summary>
    public IReadOnlyList<SequencedEvent>? ListEvents(long after, long upTo, int limit) => database.Read(c =>
    {
        // One statement, so one moment: while the ring holds an event it holds all later ones.
        var events = c.Query(
            row => new SequencedEvent(row.GetInt64(0), JsonSerializer.Deserialize(row.GetString(1), ContractsJson.Default.VmEvent)!, row.GetString(1)),
            "SELECT sequence, event FROM events WHERE sequence >= $after AND sequence <= $to ORDER BY sequence LIMIT $limit",
            ("$after", after), ("$to", upTo), ("$limit", after == 0 ? limit : limit + 1L));
        return after == 0 ? events : events is [var first, ..] && first.Sequence == after ? events.Skip(1).ToList() : null;
    });

    /// <summary>Appends an event that changes nothing; does nothing when the VM is gone.</summary>
    public Task<bool> AppendEventAsync(long vmId, string type, string message, CancellationToken cancellationToken) => ChangeAsync(
        change =>
        {
            if (FindVm(change.Connection, vmId) is not { } vm)
            {
                return false;
            }

            Append(change, vm, type, message);
            return true;
        },
        cancellationToken);

    /// <summary>A change that may append events: they are committed with it, and handed out after that.</summary>
    private async Task<T> ChangeAsync<T>(Func<Change, T> work, CancellationToken cancellationToken)
    {
        var (value, _) = await database.WriteAsync(
            c =>
            {
                var change = new Change(c);
                return (Value: work(change), change.Events);
            },
            cancellationToken,
            committed: done =>
            {
                foreach (var appended in done.Events)
                {
                    _committed?.Invoke(appended);
                }
            });
        return value;
    }

    private void Append(Change change, VmRecord vm, string type, string? message = null)
    {
        var occurrence = new VmEvent
        {
            Type = type,
            Name = vm.Name,
            Status = vm.Vm.Status,
            IpAddress = vm.Vm.IpAddress.Length > 0 ? vm.Vm.IpAddress : null,
            MacAddress = vm.Vm.MacAddress.Length > 0 ? vm.Vm.MacAddress : null,
            Pid = vm.Vm.Pid,
            Timestamp = clock.GetUtcNow(),
            Message = message,
        };
        // Each daemon starts at the time of day: so the numbers of two databases, or of one that was restored from a copy, differ.
        var sequence = (_sequence ?? Math.Max(LastSequence(change.Connection), clock.GetUtcNow().ToUnixTimeMilliseconds())) + 1;
        var json = JsonSerializer.Serialize(occurrence, ContractsJson.Readable.VmEvent);
        change.Connection.Execute("INSERT INTO events (sequence, event) VALUES ($sequence, $event)", ("$sequence", sequence), ("$event", json));
        if (sequence % PruneEvery == 0)
        {
            change.Connection.Execute(
                "DELETE FROM events WHERE sequence <= (SELECT sequence FROM events ORDER BY sequence DESC LIMIT 1 OFFSET $capacity)", ("$capacity", eventCapacity));
        }

        _sequence = sequence;
        change.Events.Add(new SequencedEvent(sequence, occurrence, json));
    }

    private static long LastSequence(SqliteConnection c) => (long?)c.Scalar("SELECT max(sequence) FROM events") ?? 0;

    /// <summary>One transaction and the events that it appends.</summary>
    private sealed class Change(SqliteConnection connection)
    {
        public SqliteConnection Connection { get; } = connection;

        public List<SequencedEvent> Events { get; } = [];
    }
}
