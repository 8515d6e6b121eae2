using System.Net;
using System.Net.Http.Json;
using System.Text;
using Volant.Agent.Power;
using Volant.Contracts;
using Volant.Contracts.Api;

namespace Volant.Tests.Agent;

/// <summary>What the agent serves of itself: its state, its end, the time.</summary>
public sealed class StateRoutesTests
{
    private static CancellationToken Token => TestContext.Current.CancellationToken;

    [Fact]
    public async Task State_waits_for_the_next_change_and_shutdown_is_told()
    {
        await using var agent = await AgentHarness.StartAsync(_ => { }, Token);
        var (client, handler) = agent.Connect();
        using var owned = client;
        using var ownedHandler = handler;
        var first = await client.GetFromJsonAsync("/v1/agent/state", ContractsJson.Default.AgentState, Token);
        Assert.NotNull(first);

        var next = client.GetFromJsonAsync($"/v1/agent/state?since={first.Revision}&timeout_ms=60000", ContractsJson.Default.AgentState, Token);
        agent.Status.SetHealth(null);
        Assert.True((await next)!.Ready);

        Assert.Equal(HttpStatusCode.BadRequest, (await client.GetAsync("/v1/agent/state?since=x", Token)).StatusCode);
        Assert.Equal(HttpStatusCode.NotFound, (await client.GetAsync("/v1/agent/other", Token)).StatusCode);
        Assert.Equal(HttpStatusCode.MethodNotAllowed, (await client.GetAsync("/v1/agent/shutdown", Token)).StatusCode);
        using var accepted = await client.PostAsync("/v1/agent/shutdown", null, Token);
        Assert.Equal(HttpStatusCode.Accepted, accepted.StatusCode);
        Assert.Equal(PowerAction.Off, (await agent.ShutDown.Task.WaitAsync(Token)).Action);
    }

    [Fact]
    public async Task A_reboot_is_told_as_one()
    {
        await using var agent = await AgentHarness.StartAsync(_ => { }, Token);
        var (client, handler) = agent.Connect();
        using var owned = client;
        using var ownedHandler = handler;

        using var accepted = await client.PostAsync("/v1/agent/reboot", null, Token);

        Assert.Equal(HttpStatusCode.Accepted, accepted.StatusCode);
        Assert.Equal(PowerAction.Restart, (await agent.ShutDown.Task.WaitAsync(Token)).Action);
    }

    [Fact]
    public async Task The_host_tells_time_and_seed_and_bad_bodies_are_refused()
    {
        await using var agent = await AgentHarness.StartAsync(_ => { }, Token);
        var (client, handler) = agent.Connect();
        using var owned = client;
        using var ownedHandler = handler;
        AgentClock? told = null;
        agent.OnClock = clock =>
        {
            told = clock;
            return clock.Seed is [] ? throw new ArgumentException("The seed is empty.", nameof(clock)) : TimeSpan.FromHours(-2.5);
        };

        static bool Tells(byte[] line) => Encoding.UTF8.GetString(line).Contains("moved the clock by -9000 s", StringComparison.Ordinal);

        async Task<HttpStatusCode> PostAsync(string body)
        {
            using var answer = await client.PostAsync("/v1/agent/clock", new StringContent(body), Token);
            return answer.StatusCode;
        }

        Assert.Equal(HttpStatusCode.NoContent, await PostAsync("""{"time":"2026-07-08T12:00:00.1234567+00:00","seed":"AQID"}"""));
        Assert.Equal(new DateTimeOffset(2026, 7, 8, 12, 0, 0, TimeSpan.Zero).AddTicks(1234567), told!.Time);
        Assert.Equal([1, 2, 3], told.Seed);

        // The console is written behind the answer.
        for (var waits = 0; waits < 1000 && !agent.Lines.Any(Tells); waits++)
        {
            await Task.Delay(TimeSpan.FromMilliseconds(10), TimeProvider.System, Token);
        }

        Assert.Contains(agent.Lines, line => Tells(line));
        foreach (var bad in new[] { "", "{}", "null", """{"time":"noon"}""", """{"time":"2026-07-08T12:00:00Z","seed":"?"}""", """{"time":"2026-07-08T12:00:00Z","seed":""}""", $$"""{"time":"{{new string(' ', 5000)}}"}""" })
        {
            Assert.Equal(HttpStatusCode.BadRequest, await PostAsync(bad));
        }
    }
}
