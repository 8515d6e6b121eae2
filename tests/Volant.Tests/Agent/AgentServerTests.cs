using System.Diagnostics.Metrics;

namespace Volant.Tests.Agent;

public sealed class AgentServerTests
{
    [Fact]
    public async Task Whoever_listens_to_the_servers_metrics_does_not_keep_it_from_accepting()
    {
        var connections = 0L;
        using var metrics = new MeterListener
        {
            InstrumentPublished = static (instrument, listener) =>
            {
                if (instrument is { Meter.Name: "Microsoft.AspNetCore.Server.Kestrel", Name: "kestrel.queued_connections" })
                {
                    listener.EnableMeasurementEvents(instrument);
                }
            },
        };
        metrics.SetMeasurementEventCallback<long>((_, change, _, _) => Interlocked.Add(ref connections, Math.Max(0, change)));
        metrics.Start();
        await using var agent = await AgentHarness.StartAsync(new Uri("http://127.0.0.1:1"), null, TestContext.Current.CancellationToken);
        var (client, handler) = agent.Connect();
        using var owned = client;
        using var ownedHandler = handler;

        Assert.Equal("[]\n", await client.GetStringAsync("/v1/logs", TestContext.Current.CancellationToken));
        Assert.True(Interlocked.Read(ref connections) > 0);
        Assert.Empty(agent.Lines);
    }

    [Fact]
    public async Task State_is_told_before_the_manifest_is_read_and_what_needs_it_waits()
    {
        await using var agent = await AgentHarness.StartAsync(new Uri("http://127.0.0.1:1"), null, TestContext.Current.CancellationToken, isComplete: false);
        var (client, handler) = agent.Connect();
        using var owned = client;
        using var ownedHandler = handler;

        var logs = client.GetStringAsync("/v1/logs", TestContext.Current.CancellationToken);
        var state = await client.GetStringAsync("/v1/agent/state", TestContext.Current.CancellationToken);

        Assert.Contains("\"starting\"", state, StringComparison.Ordinal);
        Assert.False(logs.IsCompleted);
        agent.Complete();
        Assert.Equal("[]\n", await logs);
    }

    [Fact]
    public async Task Who_leaves_before_the_manifest_is_read_harms_nobody()
    {
        await using var agent = await AgentHarness.StartAsync(new Uri("http://127.0.0.1:1"), null, TestContext.Current.CancellationToken, isComplete: false);
        var (client, handler) = agent.Connect();
        using var owned = client;
        using var ownedHandler = handler;
        using var patience = new CancellationTokenSource();

        var logs = client.GetStringAsync("/v1/logs", patience.Token);
        await client.GetStringAsync("/healthz", TestContext.Current.CancellationToken);
        await patience.CancelAsync();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => logs);
        agent.Complete();

        Assert.Equal("[]\n", await client.GetStringAsync("/v1/logs", TestContext.Current.CancellationToken));
        Assert.Empty(agent.Lines);
    }
}
