using System.Globalization;
using System.Net;
using CsCheck;
using Volant.Contracts.Api;
using Volant.Daemon;
using Volant.Daemon.Store;

namespace Volant.Tests.Store;

/// <summary>The address pool against a small model of it (T03), with the time of day set to anything meanwhile (T10).</summary>
/// <remarks>
/// An address is given back only with the record of its VM, which is forgotten only when nothing is held on the host any more; then it rests
/// for 60 s. The lowest address that is free, rested and not reserved comes first.
/// </remarks>
public sealed class AddressPoolTests
{
    private enum Step
    {
        Lease,
        LeaseMany,
        LeaseNone,
        Release,
        Wait,
        SetClock,
        Restart,
    }

    private static readonly Gen<int> Sizes = Gen.OneOf(Gen.Int[1, 8], Gen.Int[9, 60], Gen.Const(253), Gen.Const(1022));

    private static readonly Gen<(Step Step, int Number)[]> Steps = Gen.Select(Gen.Enum<Step>(), Gen.Int[0, 1_000_000]).Array[1, 80];

    [Fact]
    public async Task Leases_are_unique_rest_when_released_and_run_out_in_words() => await Gen.Select(Sizes, Steps).SampleAsync(
        async (size, steps) =>
        {
            await using var pool = new Pool(size);
            await pool.OpenAsync();
            foreach (var (step, number) in steps)
            {
                await pool.TakeAsync(step, number);
            }

            pool.CheckAll();
        },
        iter: Soak.Times(10, 1_500),
        threads: 1);

    [Fact]
    public void Reserved_ranges_that_touch_are_skipped_in_whatever_order_they_were_named()
    {
        var range = new AddressRange(1, 9, [(4, 4), (2, 3), (1, 1), (6, 7)]);

        Assert.Equal([5L, 5, 5, 5, 5, 8, 8, 8, 9], Enumerable.Range(1, 9).Select(number => range.SkipReserved(number)));
    }

    [Theory]
    [InlineData(-315_360_000)]
    [InlineData(-3600)]
    [InlineData(-1)]
    [InlineData(315_360_000)]
    public async Task A_clock_that_was_set_while_the_daemon_was_down_blocks_no_address_for_longer_than_a_rest(int seconds)
    {
        await using var pool = new Pool(1);
        await pool.OpenAsync();
        await pool.TakeAsync(Step.Lease, 0);
        await pool.TakeAsync(Step.Release, 0);
        await pool.RestartAsync(TimeSpan.FromSeconds(seconds));
        pool.Advance(VolantStore.AddressRest);

        Assert.NotNull(await pool.LeaseAsync());
    }

    private sealed class Pool(int size) : IAsyncDisposable
    {
        private const uint First = 0x0a000002;

        private readonly string _directory = Soak.CreateDirectory("volant-pool-");
        private readonly AddressRange _range = new(First, First + (uint)size, [(First + ((uint)size / 2), First + ((uint)size / 2)), (First + 3, First + 4)]);
        private readonly Dictionary<uint, long> _leased = [];
        private readonly Dictionary<uint, TimeSpan> _rests = [];
        private SettableTimeProvider _clock = new(new DateTimeOffset(2026, 1, 1, 0, 0, 0, TimeSpan.Zero));
        private Database _database = null!;
        private VolantStore _store = null!;
        private TimeSpan _time;
        private int _names;

        public async Task OpenAsync()
        {
            Connect();
            await _store.PutPluginAsync(StoreTests.Manifest("hello"), CancellationToken.None);
        }

        public async Task TakeAsync(Step step, int number)
        {
            switch (step)
            {
                case Step.Lease:
                    Check(await LeaseAsync());
                    break;
                case Step.LeaseMany:
                    // In one group commit.
                    foreach (var lease in await Task.WhenAll(Enumerable.Range(0, number % 80).Select(_ => LeaseAsync())))
                    {
                        Check(lease);
                    }

                    break;
                case Step.LeaseNone:
                    Assert.Equal(string.Empty, (await _store.InsertVmAsync(New() with { Addresses = null }, CancellationToken.None)).Vm.IpAddress);
                    break;
                case Step.Release when _leased.Count > 0:
                    var ended = _leased.OrderBy(lease => lease.Key).Skip(number % _leased.Count).Take(1 + (number % 30)).ToList();
                    await Task.WhenAll(ended.Select(lease => _store.DeleteVmAsync(lease.Value, null, CancellationToken.None)));
                    foreach (var (address, _) in ended)
                    {
                        _leased.Remove(address);
                        _rests[address] = _time;
                    }

                    break;
                case Step.Wait:
                    Advance(TimeSpan.FromMilliseconds(number % 90_000));
                    break;
                case Step.SetClock:
                    // Up to a year either way, and again.
                    _clock.SetBy(TimeSpan.FromSeconds((number - 500_000) * 63L));
                    break;
                case Step.Restart:
                    await RestartAsync(TimeSpan.Zero);
                    CheckAll();
                    break;
            }
        }

        public void CheckAll() => Assert.Equal(
            _leased.Keys.Order(),
            _store.AllVms().Where(vm => vm.Vm.IpAddress.Length > 0).Select(vm => Number(vm.Vm.IpAddress)).Order());

        public async Task<(uint Address, long Id)?> LeaseAsync()
        {
            try
            {
                var vm = await _store.InsertVmAsync(New() with { Addresses = _range }, CancellationToken.None);
                return (Number(vm.Vm.IpAddress), vm.Id);
            }
            catch (VolantException e)
            {
                Assert.Equal(ErrorCodes.IpPoolExhausted, e.Code);
                return null;
            }
        }

        public void Advance(TimeSpan time)
        {
            _clock.Advance(time);
            _time += time;
        }

        /// <summary>Ends the daemon, sets the clock, and starts it again. Rests go by the time of day from one daemon to the next.</summary>
        public async Task RestartAsync(TimeSpan jump)
        {
            await _database.DisposeAsync();
            _clock = new SettableTimeProvider(new DateTimeOffset(2026, 1, 1, 0, 0, 0, TimeSpan.Zero) + _time + jump);
            Connect();
            await _store.SettleRestsAsync(CancellationToken.None);
        }

        public async ValueTask DisposeAsync()
        {
            await _database.DisposeAsync();
            Directory.Delete(_directory, recursive: true);
        }

        private void Check((uint Address, long Id)? lease)
        {
            var all = Enumerable.Range(0, size + 1).Select(i => First + (uint)i).Where(address => address != First + (uint)(size / 2) && address is not (First + 3 or First + 4));
            var free = all.Where(address => !_leased.ContainsKey(address) && (!_rests.TryGetValue(address, out var since) || _time - since >= VolantStore.AddressRest)).Take(1).ToList();
            if (lease is not { } given)
            {
                Assert.Empty(free);
                return;
            }

            Assert.Equal(free, [given.Address]);
            _rests.Remove(given.Address);
            _leased.Add(given.Address, given.Id);
        }

        private NewVm New() => StoreTests.New(string.Create(CultureInfo.InvariantCulture, $"vm-{_names++}")) with { Resources = [] };

        private void Connect()
        {
            _database = new Database(Path.Combine(_directory, "state.db"));
            _store = new VolantStore(_database, _clock);
        }

        private static uint Number(string address)
        {
            var bytes = IPAddress.Parse(address).GetAddressBytes();
            return ((uint)bytes[0] << 24) | ((uint)bytes[1] << 16) | ((uint)bytes[2] << 8) | bytes[3];
        }
    }
}
