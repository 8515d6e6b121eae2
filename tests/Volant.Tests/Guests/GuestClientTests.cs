using System.Net;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.Time.Testing;
using Volant.Contracts.Api;
using Volant.Daemon;
using Volant.Daemon.Guests;

namespace Volant.Tests.Guests;

public sealed class GuestClientTests : IAsyncLifetime
{
    private static readonly byte[] Key = [.. Enumerable.Range(1, 16).Select(i => (byte)i)];

    private readonly string _directory = Directory.CreateTempSubdirectory("vt").FullName;
    private readonly FakeTimeProvider _clock = new();
    private FakeAgent _agent = null!;
    private FakePort _port = null!;

    private static CancellationToken Cancelled => TestContext.Current.CancellationToken;

    private string PortPath => Path.Combine(_directory, "port");

    public async ValueTask InitializeAsync()
    {
        var server = Path.Combine(_directory, "agent");
        _agent = await FakeAgent.StartAsync(server);
        _port = new FakePort(PortPath, server);
    }

    public async ValueTask DisposeAsync()
    {
        await _port.DisposeAsync();
        await _agent.DisposeAsync();
        Directory.Delete(_directory, recursive: true);
    }

    [Fact]
    public async Task GetState_reads_the_state_and_ignores_what_it_does_not_know()
    {
        string? query = null;
        _agent.OnState = context =>
        {
            query = context.Request.QueryString.Value;
            return FakeAgent.AnswerAsync(context);
        };
        await using var client = NewClient();

        var state = await client.GetStateAsync(41, TimeSpan.FromMilliseconds(2500), Cancelled);

        Assert.Equal((7, true, "running", 9), (state.Revision, state.Ready, state.Workload.Status, state.Workload.Pid));
        Assert.Equal("?since=41&timeout_ms=2500", query);
    }

    [Fact]
    public async Task Shutdown_asks_the_agent()
    {
        await using var client = NewClient();

        await client.ShutdownAsync(Cancelled);

        await _agent.Shutdown.WaitAsync(Cancelled);
    }

    [Fact]
    public async Task Many_requests_at_once_share_one_connection()
    {
        await using var client = NewClient();
        var arrived = 0;
        var all = new TaskCompletionSource();
        _agent.OnState = async context =>
        {
            if (Interlocked.Increment(ref arrived) == 150)
            {
                all.SetResult();
            }

            await all.Task.WaitAsync(context.RequestAborted);
            await FakeAgent.AnswerAsync(context);
        };

        var states = await Task.WhenAll(Enumerable.Range(0, 150).Select(_ => client.GetStateAsync(0, TimeSpan.Zero, Cancelled)));

        Assert.Equal(150, states.Length);
        Assert.Equal(1, _port.Connections);
    }

    [Fact]
    public async Task A_reader_that_stands_still_does_not_hold_up_the_others()
    {
        await using var client = NewClient();
        using var stalled = await GetAsync(client, "bytes/1073741824");

        for (var i = 0; i < 20; i++)
        {
            await client.GetStateAsync(0, TimeSpan.Zero, Cancelled);
        }

        using var other = await GetAsync(client, "bytes/33554432");
        Assert.Equal(33554432, (await other.Content.ReadAsByteArrayAsync(Cancelled)).Length);
        Assert.Equal(1, _port.Connections);
    }

    [Fact]
    public async Task A_connection_that_the_guest_closed_is_opened_again()
    {
        await using var client = NewClient();
        await client.GetStateAsync(0, TimeSpan.Zero, Cancelled);
        var called = new TaskCompletionSource();
        _agent.OnState = async context =>
        {
            called.TrySetResult();
            await FakeAgent.HangAsync(context);
        };
        var interrupted = client.GetStateAsync(0, TimeSpan.FromSeconds(60), Cancelled);
        await called.Task.WaitAsync(Cancelled);

        _port.CloseInGuest();

        Assert.Equal(ErrorCodes.AgentUnreachable, (await Assert.ThrowsAsync<VolantException>(() => interrupted)).Code);
        _agent.OnState = FakeAgent.AnswerAsync;
        Assert.Equal(7, (await client.GetStateAsync(0, TimeSpan.Zero, Cancelled)).Revision);
        Assert.Equal(2, _port.Connections);
    }

    [Fact]
    public async Task A_new_daemon_connects_in_spite_of_what_the_old_one_left_in_the_port()
    {
        for (var i = 1; i <= 5; i++)
        {
            var client = NewClient();
            using var download = await GetAsync(client, "bytes/1073741824");
            await using var body = await download.Content.ReadAsStreamAsync(Cancelled);
            await body.ReadExactlyAsync(new byte[1_000_000], Cancelled);
            await client.DisposeAsync();
            Assert.Equal(i, _port.Connections);
        }

        await using var last = NewClient();
        Assert.Equal(7, (await last.GetStateAsync(0, TimeSpan.Zero, Cancelled)).Revision);
    }

    [Fact]
    public async Task A_guest_that_starts_anew_learns_the_key_again()
    {
        await using (var client = NewClient())
        {
            await client.GetStateAsync(0, TimeSpan.Zero, Cancelled);
        }

        _port.RestartGuest();

        await using var next = NewClient();
        Assert.Equal(7, (await next.GetStateAsync(0, TimeSpan.Zero, Cancelled)).Revision);
    }

    [Fact]
    public async Task GetState_gives_up_when_the_guest_is_later_than_it_was_asked_to_be()
    {
        await using var client = NewClient();
        var called = new TaskCompletionSource();
        _agent.OnState = async context =>
        {
            called.SetResult();
            await FakeAgent.HangAsync(context);
        };
        var state = client.GetStateAsync(0, TimeSpan.FromSeconds(30), Cancelled);
        await called.Task.WaitAsync(Cancelled);

        _clock.Advance(TimeSpan.FromSeconds(39));
        Assert.False(state.IsCompleted);
        _clock.Advance(TimeSpan.FromSeconds(1));

        var failure = await Assert.ThrowsAsync<VolantException>(() => state);
        Assert.Equal(ErrorCodes.Timeout, failure.Code);
        Assert.Contains("within 40 s", failure.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_body_that_never_ends_counts_against_the_limit_too()
    {
        await using var client = NewClient();
        var called = new TaskCompletionSource();
        _agent.OnState = async context =>
        {
            await context.Response.WriteAsync("{", context.RequestAborted);
            await context.Response.Body.FlushAsync(context.RequestAborted);
            called.SetResult();
            await FakeAgent.HangAsync(context);
        };
        var state = client.GetStateAsync(0, TimeSpan.Zero, Cancelled);
        await called.Task.WaitAsync(Cancelled);

        _clock.Advance(GuestClient.AnswerLimit);

        Assert.Equal(ErrorCodes.Timeout, (await Assert.ThrowsAsync<VolantException>(() => state)).Code);
    }

    [Fact]
    public async Task A_callers_cancellation_stays_a_cancellation()
    {
        await using var client = NewClient();
        using var cancel = new CancellationTokenSource();
        _agent.OnState = async context =>
        {
            await cancel.CancelAsync();
            await FakeAgent.HangAsync(context);
        };

        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => client.GetStateAsync(0, TimeSpan.Zero, cancel.Token));
    }

    [Theory]
    [InlineData(200, "not json", "not the JSON of a state")]
    [InlineData(200, "null", "not the JSON of a state")]
    [InlineData(200, "{}", "not the JSON of a state")]
    [InlineData(500, "{}", "500")]
    [InlineData(302, "", "302")]
    public async Task A_wrong_answer_makes_the_agent_unreachable(int status, string body, string words)
    {
        await using var client = NewClient();
        _agent.OnState = context =>
        {
            context.Response.StatusCode = status;
            context.Response.Headers.Location = "/version";
            return context.Response.WriteAsync(body, context.RequestAborted);
        };

        var failure = await Assert.ThrowsAsync<VolantException>(() => client.GetStateAsync(0, TimeSpan.Zero, Cancelled));

        Assert.Equal(ErrorCodes.AgentUnreachable, failure.Code);
        Assert.Contains(words, failure.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task An_endless_state_is_read_up_to_the_limit_only()
    {
        await using var client = NewClient();
        _agent.OnState = async context =>
        {
            while (true)
            {
                await context.Response.Body.WriteAsync(new byte[4096], context.RequestAborted);
            }
        };

        var failure = await Assert.ThrowsAsync<VolantException>(() => client.GetStateAsync(0, TimeSpan.Zero, Cancelled));

        Assert.Equal(ErrorCodes.AgentUnreachable, failure.Code);
        Assert.Contains("65536 bytes", failure.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Huge_headers_are_refused()
    {
        await using var client = NewClient();
        _agent.OnState = context =>
        {
            context.Response.Headers["X-Large"] = new string('x', 40_000);
            return FakeAgent.AnswerAsync(context);
        };

        var failure = await Assert.ThrowsAsync<VolantException>(() => client.GetStateAsync(0, TimeSpan.Zero, Cancelled));

        Assert.Equal(ErrorCodes.AgentUnreachable, failure.Code);
    }

    [Fact]
    public async Task A_missing_socket_makes_the_agent_unreachable_and_is_named()
    {
        var path = Path.Combine(_directory, "nowhere");
        await using var client = new GuestClient(new GuestEndpoint.SerialPort(path, Key), _clock);

        var failure = await Assert.ThrowsAsync<VolantException>(() => client.GetStateAsync(0, TimeSpan.Zero, Cancelled));

        Assert.Equal(ErrorCodes.AgentUnreachable, failure.Code);
        Assert.Contains(path, failure.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Invoker_speaks_http2_follows_nothing_and_goes_nowhere_else()
    {
        await using var client = NewClient();

        using var answer = await GetAsync(client, "version?x=1");
        Assert.Equal("HTTP/2 guest ?x=1", await answer.Content.ReadAsStringAsync(Cancelled));
        using var redirect = await GetAsync(client, "elsewhere");
        Assert.Equal(HttpStatusCode.Redirect, redirect.StatusCode);

        using var elsewhere = new HttpRequestMessage(HttpMethod.Get, "http://other/version");
        await Assert.ThrowsAsync<InvalidOperationException>(() => client.Invoker.SendAsync(elsewhere, Cancelled));
        using var upgrade = new HttpRequestMessage(HttpMethod.Get, new Uri(GuestClient.BaseAddress, "version"));
        upgrade.Headers.Upgrade.ParseAdd("websocket");
        await Assert.ThrowsAsync<InvalidOperationException>(() => client.Invoker.SendAsync(upgrade, Cancelled));
        Assert.Equal(1, _port.Connections);
    }

    [Fact]
    public async Task Disposal_cuts_what_is_under_way()
    {
        var client = NewClient();
        using var download = await GetAsync(client, "bytes/1073741824");
        await using var body = await download.Content.ReadAsStreamAsync(Cancelled);

        await client.DisposeAsync();

        await Assert.ThrowsAnyAsync<IOException>(() => body.CopyToAsync(Stream.Null, Cancelled));
    }

    private GuestClient NewClient() => new(new GuestEndpoint.SerialPort(PortPath, Key), _clock);

    private static async Task<HttpResponseMessage> GetAsync(GuestClient client, string path)
    {
        using var request = new HttpRequestMessage(HttpMethod.Get, new Uri(GuestClient.BaseAddress, path));
        return await client.Invoker.SendAsync(request, Cancelled);
    }
}
