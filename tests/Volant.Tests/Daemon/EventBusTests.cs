using Microsoft.Extensions.Time.Testing;
using Volant.Contracts.Api;
using Volant.Daemon.Events;
using Volant.Daemon.Store;
using Volant.Tests.Store;

namespace Volant.Tests.Daemon;

/// <summary>Events as a client sees them, over a real store: nothing lost, nothing twice, and never silence about a gap (T09, C10).</summary>
public sealed class EventBusTests : IAsyncLifetime
{
    private readonly string _directory = Directory.CreateTempSubdirectory("volant-events-").FullName;
    private readonly FakeTimeProvider _clock = new();
    private Database _database = null!;
    private VolantStore _store = null!;
    private EventBus _bus = null!;
    private VmRecord _vm = null!;
    private int _changes;

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    public async ValueTask InitializeAsync()
    {
        Open("state.db");
        await _store.PutPluginAsync(StoreTests.Manifest("hello"), Cancel);
        _vm = await _store.InsertVmAsync(StoreTests.New("web"), Cancel);
        await _store.SetStatusAsync(_vm.Id, VmStatus.Running, desired: null, Cancel);
    }

    public async ValueTask DisposeAsync()
    {
        await CloseAsync();
        Directory.Delete(_directory, recursive: true);
    }

    [Fact]
    public async Task One_change_is_one_event()
    {
        var events = await TakeAsync(_bus.SubscribeAsync(after: 0, Cancel), 3);

        Assert.Equal([VmEventTypes.Created, VmEventTypes.Starting, VmEventTypes.Running], events.Select(next => next.Event.Type));
        Assert.Equal([VmStatus.Pending, VmStatus.Starting, VmStatus.Running], events.Select(next => next.Event.Status));
    }

    [Fact]
    public async Task A_change_that_is_refused_has_no_event()
    {
        var subscription = _bus.SubscribeAsync(after: null, Cancel);
        await Assert.ThrowsAnyAsync<Exception>(() => _store.SetStatusAsync(_vm.Id, VmStatus.Starting, desired: null, Cancel));
        await ChangeAsync(1);

        Assert.Equal(VmEventTypes.Ready, Assert.Single(await TakeAsync(subscription, 1)).Event.Type);
    }

    [Fact]
    public async Task Any_place_resumes_with_exactly_the_later_events_in_this_life_and_the_next()
    {
        var random = new Random(9);
        var seen = (await TakeAsync(_bus.SubscribeAsync(after: 0, Cancel), 3)).Select(next => next.Sequence).ToList();
        for (var round = 0; round < 40; round++)
        {
            var place = random.Next(seen.Count);
            var open = _bus.Open(seen[place], Cancel);
            var count = random.Next(1, 20);
            await ChangeAsync(count);
            var later = (await TakeAsync(open.Events, seen.Count - 1 - place + count)).Select(next => next.Sequence).ToList();

            Assert.False(open.Missed);
            Assert.Equal(seen.Skip(place + 1), later.Take(seen.Count - 1 - place));
            Assert.Equal(later.Order(), later);
            seen.AddRange(later.TakeLast(count));
            Assert.Equal(seen.Distinct().Count(), seen.Count);
            if (random.Next(4) == 0)
            {
                await CloseAsync();
                Open("state.db");
            }
        }
    }

    [Theory]
    [InlineData(1)]
    [InlineData(long.MaxValue)]
    public async Task A_place_that_is_not_known_is_said_to_be_missed(long place)
    {
        var open = _bus.Open(place, Cancel);
        await ChangeAsync(1);
        var next = Assert.Single(await TakeAsync(open.Events, 1));

        Assert.True(open.Missed);
        Assert.True(next.Sequence > open.After);
        Assert.False(_bus.Open(open.After, Cancel).Missed);
    }

    [Fact]
    public async Task A_place_of_before_a_restored_database_is_missed_and_its_number_is_not_used_again()
    {
        await CloseAsync();
        File.Copy(Path.Combine(_directory, "state.db"), Path.Combine(_directory, "copy.db"));
        Open("state.db");
        _clock.Advance(TimeSpan.FromSeconds(1));
        var subscription = _bus.SubscribeAsync(null, Cancel);
        await ChangeAsync(3);
        var lost = (await TakeAsync(subscription, 3))[^1].Sequence;
        await CloseAsync();
        _clock.Advance(TimeSpan.FromSeconds(1));
        Open("copy.db");
        subscription = _bus.SubscribeAsync(null, Cancel);
        await ChangeAsync(3);

        Assert.All(await TakeAsync(subscription, 3), next => Assert.True(next.Sequence > lost));
        Assert.True(_bus.Open(lost, Cancel).Missed);
    }

    [Fact]
    public async Task The_ring_is_bounded_and_a_place_before_it_is_missed()
    {
        var first = Assert.Single(await TakeAsync(_bus.SubscribeAsync(0, Cancel), 1)).Sequence;
        for (var i = 0; i < VolantStore.EventCapacity + 600; i += 200)
        {
            await ChangeAsync(200);
        }

        Assert.True(_bus.Open(first, Cancel).Missed);
        Assert.InRange(_store.ListEvents(0, long.MaxValue, int.MaxValue)!.Count, VolantStore.EventCapacity, VolantStore.EventCapacity + 300);
    }

    [Fact]
    public async Task A_subscriber_that_falls_behind_is_cut_off_delays_nobody_and_can_resume()
    {
        var slow = _bus.Open(after: null, Cancel);
        var quick = TakeAsync(_bus.SubscribeAsync(after: null, Cancel), EventBus.SubscriberCapacity + 100);
        for (var i = 0; i < 12; i++)
        {
            await ChangeAsync(100);
            await Task.Delay(TimeSpan.FromMilliseconds(1), TimeProvider.System, Cancel);
        }

        Assert.Equal(EventBus.SubscriberCapacity + 100, (await quick).Count);
        var received = await TakeAsync(slow.Events, int.MaxValue);
        Assert.Equal(EventBus.SubscriberCapacity, received.Count);
        Assert.Equal(1200 - EventBus.SubscriberCapacity, (await TakeAsync(_bus.SubscribeAsync(received[^1].Sequence, Cancel), 1200 - EventBus.SubscriberCapacity)).Count);
    }

    private static async Task<IReadOnlyList<SequencedEvent>> TakeAsync(IAsyncEnumerable<SequencedEvent> events, int count)
    {
        var taken = new List<SequencedEvent>();
        await foreach (var next in events)
        {
            taken.Add(next);
            if (taken.Count == count)
            {
                break;
            }
        }

        return taken;
    }

    private Task ChangeAsync(int count) =>
        Task.WhenAll(Enumerable.Range(0, count).Select(_ => _store.SetReadyAsync(_vm.Id, ready: true, null, $"change {++_changes}", Cancel)));

    private void Open(string file)
    {
        _database = new Database(Path.Combine(_directory, file));
        _store = new VolantStore(_database, _clock);
        _bus = new EventBus(_store);
    }

    private async Task CloseAsync()
    {
        _bus.Dispose();
        await _database.DisposeAsync();
    }
}
