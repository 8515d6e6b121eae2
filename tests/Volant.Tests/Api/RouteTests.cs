using System.Net;
using System.Net.Sockets;
using System.Text;
using Microsoft.Extensions.DependencyInjection;
using Volant.Contracts;
using Volant.Contracts.Api;
using Volant.Daemon;
using Volant.Daemon.Orchestration;
using Volant.Daemon.Publishing;
using Volant.Tests.Guests;
using Volant.Tests.Publishing;

namespace Volant.Tests.Api;

/// <summary>Published ports of VMs, of deployments and by hand, over the API, with echo servers on loopback in the place of guests.</summary>
public sealed class RouteTests : IAsyncLifetime
{
    private const string Bridged = """ "network": {"mode": "bridged"} """;

    // What listens at an address of a guest; the same for each of its ports.
    private readonly System.Collections.Concurrent.ConcurrentDictionary<string, EchoServer> _guests = [];
    private readonly int _base = 21_000 + (Random.Shared.Next(400) * 20);
    private ApiFixture _api = null!;

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    public async ValueTask InitializeAsync()
    {
        _api = await ApiFixture.StartAsync(
            new Dictionary<string, string>(StringComparer.Ordinal) { ["VOLANT_PUBLISH_PORTS"] = $"{_base + 10}-{_base + 12}" },
            services => services.AddSingleton(new GuestDialer(
                (address, end) => SocketConnection.ConnectAsync(Guest(address).EndPoint, end), address => new SocketDatagrams(Guest(address).EndPoint))));
        await _api.InstallAsync();
    }

    public async ValueTask DisposeAsync()
    {
        await _api.DisposeAsync();
        foreach (var guest in _guests.Values)
        {
            await guest.DisposeAsync();
        }
    }

    [Fact]
    public async Task A_VM_publishes_TCP_and_UDP_while_it_runs_and_the_ports_end_with_it()
    {
        await _api.CreateAsync("web", config: $$"""{ {{Bridged}}, "expose": [{"name": "http", "port": 80, "host_port": {{_base}} }, {"protocol": "udp", "port": 53, "host_port": {{_base}} }] }""");
        Assert.Equal("192.168.127.2 hello", await AskTcpAsync(_base));
        Assert.Equal("192.168.127.2 hello", await AskUdpAsync(_base));
        var routes = await ListAsync();
        Assert.Equal(["tcp", "udp"], routes.Select(route => route.Protocol));
        Assert.Equal(
            new PublishedRoute
            {
                HostPort = _base,
                Protocol = "tcp",
                Name = "http",
                Vm = "web",
                Address = "127.0.0.1",
                Listening = true,
                Backend = new RouteBackend { Type = "bridge", Ip = "192.168.127.2", Port = 80 },
            },
            routes[0]);

        await PostAsync("/api/v1/vms/web/stop?grace_seconds=0");
        await AssertRefusedAsync(_base);
        routes = await ListAsync();
        Assert.All(routes, route => Assert.False(route.Listening));
        Assert.Equal("VM 'web' does not run", routes[0].Message);
        await PostAsync("/api/v1/vms/web/start?wait=ready");
        Assert.Equal("192.168.127.2 hello", await AskTcpAsync(_base));

        await DeleteAsync("/api/v1/vms/web", 204);
        await AssertRefusedAsync(_base);
        Assert.Empty(await ListAsync());
    }

    [Fact]
    public async Task A_port_that_is_taken_is_refused_with_its_holder_and_nothing_is_left()
    {
        await _api.CreateAsync("web", config: Expose(_base));
        var taken = await RefusedAsync("db", Expose(_base), 409);
        Assert.Equal(ErrorCodes.PortInUse, taken.Code);
        Assert.Contains("VM 'web'", taken.Detail, StringComparison.Ordinal);
        await PostAsync("/api/v1/vms/web/stop?grace_seconds=0");
        Assert.Contains("VM 'web'", (await RefusedAsync("db", Expose(_base), 409)).Detail, StringComparison.Ordinal);

        using var other = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
        other.Bind(new IPEndPoint(IPAddress.Loopback, _base + 1));
        other.Listen();
        Assert.Contains("another program", (await RefusedAsync("db", Expose(_base + 2, _base + 1), 409)).Detail, StringComparison.Ordinal);

        // The one that was free is free again.
        await AssertRefusedAsync(_base + 2);
        Assert.Equal(["web"], (await VmsAsync()).Select(vm => vm.Name));
        Assert.Single(await ListAsync());
        Assert.Empty(_api.Launcher.Alive);
        Assert.Equal(0, (await _api.CreateAsync("db", config: Expose(_base + 2))).Restarts);
    }

    [Fact]
    public async Task A_launch_that_fails_gives_its_ports_back()
    {
        _api.Launcher.FailBefore = new VolantException(ErrorCodes.HypervisorUnavailable, "No such program.");
        await RefusedAsync("web", Expose(_base), 503);
        await AssertRefusedAsync(_base);
        Assert.Empty(await ListAsync());
        _api.Launcher.FailBefore = null;
        await _api.CreateAsync("web", config: Expose(_base));
        Assert.EndsWith("hello", await AskTcpAsync(_base), StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_free_port_is_found_when_none_is_named_stays_the_same_and_the_range_has_an_end()
    {
        const string Any = """{"network": {"mode": "bridged"}, "expose": [{"port": 80}]}""";
        using var other = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
        other.Bind(new IPEndPoint(IPAddress.Loopback, _base + 10));
        other.Listen();
        await _api.CreateAsync("a", config: Any);
        await _api.CreateAsync("b", config: Any);
        Assert.Equal([_base + 11, _base + 12], (await ListAsync()).Select(route => route.HostPort));
        Assert.Equal(ErrorCodes.InsufficientCapacity, (await RefusedAsync("c", Any, 503)).Code);
        await PostAsync("/api/v1/vms/b/stop?grace_seconds=0");
        other.Dispose();
        await PostAsync("/api/v1/vms/b/start?wait=ready");
        Assert.Equal([_base + 11, _base + 12], (await ListAsync()).Select(route => route.HostPort));
        Assert.EndsWith("hello", await AskTcpAsync(_base + 12), StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_changed_configuration_takes_effect_at_the_next_start_and_a_taken_port_is_refused_at_once()
    {
        await _api.CreateAsync("web", config: Expose(_base));
        await _api.CreateAsync("db", config: Expose(_base + 1));
        using (var refused = await _api.SendAsync(HttpMethod.Patch, "/api/v1/vms/web/config", Expose(_base + 1)))
        {
            Assert.Equal(ErrorCodes.PortInUse, (await ApiFixture.ReadAsync(refused, 409, ContractsJson.Default.Problem)).Code);
        }

        using (var patched = await _api.SendAsync(HttpMethod.Patch, "/api/v1/vms/web/config", Expose(_base + 2)))
        {
            Assert.Equal(200, (int)patched.StatusCode);
        }

        Assert.EndsWith("hello", await AskTcpAsync(_base), StringComparison.Ordinal);
        await PostAsync("/api/v1/vms/web/restart?grace_seconds=0&wait=ready");
        await AssertRefusedAsync(_base);
        Assert.EndsWith("hello", await AskTcpAsync(_base + 2), StringComparison.Ordinal);
        Assert.Equal([_base + 1, _base + 2], (await ListAsync()).Select(route => route.HostPort));
    }

    [Fact]
    public async Task A_restart_of_the_daemon_opens_every_port_again_and_one_that_is_taken_later()
    {
        await _api.CreateAsync("web", config: Expose(_base, _base + 1));
        using (var manual = await _api.SendAsync(HttpMethod.Post, "/api/v1/drift/routes", $$"""{"host_port": {{_base + 2}}, "protocol": "tcp", "backend": {"type": "bridge", "ip": "192.168.127.77", "port": 9} }"""))
        {
            Assert.Equal(201, (int)manual.StatusCode);
        }

        using var deployment = await _api.SendAsync(HttpMethod.Post, "/api/v1/deployments", $$"""{"name": "dep", "config": {"plugin": "hello", {{Bridged}}, "expose": [{"port": 80, "host_port": {{_base + 3}} }]} }""");
        await UntilAsync(async () => await TryAskTcpAsync(_base + 3) is not null);

        // Another program takes one while the daemon is down.
        using var thief = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
        await _api.RestartAsync(() =>
        {
            thief.Bind(new IPEndPoint(IPAddress.Loopback, _base + 1));
            thief.Listen();
        });

        await UntilAsync(async () => (await ListAsync()).Count(route => route.Listening) == 3);
        Assert.StartsWith("192.168.127.2 ", await AskTcpAsync(_base), StringComparison.Ordinal);
        Assert.Equal("192.168.127.77 hello", await AskTcpAsync(_base + 2));
        await UntilAsync(async () => await TryAskTcpAsync(_base + 3) is not null);
        var stolen = (await ListAsync()).Single(route => !route.Listening);
        Assert.Equal(_base + 1, stolen.HostPort);
        Assert.Contains("another program", stolen.Message, StringComparison.Ordinal);
        Assert.Equal(VmStatus.Running, (await VmsAsync()).Single(vm => vm.Name == "web").Status);
        thief.Dispose();
        await _api.Services.GetRequiredService<PublishedPorts>().SyncAsync();
        Assert.EndsWith("hello", await AskTcpAsync(_base + 1), StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_deployment_shares_its_port_among_the_replicas_that_are_ready()
    {
        // One of the three never becomes ready.
        var asked = 0;
        _api.Agent.OnState = context => Interlocked.Increment(ref asked) == 1 ? FakeAgent.HangAsync(context) : FakeAgent.AnswerAsync(context);
        await DeployAsync("web", 3, 80);
        await UntilAsync(async () => (await DeploymentAsync("web")).ReadyReplicas == 2);
        var seen = new HashSet<string>(StringComparer.Ordinal);
        for (var i = 0; i < 12; i++)
        {
            seen.Add(await AskTcpAsync(_base));
        }

        Assert.Equal((await VmsAsync()).Where(vm => vm.Ready).Select(vm => $"{vm.IpAddress} hello").Order(StringComparer.Ordinal), seen.Order(StringComparer.Ordinal));
        var route = Assert.Single(await ListAsync());
        Assert.Equal(("web", null, true), (route.Deployment, route.Vm, route.Listening));
        Assert.Contains("deployment 'web'", (await RefusedAsync("db", Expose(_base), 409)).Detail, StringComparison.Ordinal);
        await DeleteAsync($"/api/v1/drift/routes/tcp/{_base}", 409);
        await DeleteAsync("/api/v1/deployments/web", 204);
        await AssertRefusedAsync(_base);
        Assert.Empty(await ListAsync());
    }

    [Fact]
    public async Task A_roll_out_is_served_throughout_and_gives_back_the_ports_of_the_revision_before()
    {
        await DeployAsync("web", 2, 80);
        await UntilAsync(async () => (await DeploymentAsync("web")).Status == "healthy");
        using var over = new CancellationTokenSource();
        var failures = 0;
        var asking = Task.Run(async () =>
        {
            while (!over.IsCancellationRequested)
            {
                failures += await TryAskTcpAsync(_base) is null ? 1 : 0;
            }
        }, Cancel);

        using (var changed = await _api.SendAsync(
            HttpMethod.Patch, "/api/v1/deployments/web", $$"""{"config": {"plugin": "hello", {{Bridged}}, "expose": [{"port": 81, "host_port": {{_base}} }, {"port": 80, "host_port": {{_base + 1}} }]} }"""))
        {
            Assert.Equal(200, (int)changed.StatusCode);
        }

        await UntilAsync(async () => await DeploymentAsync("web") is { Status: "healthy", Revision: 2 });
        await over.CancelAsync();
        await asking;

        // At most what was under way to each of the two replicas when they were replaced.
        Assert.InRange(failures, 0, 2);
        Assert.Equal([(_base, 81), (_base + 1, 80)], (await ListAsync()).Select(route => (route.HostPort, route.Backend.Port!.Value)));
        using (var back = await _api.SendAsync(HttpMethod.Patch, "/api/v1/deployments/web", $$"""{"config": {"plugin": "hello", {{Bridged}} } }"""))
        {
            Assert.Equal(200, (int)back.StatusCode);
        }

        await UntilAsync(async () => await DeploymentAsync("web") is { Status: "healthy", Revision: 3 } && (await ListAsync()).Count == 0);
        await UntilAsync(async () => await TryAskTcpAsync(_base) is null);
        await AssertRefusedAsync(_base);
    }

    [Fact]
    public async Task A_route_by_hand_leads_to_a_VM_with_which_it_ends_or_to_an_address()
    {
        var vm = await _api.CreateAsync("web", config: $"{{{Bridged}}}");
        var toVm = await CreateRouteAsync($$"""{"host_port": {{_base}}, "protocol": "tcp", "backend": {"type": "bridge", "ip": "{{vm.IpAddress}}", "port": 80} }""");
        var toAddress = await CreateRouteAsync("""{"protocol": "udp", "backend": {"type": "bridge", "ip": "192.168.127.200", "port": 53}}""");
        Assert.Equal(("web", _base, true), (toVm.Vm, toVm.HostPort, toVm.Listening));
        Assert.Equal((null, _base + 10, true), (toAddress.Vm, toAddress.HostPort, toAddress.Listening));
        Assert.EndsWith("hello", await AskTcpAsync(_base), StringComparison.Ordinal);
        Assert.Equal("192.168.127.200 hello", await AskUdpAsync(_base + 10));

        await PostAsync("/api/v1/vms/web/restart?grace_seconds=0&wait=ready");
        Assert.EndsWith("hello", await AskTcpAsync(_base), StringComparison.Ordinal);
        await DeleteAsync("/api/v1/vms/web", 204);
        await AssertRefusedAsync(_base);
        Assert.Equal("udp", Assert.Single(await ListAsync()).Protocol);
        await DeleteAsync($"/api/v1/drift/routes/udp/{_base + 10}", 204);
        await DeleteAsync($"/api/v1/drift/routes/udp/{_base + 10}", 404);
        Assert.Empty(await ListAsync());
    }

    [Fact]
    public async Task A_guest_without_a_network_is_reached_by_its_channel_with_TCP_and_UDP()
    {
        // Nothing comes before the client has spoken, as with HTTP.
        await using var workload = new EchoServer();
        var vm = await _api.CreateAsync(
            "web", config: $$"""{"expose": [{"port": {{workload.EndPoint.Port}}, "host_port": {{_base}} }, {"protocol": "udp", "port": {{workload.EndPoint.Port}}, "host_port": {{_base}} }, {"port": 9, "host_port": {{_base + 1}} }] }""");
        Assert.Equal("hello", await AskTcpAsync(_base));
        Assert.Equal("hello", await AskUdpAsync(_base));
        Assert.Null(await TryAskTcpAsync(_base + 1));
        var answers = await Task.WhenAll(Enumerable.Range(0, 100).Select(_ => AskTcpAsync(_base)));
        Assert.All(answers, answer => Assert.Equal("hello", answer));
        var manual = await CreateRouteAsync($$"""{"protocol": "tcp", "backend": {"type": "vsock", "cid": {{vm.VsockCid}}, "port": {{workload.EndPoint.Port}} } }""");
        Assert.Equal("hello", await AskTcpAsync(manual.HostPort));
        Assert.Equal([new RouteBackend { Type = "vsock", Cid = vm.VsockCid, Port = workload.EndPoint.Port }], (await ListAsync()).Where(route => route.HostPort == _base).Select(route => route.Backend).Distinct());
        await _api.RestartAsync();
        await UntilAsync(async () => await TryAskTcpAsync(_base) == "hello");
        await DeleteAsync("/api/v1/vms/web", 204);
        Assert.Empty(await ListAsync());
    }

    [Theory]
    [InlineData("""{"protocol": "tcp"}""", 400, "backend")]
    [InlineData("""{"host_port": 70000, "protocol": "sctp", "backend": {"type": "x", "port": 0}}""", 400, "host_port", "protocol", "backend.type", "backend.port")]
    [InlineData("""{"protocol": "tcp", "backend": {"type": "bridge", "ip": "192.168.127", "port": 1}}""", 400, "backend.ip")]
    [InlineData("""{"protocol": "tcp", "backend": {"type": "bridge", "ip": "192.168.127.2", "cid": 4, "port": 1}}""", 400, "backend.cid")]
    [InlineData("""{"protocol": "tcp", "backend": {"type": "vsock", "ip": "192.168.127.2", "cid": 2, "port": 1}}""", 400, "backend.ip", "backend.cid")]
    [InlineData("""{"protocol": "tcp", "backend": {"type": "bridge", "ip": "127.0.0.1", "port": 7777}}""", 422, "backend.ip")]
    [InlineData("""{"protocol": "tcp", "backend": {"type": "bridge", "ip": "192.168.127.1", "port": 7777}}""", 422, "backend.ip")]
    [InlineData("""{"protocol": "tcp", "backend": {"type": "bridge", "ip": "169.254.169.254", "port": 80}}""", 422, "backend.ip")]
    [InlineData("""{"protocol": "tcp", "backend": {"type": "vsock", "cid": 4000, "port": 80}}""", 404)]
    public async Task A_bad_route_names_what_is_wrong_and_opens_nothing(string body, int status, params string[] fields)
    {
        using var response = await _api.SendAsync(HttpMethod.Post, "/api/v1/drift/routes", body);
        var problem = await ApiFixture.ReadAsync(response, status, ContractsJson.Default.Problem);
        Assert.Equal(fields.Order(StringComparer.Ordinal), (problem.Errors?.Keys ?? []).Order(StringComparer.Ordinal));
        Assert.Empty(await ListAsync());
        Assert.Empty(_api.Services.GetRequiredService<PortForwarders>().Open);
    }

    [Theory]
    [InlineData("""[{"port": 0}]""", "config.expose[0].port")]
    [InlineData("""[{"port": 80, "host_port": 65536}]""", "config.expose[0].host_port")]
    [InlineData("""[{"port": 80, "protocol": "sctp"}]""", "config.expose[0].protocol")]
    [InlineData("""[{"port": 80, "mode": "bridge"}]""", "config.expose[0].mode")]
    [InlineData("""[{"port": 80, "host_port": 8080}, {"port": 81, "host_port": 8080, "protocol": "TCP"}]""", "config.expose[1].host_port")]
    [InlineData("[null]", "config.expose[0]")]
    public async Task A_bad_expose_names_what_is_wrong(string expose, string field)
    {
        var problem = await RefusedAsync("web", $$"""{"expose": {{expose}} }""", 400);
        Assert.Contains(field, problem.Errors!.Keys);
        var many = string.Join(',', Enumerable.Repeat("""{"port": 80}""", 10_000));
        Assert.Contains("config.expose", (await RefusedAsync("web", $$"""{"expose": [{{many}}]}""", 400)).Errors!.Keys);
        Assert.Empty(await VmsAsync());
    }

    [Fact]
    public async Task The_port_of_the_API_is_never_given_away()
    {
        // A free port for a daemon that listens on TCP.
        await using var daemon = await ApiFixture.StartAsync(new Dictionary<string, string>(StringComparer.Ordinal) { ["VOLANT_PUBLISH_ADDRESS"] = "127.0.0.2" });
        await daemon.InstallAsync();
        var options = daemon.Options with { Listen = new ListenAddress(new IPEndPoint(IPAddress.Loopback, _base + 5), null) };
        var ports = ActivatorUtilities.CreateInstance<PublishedPorts>(daemon.Services, options);
        using var reservation = new PortReservation();
        var failure = Assert.Throws<VolantException>(() => ports.Reserve(reservation, [new ExposedPort { Protocol = "tcp", Port = 80, HostPort = _base + 5 }], "bridged", _ => false));
        Assert.Equal(ErrorCodes.PortInUse, failure.Code);
        Assert.Contains("own API", failure.Message, StringComparison.Ordinal);
    }

    private static string Expose(params int[] hostPorts) =>
        $$"""{ {{Bridged}}, "expose": [{{string.Join(',', hostPorts.Select(port => $$"""{"port": 80, "host_port": {{port}} }"""))}}] }""";

    private EchoServer Guest(IPEndPoint address) => _guests.GetOrAdd(address.Address.ToString(), static name => new EchoServer($"{name} "));

    private async Task DeployAsync(string name, int replicas, int port)
    {
        using var response = await _api.SendAsync(
            HttpMethod.Post, "/api/v1/deployments", $$"""{"name": "{{name}}", "replicas": {{replicas}}, "config": {"plugin": "hello", {{Bridged}}, "expose": [{"port": {{port}}, "host_port": {{_base}} }]} }""");
        await ApiFixture.ReadAsync(response, 201, ContractsJson.Default.Deployment);
    }

    private async Task<Deployment> DeploymentAsync(string name)
    {
        using var response = await _api.SendAsync(HttpMethod.Get, $"/api/v1/deployments/{name}");
        return await ApiFixture.ReadAsync(response, 200, ContractsJson.Default.Deployment);
    }

    private async Task<IReadOnlyList<PublishedRoute>> ListAsync()
    {
        using var response = await _api.SendAsync(HttpMethod.Get, "/api/v1/drift/routes");
        return await ApiFixture.ReadAsync(response, 200, ContractsJson.Default.IReadOnlyListPublishedRoute);
    }

    private async Task<PublishedRoute> CreateRouteAsync(string body)
    {
        using var response = await _api.SendAsync(HttpMethod.Post, "/api/v1/drift/routes", body);
        var route = await ApiFixture.ReadAsync(response, 201, ContractsJson.Default.PublishedRoute);
        Assert.Equal($"/api/v1/drift/routes/{route.Protocol}/{route.HostPort}", response.Headers.Location!.ToString());
        return route;
    }

    private async Task<IReadOnlyList<Vm>> VmsAsync()
    {
        using var response = await _api.SendAsync(HttpMethod.Get, "/api/v1/vms?sort=name");
        return await ApiFixture.ReadAsync(response, 200, ContractsJson.Default.IReadOnlyListVm);
    }

    private async Task<Problem> RefusedAsync(string name, string config, int status)
    {
        using var response = await _api.SendAsync(HttpMethod.Post, "/api/v1/vms", $$"""{"name": "{{name}}", "plugin": "hello", "config": {{config}} }""");
        return await ApiFixture.ReadAsync(response, status, ContractsJson.Default.Problem);
    }

    private async Task PostAsync(string path)
    {
        using var response = await _api.SendAsync(HttpMethod.Post, path);
        Assert.True(response.IsSuccessStatusCode, await response.Content.ReadAsStringAsync(Cancel));
    }

    private async Task DeleteAsync(string path, int status)
    {
        using var response = await _api.SendAsync(HttpMethod.Delete, path);
        Assert.True((int)response.StatusCode == status, $"{(int)response.StatusCode} {await response.Content.ReadAsStringAsync(Cancel)}");
    }

    private async Task<string> AskTcpAsync(int port) =>
        await TryAskTcpAsync(port) ?? throw new IOException($"nobody answers at {port}; {string.Join(", ", await ListAsync())}; {string.Join(", ", _api.Log.Errors)}");

    /// <summary>What comes back for a greeting; null when the connection is refused or broken.</summary>
    private static async Task<string?> TryAskTcpAsync(int port)
    {
        using var patience = CancellationTokenSource.CreateLinkedTokenSource(Cancel);
        patience.CancelAfter(TimeSpan.FromSeconds(60));
        using var client = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
        try
        {
            await client.ConnectAsync(new IPEndPoint(IPAddress.Loopback, port), Cancel);
            await using var stream = new NetworkStream(client);
            await stream.WriteAsync("hello"u8.ToArray(), Cancel);
            client.Shutdown(SocketShutdown.Send);
            using var reader = new StreamReader(stream);
            var answer = await reader.ReadToEndAsync(patience.Token);
            return answer.EndsWith("bye", StringComparison.Ordinal) ? answer[..^3] : null;
        }
        catch (Exception e) when (e is SocketException or IOException)
        {
            return null;
        }
    }

    private static async Task<string> AskUdpAsync(int port)
    {
        using var client = new Socket(AddressFamily.InterNetwork, SocketType.Dgram, ProtocolType.Udp);
        await client.ConnectAsync(new IPEndPoint(IPAddress.Loopback, port), Cancel);
        using var patience = CancellationTokenSource.CreateLinkedTokenSource(Cancel);
        patience.CancelAfter(TimeSpan.FromSeconds(60));
        await client.SendAsync("hello"u8.ToArray(), Cancel);
        var buffer = new byte[1024];
        return Encoding.ASCII.GetString(buffer, 0, await client.ReceiveAsync(buffer, patience.Token));
    }

    private static async Task AssertRefusedAsync(int port)
    {
        using var client = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
        var failure = await Assert.ThrowsAsync<SocketException>(async () => await client.ConnectAsync(new IPEndPoint(IPAddress.Loopback, port), Cancel));
        Assert.Equal(SocketError.ConnectionRefused, failure.SocketErrorCode);
    }

    private static async Task UntilAsync(Func<Task<bool>> condition)
    {
        var started = TimeProvider.System.GetTimestamp();
        while (!await condition())
        {
            Assert.True(TimeProvider.System.GetElapsedTime(started).TotalSeconds < 40, "the condition did not come true");
            await Task.Delay(TimeSpan.FromMilliseconds(10), TimeProvider.System, Cancel);
        }
    }
}
