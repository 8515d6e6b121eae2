using System.Text;
using Volant.Contracts;
using Volant.Contracts.Api;

namespace Volant.EndToEnd.Component;

/// <summary>Clients that hang up while their request is carried out (C05).</summary>
public sealed class DisconnectTests : IAsyncLifetime
{
    private TestDaemon _daemon = null!;

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    public async ValueTask InitializeAsync() => _daemon = await StandIn.StartAsync();

    public ValueTask DisposeAsync() => _daemon.DisposeAsync();

    [Fact]
    public async Task What_a_client_left_behind_happened_wholly_or_not_at_all()
    {
        var rounds = StandIn.Extent(4, 100);
        int[] delays = [0, 1, 5, 20, 100, 500];
        await Task.WhenAll(delays.Select(delay => LeaveAsync(delay, rounds)));
        await _daemon.UntilAsync(async () => (await _daemon.VmsAsync()).All(vm => vm.Status is VmStatus.Running or VmStatus.Stopped or VmStatus.Crashed), "no VM on its way");
        await _daemon.UntilAsync(async () => await DeploymentsAsync() is var all && all.All(each => each.ReadyReplicas == each.DesiredReplicas), "every deployment as wanted");

        var vms = await _daemon.VmsAsync();
        Assert.All(vms, vm => Assert.Equal(VmStatus.Running, vm.Status));
        Assert.Equal(vms.Select(vm => vm.Pid!.Value).Order(), _daemon.Hypervisors().Order());
        Assert.Equal(vms.Select(vm => vm.Uid.ToString("D")).Order(StringComparer.Ordinal), Directory.GetDirectories(_daemon.RuntimeDirectory).Select(Path.GetFileName).Order(StringComparer.Ordinal));

        var (made, lost) = (vms.Count(vm => vm.Name.StartsWith("made-", StringComparison.Ordinal)), vms.Count(vm => vm.Name.StartsWith("lost-", StringComparison.Ordinal)));
        Assert.True(made > 0 && lost < delays.Length * rounds, "no request was heard at all");
        StandIn.Report($"{delays.Length * rounds} of each: {made} creates and {(delays.Length * rounds) - lost} deletes happened");
    }

    private async Task LeaveAsync(int delay, int rounds)
    {
        (await _daemon.CallAsync(HttpMethod.Post, "/api/v1/deployments", $$"""{"name": "scaled-{{delay}}", "replicas": 0, "config": {"plugin": "{{StandIn.Plugin}}"} }""")).Expect(201);
        for (var i = 0; i < rounds; i++)
        {
            (await _daemon.CreateAsync($"lost-{delay}-{i}")).Expect(201);
            await SendAndLeaveAsync("POST", "/api/v1/vms", $$"""{"name": "made-{{delay}}-{{i}}", "plugin": "{{StandIn.Plugin}}"}""", delay);
            await SendAndLeaveAsync("DELETE", $"/api/v1/vms/lost-{delay}-{i}", "", delay);
            await SendAndLeaveAsync("PATCH", $"/api/v1/deployments/scaled-{delay}", $$"""{"replicas": {{(i + 1) % 3}}}""", delay);
        }
    }

    private async Task SendAndLeaveAsync(string method, string path, string body, int delay)
    {
        await using var connection = await _daemon.ConnectAsync(Cancel);
        await connection.WriteAsync(Encoding.ASCII.GetBytes($"{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {body.Length}\r\n\r\n{body}"), Cancel);
        await Task.Delay(TimeSpan.FromMilliseconds(delay), TimeProvider.System, Cancel);
    }

    private async Task<IReadOnlyList<Deployment>> DeploymentsAsync() =>
        (await _daemon.CallAsync(HttpMethod.Get, "/api/v1/deployments")).As(200, ContractsJson.Default.IReadOnlyListDeployment);
}
