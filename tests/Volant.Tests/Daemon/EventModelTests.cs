using CsCheck;
using Microsoft.Extensions.Time.Testing;
using Volant.Contracts.Api;
using Volant.Daemon.Events;
using Volant.Daemon.Store;
using Volant.Tests.Store;

namespace Volant.Tests.Daemon;

/// <summary>Clients that read, stall, leave and come back, against the plain list of all that was committed (T09).</summary>
public sealed class EventModelTests
{
    private enum Step
    {
        Change,
        Burst,
        Come,
        Read,
        Drain,
        Leave,
        Restart,
    }

    private static readonly Gen<(Step Step, int Number)[]> Steps =
        Gen.Select(Gen.Enum<Step>(), Gen.Int[0, 1_000_000]).Array[1, 30];

    [Fact]
    public async Task Every_client_gets_exactly_the_later_events_or_is_told_of_the_gap() => await Gen.Select(Gen.Int[1, 900], Steps).SampleAsync(
        async (capacity, steps) =>
        {
            await using var world = new World(capacity);
            foreach (var (step, number) in steps)
            {
                await world.TakeAsync(step, number);
            }

            await world.EndAsync();
        },
        iter: Soak.Times(8, 2_000),
        threads: 1);

    private sealed class World(int capacity) : IAsyncDisposable
    {
        private const int MaxClients = 6;
        private const int Group = 400;

        private readonly int _capacity = capacity;

        private readonly string _directory = Soak.CreateDirectory("volant-events-");
        private readonly FakeTimeProvider _clock = new();
        private readonly List<long> _history = [];
        private readonly List<Client> _clients = [];
        private Database? _database;
        private VolantStore _store = null!;
        private EventBus _bus = null!;
        private VmRecord _vm = null!;
        private bool _ready;

        public async Task TakeAsync(Step step, int number)
        {
            if (_database is null)
            {
                Open();
                await _store.PutPluginAsync(StoreTests.Manifest("hello"), CancellationToken.None);
                _vm = await _store.InsertVmAsync(StoreTests.New("web"), CancellationToken.None);
                await _store.SetStatusAsync(_vm.Id, VmStatus.Running, desired: null, CancellationToken.None);
            }

            switch (step)
            {
                case Step.Change:
                    await ChangeAsync(1 + (number % 40));
                    break;
                case Step.Burst:
                    // More than a queue holds, and often more than the ring.
                    await ChangeAsync(400 + (number % 900));
                    break;
                case Step.Come when _clients.Count < MaxClients:
                    // In the same instant as a change: what is committed and not yet handed out must come once.
                    var change = ChangeAsync(1 + (number % 3));
                    _clients.Add(new Client(this, PlaceOf(number)));
                    await change;
                    break;
                case Step.Read when _clients.Count > 0:
                    await _clients[number % _clients.Count].ReadAsync(1 + (number % 700));
                    break;
                case Step.Drain when _clients.Count > 0:
                    await _clients[number % _clients.Count].ReadAsync(int.MaxValue);
                    break;
                case Step.Leave when _clients.Count > 0:
                    await _clients[number % _clients.Count].ComeBackAsync();
                    break;
                case Step.Restart:
                    await RestartAsync();
                    break;
            }
        }

        public async Task EndAsync()
        {
            foreach (var client in _clients)
            {
                await client.ReadAsync(int.MaxValue);
            }
        }

        public async ValueTask DisposeAsync()
        {
            foreach (var client in _clients)
            {
                await client.DisposeAsync();
            }

            if (_database is not null)
            {
                Assert.Equal(0, _bus.SubscriberCount);
                _bus.Dispose();
                await _database.DisposeAsync();
            }

            Directory.Delete(_directory, recursive: true);
        }

        private long? PlaceOf(int number)
        {
            lock (_history)
            {
                return (number % 6) switch
                {
                    0 => null,
                    1 => 0,
                    2 => 1 + number,
                    3 => long.MaxValue - number,
                    4 => _history[^1],
                    _ => _history[number % _history.Count],
                };
            }
        }

        private async Task ChangeAsync(int count)
        {
            for (; count > 0; count -= Group)
            {
                await Task.WhenAll(Enumerable.Range(0, Math.Min(count, Group)).Select(_ => _store.SetReadyAsync(_vm.Id, _ready = !_ready, null, null, CancellationToken.None)));
            }
        }

        private async Task RestartAsync()
        {
            foreach (var client in _clients)
            {
                await client.LeaveAsync();
            }

            _bus.Dispose();
            await _database!.DisposeAsync();
            Open();
            foreach (var client in _clients)
            {
                client.Come();
            }
        }

        private void Open()
        {
            _database = new Database(Path.Combine(_directory, "state.db"));
            _store = new VolantStore(_database, _clock, _capacity);
            _store.Follow(next =>
            {
                lock (_history)
                {
                    _history.Add(next.Sequence);
                }
            });
            _bus = new EventBus(_store);
        }

        private sealed class Client : IAsyncDisposable
        {
            private readonly World _world;
            private IAsyncEnumerator<SequencedEvent> _events = null!;
            private CancellationTokenSource _stop = null!;
            private long? _place;

            // Index in the history of the event that must come next; -1 for the first that is kept.
            private int _next;

            public Client(World world, long? place)
            {
                _world = world;
                _place = place;
                Come();
            }

            public void Come()
            {
                _stop = new CancellationTokenSource();
                int newest;
                lock (_world._history)
                {
                    newest = _world._history.Count;
                }

                var open = _world._bus.Open(_place, _stop.Token);
                lock (_world._history)
                {
                    var at = _place is { } place ? _world._history.IndexOf(place) : -1;
                    Assert.False(open.Missed && _place is null or 0);
                    Assert.True(_place is null or 0 || at >= 0 || open.Missed, $"place {_place} was never an event and is not said to be missed");
                    Assert.False(open.Missed && at >= Math.Max(0, newest - _world._capacity), $"place {_place} is among the newest {_world._capacity} and is said to be missed");
                    if (!open.Missed && at >= 0)
                    {
                        Assert.Equal(_place, open.After);
                    }

                    _next = _place == 0 ? -1 : _world._history.IndexOf(open.After) + 1;
                    Assert.True(_next != 0, "it begins after something that never happened");
                    _place = open.After;
                }

                _events = open.Events.GetAsyncEnumerator(_stop.Token);
            }

            public async Task LeaveAsync()
            {
                await _stop.CancelAsync();
                try
                {
                    // One that never began has no end of its own, so that it would stay subscribed.
                    await _events.MoveNextAsync();
                }
                catch (OperationCanceledException)
                {
                    // Its end.
                }

                await _events.DisposeAsync();
                _stop.Dispose();
            }

            public async Task ComeBackAsync()
            {
                await LeaveAsync();
                Come();
            }

            /// <summary>Reads up to so many events, as far as they have happened; comes back whenever it is cut off.</summary>
            public async Task ReadAsync(int count)
            {
                while (count > 0 && IsBehind())
                {
                    if (!await _events.MoveNextAsync().AsTask().WaitAsync(TimeSpan.FromMinutes(1), TimeProvider.System))
                    {
                        await _events.DisposeAsync();
                        _stop.Dispose();
                        Come();
                        continue;
                    }

                    var sequence = _events.Current.Sequence;
                    lock (_world._history)
                    {
                        _next = _next < 0 ? _world._history.IndexOf(sequence) : _next;
                        Assert.Equal(_world._history[_next++], sequence);
                    }

                    _place = sequence;
                    count--;
                }
            }

            public async ValueTask DisposeAsync() => await LeaveAsync();

            private bool IsBehind()
            {
                lock (_world._history)
                {
                    return _next < _world._history.Count;
                }
            }
        }
    }
}
