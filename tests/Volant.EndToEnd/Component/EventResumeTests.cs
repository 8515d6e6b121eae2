using Volant.Contracts.Api;
using Volant.Linux.Kernel;

namespace Volant.EndToEnd.Component;

/// <summary>A client that comes back gets every event that it missed, or is told that some are lost; never silence (C10).</summary>
public sealed class EventResumeTests : IAsyncLifetime
{
    private TestDaemon _daemon = null!;

    public async ValueTask InitializeAsync() => _daemon = await StandIn.StartAsync();

    public ValueTask DisposeAsync() => _daemon.DisposeAsync();

    [Fact]
    public async Task A_killed_daemon_is_resumed_without_a_gap()
    {
        await using var feed = await EventFeed.OpenAsync(_daemon);
        (await _daemon.CreateAsync("a", query: "?wait=ready")).Expect(201);
        var place = (await feed.FirstAsync(arrival => arrival.Type == VmEventTypes.Ready)).Id;
        (await _daemon.CreateAsync("b", query: "?wait=ready")).Expect(201);
        await _daemon.EndAsync(Signals.Kill);
        await _daemon.StartAsync();
        (await _daemon.CallAsync(HttpMethod.Delete, "/api/v1/vms/a")).Expect(204);

        await using var resumed = await EventFeed.OpenAsync(_daemon, place);
        await resumed.FirstAsync(arrival => arrival.Type == VmEventTypes.Deleted);
        await using var whole = await EventFeed.OpenAsync(_daemon, after: 0);
        await whole.FirstAsync(arrival => arrival.Type == VmEventTypes.Deleted);
        Assert.DoesNotContain(resumed.Arrived, arrival => arrival.Type == "gap");
        Assert.Equal(whole.Arrived.Where(arrival => arrival.Id > place).Select(arrival => (arrival.Id, arrival.Type)), resumed.Arrived.Select(arrival => (arrival.Id, arrival.Type)));
        Assert.Equal(resumed.Arrived.Select(arrival => arrival.Id).Distinct().Order(), resumed.Arrived.Select(arrival => arrival.Id));
        Assert.Equal([VmEventTypes.Created, VmEventTypes.Starting, VmEventTypes.Running, VmEventTypes.Ready], resumed.Arrived.Where(arrival => arrival.Event!.Name == "b").Select(arrival => arrival.Type).Take(4));
    }

    [Fact]
    public async Task A_place_that_this_database_never_had_is_a_gap_with_a_fresh_start()
    {
        await using var other = await StandIn.StartAsync();
        await using var elsewhere = await EventFeed.OpenAsync(other);
        (await other.CreateAsync("x")).Expect(201);
        (await _daemon.CreateAsync("a", query: "?wait=ready")).Expect(201);
        foreach (var place in new[] { long.MaxValue, 1, (await elsewhere.FirstAsync(_ => true)).Id })
        {
            await AssertGapAsync(place);
        }
    }

    [Fact]
    public async Task A_database_from_a_copy_tells_those_who_had_seen_more()
    {
        await using var feed = await EventFeed.OpenAsync(_daemon);
        (await _daemon.CreateAsync("a", query: "?wait=ready")).Expect(201);
        var kept = (await feed.FirstAsync(arrival => arrival.Type == VmEventTypes.Ready)).Id;
        await _daemon.EndAsync(Signals.Terminate);
        var (database, copy) = (_daemon.Variables["VOLANT_DB_PATH"], Path.Combine(_daemon.Directory, "copy.db"));
        File.Copy(database, copy);
        await _daemon.StartAsync();
        await using var later = await EventFeed.OpenAsync(_daemon);
        (await _daemon.CreateAsync("b", query: "?wait=ready")).Expect(201);
        var lost = (await later.FirstAsync(arrival => arrival.Type == VmEventTypes.Ready && arrival.Event!.Name == "b")).Id;
        await _daemon.EndAsync(Signals.Terminate);
        foreach (var file in Directory.GetFiles(_daemon.Directory, "state.db*"))
        {
            File.Delete(file);
        }

        File.Move(copy, database);
        await _daemon.StartAsync();

        // What the copy knows is adopted; what it does not is no VM of anybody and goes.
        Assert.Equal(["a"], (await _daemon.VmsAsync()).Select(vm => vm.Name));
        await _daemon.UntilAsync(() => Task.FromResult(_daemon.Hypervisors().Count == 1), "the orphan is gone");
        await AssertGapAsync(lost);
        await using var resumed = await EventFeed.OpenAsync(_daemon, kept);
        (await _daemon.CallAsync(HttpMethod.Delete, "/api/v1/vms/a")).Expect(204);
        var deleted = await resumed.FirstAsync(arrival => arrival.Type == VmEventTypes.Deleted);
        Assert.DoesNotContain(resumed.Arrived, arrival => arrival.Type == "gap");
        Assert.True(deleted.Id > lost, "a number was used twice");
    }

    private async Task AssertGapAsync(long place)
    {
        await using var feed = await EventFeed.OpenAsync(_daemon, place);
        var gap = await feed.FirstAsync(_ => true);
        Assert.Equal("gap", gap.Type);
        await using var resumed = await EventFeed.OpenAsync(_daemon, gap.Id);
        (await _daemon.CreateAsync("again")).Expect(201);
        var created = await resumed.FirstAsync(arrival => arrival.Type == VmEventTypes.Created);
        Assert.Equal("again", created.Event!.Name);
        Assert.DoesNotContain(resumed.Arrived, arrival => arrival.Type == "gap");
        await feed.FirstAsync(arrival => arrival.Id == created.Id);
        Assert.Equal(Upto(feed).Skip(1), Upto(resumed));
        (await _daemon.CallAsync(HttpMethod.Delete, "/api/v1/vms/again")).Expect(204);

        IEnumerable<long> Upto(EventFeed one) => one.Arrived.Select(arrival => arrival.Id).TakeWhile(id => id <= created.Id);
    }
}
