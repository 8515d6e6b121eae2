using System.Globalization;
using Volant.Contracts;
using Volant.Contracts.Api;

namespace Volant.Tests.Api;

/// <summary>The events that are kept, as a list with an end.</summary>
public sealed class EventTests : IAsyncLifetime
{
    private const string Path = "/api/v1/events/vms?follow=0";

    private ApiFixture _api = null!;

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    public async ValueTask InitializeAsync()
    {
        _api = await ApiFixture.StartAsync();
        await _api.InstallAsync("hello");
        await _api.CreateAsync("web");
    }

    public ValueTask DisposeAsync() => _api.DisposeAsync();

    [Fact]
    public async Task Without_follow_all_that_is_kept_comes_and_then_the_end()
    {
        var all = await ListAsync();
        Assert.Equal([VmEventTypes.Created, VmEventTypes.Starting, VmEventTypes.Running], all.Select(each => each.Type).Take(3));
        Assert.Equal(all.Select(each => each.Id).Order(), all.Select(each => each.Id));

        Assert.Equal(all.Skip(1), (await ListAsync(all[0].Id)).Take(all.Count - 1));
        Assert.All(await ListAsync((await ListAsync())[^1].Id), each => Assert.Equal(VmEventTypes.Ready, each.Type));
    }

    [Fact]
    public async Task Many_more_than_a_page_come_once_each()
    {
        // Two events each: more than the 500 that are read at once.
        for (var i = 0; i < 130; i++)
        {
            using var stopped = await _api.SendAsync(HttpMethod.Post, "/api/v1/vms/web/stop?grace_seconds=0");
            using var started = await _api.SendAsync(HttpMethod.Post, "/api/v1/vms/web/start");
            Assert.Equal((200, 200), ((int)stopped.StatusCode, (int)started.StatusCode));
        }

        var ids = (await ListAsync()).Select(each => each.Id).ToArray();
        Assert.True(ids.Length > 500, ids.Length.ToString(CultureInfo.InvariantCulture));
        Assert.Equal(ids.Distinct().Order(), ids);
    }

    [Theory]
    [InlineData(1)]
    [InlineData(long.MaxValue)]
    public async Task A_place_that_is_not_kept_is_a_gap_that_says_where_to_go_on(long place)
    {
        var gap = Assert.Single(await ListAsync(place));
        Assert.Equal("gap", gap.Type);
        Assert.DoesNotContain("gap", (await ListAsync(gap.Id)).Select(each => each.Type));
    }

    [Fact]
    public async Task Log_lines_are_not_kept()
    {
        using var response = await _api.SendAsync(HttpMethod.Get, Path + "&logs=1");
        var problem = await ApiFixture.ReadAsync(response, 400, ContractsJson.Default.Problem);
        Assert.Equal(["logs"], problem.Errors!.Keys);
    }

    /// <summary>Reads to the end of the answer.</summary>
    private async Task<IReadOnlyList<(long Id, string Type)>> ListAsync(long? after = null)
    {
        using var response = await _api.SendAsync(HttpMethod.Get, Path, null, after is { } place ? [("Last-Event-ID", place.ToString(CultureInfo.InvariantCulture))] : []);
        var text = await response.Content.ReadAsStringAsync(Cancel);
        Assert.True((int)response.StatusCode == 200 && response.Content.Headers.ContentType?.MediaType == "text/event-stream", text);
        return [.. text.Split("\n\n", StringSplitOptions.RemoveEmptyEntries).Select(frame => frame.Split('\n')).Select(lines =>
            (long.Parse(lines[0]["id: ".Length..], CultureInfo.InvariantCulture), lines[1]["event: ".Length..]))];
    }
}
