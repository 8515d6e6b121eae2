using System.Globalization;
using Volant.Contracts;
using Volant.Contracts.Api;
using Volant.Linux.Kernel;

namespace Volant.EndToEnd.Component;

/// <summary>Deployments whose replicas and whose daemon die (C07).</summary>
public sealed class DeploymentChurnTests : IAsyncLifetime
{
    /// <summary>Replicas that are deleted at a time (the daemon's bound): as many may go out of order.</summary>
    private const int Concurrency = 4;

    private TestDaemon _daemon = null!;

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    public async ValueTask InitializeAsync() => _daemon = await StandIn.StartAsync();

    public ValueTask DisposeAsync() => _daemon.DisposeAsync();

    [Fact]
    public async Task It_grows_and_shrinks_although_replicas_and_the_daemon_are_killed()
    {
        var (replicas, kills, random) = (StandIn.Extent(20, 200), StandIn.Extent(3, 20), new Random(7));
        await MakeAsync("web", 0, "");
        await ScaleAsync("web", replicas);
        for (var kill = 0; kill < kills; kill++)
        {
            await Task.Delay(TimeSpan.FromMilliseconds(random.Next(200)), TimeProvider.System, Cancel);
            await _daemon.EndAsync(Signals.Kill);
            await _daemon.StartAsync();
            if (_daemon.Hypervisors() is { Count: > 0 } running)
            {
                TryKill(running[random.Next(running.Count)]);
            }
        }

        await SettleAsync(replicas);
        for (var i = 0; i < StandIn.Extent(3, 30); i++)
        {
            var victim = (await _daemon.VmsAsync())[random.Next(replicas)];
            var killed = TimeProvider.System.GetTimestamp();
            StandIn.Signal(victim.Pid!.Value, Signals.Kill);

            // Ten seconds are promised; the rest is for a machine with other things to do.
            await _daemon.UntilAsync(async () => await _daemon.FindAsync(victim.Name) is { Ready: true } now && now.Uid != victim.Uid, $"{victim.Name} is replaced", seconds: 15);
            StandIn.Report($"{victim.Name} was replaced {TimeProvider.System.GetElapsedTime(killed).TotalSeconds:0.0} s after its death");
        }

        await ShrinkAsync(replicas, replicas / 4);
        await _daemon.EndAsync(Signals.Kill);
        await _daemon.StartAsync();
        await ScaleAsync("web", 0);
        await SettleAsync(0);
    }

    [Fact]
    public async Task One_replica_that_always_fails_is_named_holds_up_no_other_and_is_tried_ever_more_seldom()
    {
        await MakeAsync("web", 6, "exec-fail:1@web-3");
        var degraded = await UntilAsync("web", deployment => deployment is { Status: DeploymentStatuses.Degraded, ReadyReplicas: 5 });
        Assert.Contains("web-3 cannot be made", degraded.Message, StringComparison.Ordinal);
        Assert.Contains("told to fail", degraded.Message, StringComparison.Ordinal);
        await using var feed = await EventFeed.OpenAsync(_daemon, after: 0);
        List<Arrival> attempts = [];
        await _daemon.UntilAsync(
            () => Task.FromResult((attempts = [.. feed.Arrived.Where(arrival => arrival.Type == VmEventTypes.Starting && arrival.Event!.Name == "web-3")]).Count >= 4), "four attempts");
        var pauses = attempts.Zip(attempts.Skip(1)).Select(pair => (pair.Second.Event!.Timestamp - pair.First.Event!.Timestamp).TotalSeconds).ToList();
        StandIn.Report($"attempts with pauses of {string.Join(", ", pauses.Select(pause => $"{pause:0.0}"))} s");

        // 1, 2, 4 s with a tenth of jitter.
        Assert.All(pauses.Take(3).Select((pause, i) => (pause, i)), each => Assert.True(each.pause >= 0.85 * (1 << each.i), $"{each}"));
        Assert.Equal(5, (await _daemon.VmsAsync()).Count(vm => vm is { Ready: true }));
    }

    /// <summary>The highest numbers go first, and nobody else.</summary>
    private async Task ShrinkAsync(int from, int to)
    {
        var before = (await _daemon.VmsAsync()).ToDictionary(Index, vm => vm.Uid);
        await ScaleAsync("web", to);
        var agreements = 0;
        while (true)
        {
            var vms = await _daemon.VmsAsync();
            var deployment = await FindAsync("web");
            var left = vms.Select(Index).ToHashSet();
            var highestGone = Enumerable.Range(1, from).Where(index => !left.Contains(index)).DefaultIfEmpty(from).Min();
            Assert.True(left.Count(index => index > highestGone) < Concurrency, $"{highestGone} went before {string.Join(", ", left.Where(index => index > highestGone))}");
            Assert.All(vms.Where(vm => Index(vm) <= to), vm => Assert.Equal(before[Index(vm)], vm.Uid));

            // Nothing changed while both were read: then they must agree.
            if ((await _daemon.VmsAsync()).Select(vm => (vm.Uid, vm.UpdatedAt)).SequenceEqual(vms.Select(vm => (vm.Uid, vm.UpdatedAt))))
            {
                Assert.Equal(vms.Count(vm => vm is { Status: VmStatus.Running, Ready: true }), deployment.ReadyReplicas);
                agreements++;
            }

            if (vms.Count == to && deployment.Status == DeploymentStatuses.Healthy)
            {
                break;
            }
        }

        Assert.True(agreements > 0);
        await SettleAsync(to);
    }

    /// <summary>Healthy, with exactly the wanted replicas and a process for each; the death of one may not have been noticed yet.</summary>
    private Task SettleAsync(int replicas) => _daemon.UntilAsync(
        async () => await FindAsync("web") is { Status: DeploymentStatuses.Healthy } deployment && deployment.ReadyReplicas == replicas &&
            await _daemon.VmsAsync() is var vms && vms.Select(Index).Order().SequenceEqual(Enumerable.Range(1, replicas)) &&
            vms.All(vm => vm.Ready) && vms.Select(vm => vm.Pid!.Value).Order().SequenceEqual(_daemon.Hypervisors().Order()),
        $"{replicas} replicas with a process each");

    private static int Index(Vm vm) => int.Parse(vm.Name["web-".Length..], CultureInfo.InvariantCulture);

    /// <summary>It may have ended meanwhile.</summary>
    private static void TryKill(int pid)
    {
        using var process = Linux.Processes.ProcessIdentity.Find(pid) is { } identity ? Linux.Processes.PidFd.TryOpen(identity) : null;
        process?.Signal(Signals.Kill);
    }

    private async Task MakeAsync(string name, int replicas, string fault) => (await _daemon.CallAsync(
        HttpMethod.Post, "/api/v1/deployments",
        $$"""{"name": "{{name}}", "replicas": {{replicas}}, "config": {"plugin": "{{StandIn.Plugin}}", "kernel_cmdline": "{{(fault.Length > 0 ? $"volant.fault={fault}" : "")}}"} }""")).Expect(201);

    private async Task ScaleAsync(string name, int replicas) => (await _daemon.CallAsync(HttpMethod.Patch, $"/api/v1/deployments/{name}", $$"""{"replicas": {{replicas}}}""")).Expect(200);

    private async Task<Deployment> FindAsync(string name) => (await _daemon.CallAsync(HttpMethod.Get, $"/api/v1/deployments/{name}")).As(200, ContractsJson.Default.Deployment);

    private async Task<Deployment> UntilAsync(string name, Func<Deployment, bool> wanted)
    {
        Deployment last = null!;
        await _daemon.UntilAsync(async () => wanted(last = await FindAsync(name)), $"{name} as wanted");
        return last;
    }
}
