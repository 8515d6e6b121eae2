using System.Net;
using System.Net.Http.Json;
using System.Net.Sockets;
using System.Text;
using System.Text.Json;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;
using Volant.Agent.Boot;
using Volant.Agent.Identity;
using Volant.Agent.Transport;
using Volant.Agent.Workloads;
using Volant.Contracts;
using Volant.Contracts.Api;
using Volant.Contracts.Manifests;
using Volant.Daemon.Publishing;

namespace Volant.Tests.Agent;

/// <summary>What the agent serves besides the workload: actions, its documents, metrics, the tunnel and the gate.</summary>
public sealed class SurfaceTests
{
    private const string Version = """{"Browser": "Chrome/1", "User-Agent": "UA", "webSocketDebuggerUrl": "ws://127.0.0.1:9/devtools/browser/x"}""";

    private static readonly PluginManifest Manifest = new()
    {
        Name = "p",
        Version = "2",
        Actions = new Dictionary<string, ManifestAction>(StringComparer.Ordinal)
        {
            ["greet"] = new() { Method = "POST", Path = "/greet", TimeoutMs = 200, Description = "Says \"hello\"." },
            ["list"] = new() { Method = "GET", Path = "/things?all=1" },
            ["own"] = new() { Method = "GET", Path = "/v1/own" },
        },
    };

    private static CancellationToken Token => TestContext.Current.CancellationToken;

    [Fact]
    public async Task An_action_is_at_its_path_and_under_v1_with_its_own_limit()
    {
        await using var agent = await AgentHarness.StartAsync(
            app => app.Map("{**path}", async (HttpContext context) =>
            {
                if (context.Request.Query.ContainsKey("hang"))
                {
                    await Task.Delay(Timeout.InfiniteTimeSpan, TimeProvider.System, context.RequestAborted);
                }

                await context.Response.WriteAsync($"{context.Request.Method} {context.Request.Path}{context.Request.QueryString}");
            }),
            Token,
            Manifest);
        var (client, handler) = agent.Connect();
        using var ownHandler = handler;
        using var ownClient = client;

        Assert.Equal("POST /greet?a=1", await SendAsync(client, "POST", "/v1/greet?a=1"));
        Assert.Equal("POST /greet", await SendAsync(client, "POST", "/greet"));
        Assert.Equal("GET /v1/greet", await SendAsync(client, "GET", "/v1/greet"));
        Assert.Equal("GET /things?all=1", await SendAsync(client, "GET", "/v1/things?all=1"));
        Assert.Equal("GET /v1/own", await SendAsync(client, "GET", "/v1/own"));
        Assert.Equal("GET /v1/other", await SendAsync(client, "GET", "/v1/other"));
        using var late = await client.PostAsync("/v1/greet?hang=1", null, Token);
        Assert.Equal(HttpStatusCode.GatewayTimeout, late.StatusCode);
        Assert.Contains("0.2 s", await late.Content.ReadAsStringAsync(Token), StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("/docs.json", "/docs.json", "theirs")]
    [InlineData(null, "/v1/openapi", "theirs")]
    [InlineData("https://elsewhere/docs", "/none", "3.1.0")]
    [InlineData("/missing", "/none", "3.1.0")]
    public async Task The_api_document_is_the_workloads_or_made_from_the_actions(string? named, string served, string expected)
    {
        await using var agent = await AgentHarness.StartAsync(app => app.MapGet(served, () => TypedResults.Text("""{"openapi": "theirs"}""", "application/json")), Token, Manifest with { OpenApi = named });
        var (client, handler) = agent.Connect();
        using var ownHandler = handler;
        using var ownClient = client;

        var document = JsonDocument.Parse(await client.GetStringAsync("/v1/openapi", Token)).RootElement;

        Assert.Equal(expected, document.GetProperty("openapi").GetString());
        if (expected == "3.1.0")
        {
            Assert.Equal("greet", document.GetProperty("paths").GetProperty("/greet").GetProperty("post").GetProperty("operationId").GetString());
            Assert.Equal("list", document.GetProperty("paths").GetProperty("/things").GetProperty("get").GetProperty("operationId").GetString());
        }
    }

    [Fact]
    public async Task A_browser_says_where_its_devtools_are_and_other_workloads_for_themselves()
    {
        await using var browser = await AgentHarness.StartAsync(app => app.MapGet("/json/version", () => TypedResults.Text(Version, "application/json")), Token);
        await using var other = await AgentHarness.StartAsync(app => app.MapGet("/v1/devtools", () => "mine"), Token);
        var (client, handler) = browser.Connect();
        var (second, secondHandler) = other.Connect();
        using var all = new Disposables(client, handler, second, secondHandler);

        var info = (await client.GetFromJsonAsync("/v1/devtools", ContractsJson.Default.DevToolsInfo, Token))!;
        Assert.Equal(("/devtools/browser/x", "Chrome/1", "UA", "127.0.0.1"), (info.WebsocketPath, info.BrowserVersion, info.UserAgent, info.Address));
        Assert.Equal("mine", await second.GetStringAsync("/v1/devtools", Token));
    }

    [Fact]
    public async Task The_guest_is_measured()
    {
        await using var agent = await AgentHarness.StartAsync(_ => { }, Token);
        var (client, handler) = agent.Connect();
        using var all = new Disposables(client, handler);

        var metrics = (await client.GetFromJsonAsync("/v1/metrics", ContractsJson.Default.GuestMetrics, Token))!;

        Assert.True(metrics.Uptime > 0 && metrics.Cpu.Count > 0 && metrics.Cpu.UserSeconds > 0 && metrics.Cpu.Load.Count == 3, $"{metrics}");
        Assert.True(metrics.Memory.TotalBytes > metrics.Memory.AvailableBytes && metrics.Memory.AvailableBytes > 0, $"{metrics.Memory}");
        Assert.True(metrics.Agent is { ResidentBytes: > 1 << 20, Threads: > 1, OpenFiles: > 3, CpuSeconds: > 0, Commands: 0 }, $"{metrics.Agent}");
        Assert.Contains(metrics.FileSystems, system => system.Mount == "/" && system.TotalBytes > 0);
        Assert.DoesNotContain(metrics.Network, one => one.Name == "lo");
    }

    [Fact]
    public void Counters_of_a_control_group_are_read_and_its_absence_is_told()
    {
        var group = Directory.CreateTempSubdirectory("vt-cg-");
        try
        {
            foreach (var (file, text) in new[] { ("cpu.stat", "usage_usec 1500000\nuser_usec 1\n"), ("memory.current", "4096\n"), ("memory.max", "max\n"), ("pids.current", "7\n"), ("pids.max", "99\n"), ("memory.events", "low 0\noom 3\noom_kill 2\n"), ("pids.events", "max 5\n") })
            {
                File.WriteAllText(Path.Combine(group.FullName, file), text);
            }

            var metrics = new Measurements(group: group.FullName).Read(0).Workload!;
            Assert.Equal(new WorkloadMetrics { CpuSeconds = 1.5, MemoryBytes = 4096, Processes = 7, ProcessLimit = 99, OutOfMemoryKills = 2, ForksRefused = 5 }, metrics);
            Assert.Null(new Measurements(group: "/nowhere").Read(0).Workload);
        }
        finally
        {
            group.Delete(recursive: true);
        }
    }

    [Fact]
    public async Task A_closed_gate_lets_nothing_through_but_an_identity()
    {
        IdentifyRequest? seen = null;
        await using var agent = await AgentHarness.StartAsync(app => app.MapGet("/", () => "workload"), Token);
        agent.OnIdentify = (request, _) =>
        {
            seen = request;
            return request.Hostname == "bad" ? throw new IOException("no such card.") : Task.CompletedTask;
        };
        var (client, handler) = agent.Connect();
        using var all = new Disposables(client, handler);
        var epoch = agent.Log.Epoch;

        Assert.Equal(409, await IdentifyAsync(client, new string('s', 43) + "="));
        using (var closed = await client.PostAsync("/v1/agent/prepare-snapshot", null, Token))
        {
            Assert.True((await closed.Content.ReadFromJsonAsync(ContractsJson.Default.AgentState, Token)) is { Gated: true, Ready: false });
        }

        foreach (var path in new[] { "/", "/healthz", "/v1/logs", "/v1/metrics", "/v1/openapi", "/v1/devtools", "/v1/agent/files/stat?path=/", "/v1/agent/none" })
        {
            using var refused = await client.GetAsync(path, Token);
            Assert.Equal((HttpStatusCode.ServiceUnavailable, ErrorCodes.Unavailable), (refused.StatusCode, (await refused.Content.ReadFromJsonAsync(ContractsJson.Default.Problem, Token))!.Code));
        }

        using (var refused = await client.PostAsync("/v1/agent/exec", new StringContent("""{"command": ["true"]}"""), Token))
        {
            Assert.Equal(HttpStatusCode.ServiceUnavailable, refused.StatusCode);
        }

        Assert.True((await client.GetFromJsonAsync("/v1/agent/state", ContractsJson.Default.AgentState, Token))!.Gated);
        Assert.Equal(400, await IdentifyAsync(client, "AAAA"));
        Assert.Null(seen);
        Assert.Equal(502, await IdentifyAsync(client, new string('s', 43) + "=", "bad"));
        Assert.False(agent.Gate.IsOpen);
        Assert.Equal(200, await IdentifyAsync(client, new string('s', 43) + "=", "good"));
        Assert.Equal(("good", 32), (seen!.Hostname, seen.Seed.Length));
        Assert.Equal("workload", await client.GetStringAsync("/", Token));
        Assert.True((await client.GetFromJsonAsync("/healthz", ContractsJson.Default.AgentState, Token)) is { Gated: null, Ready: false });
        Assert.NotEqual(epoch, agent.Log.Epoch);
    }

    [Theory]
    [InlineData("volant.gate=closed", true, 0)]
    [InlineData("volant.gate=open", false, 0)]
    [InlineData("quiet", false, 0)]
    [InlineData("volant.gate=clsed", true, 1)]
    public void The_boot_says_whether_the_gate_is_closed(string line, bool isGated, int problems)
    {
        var plan = BootPlan.Read(line);
        Assert.Equal((isGated, problems), (plan.IsGated, plan.Problems.Count));
    }

    [Theory]
    [InlineData("52:54:00:12:34:56", true)]
    [InlineData("53:54:00:12:34:56", false)]
    [InlineData("52:54:00:12:34", false)]
    [InlineData("52:54:00:12:34:5g", false)]
    [InlineData("52-54-00-12-34-56", false)]
    public void A_hardware_address_is_six_bytes_of_one_card(string text, bool isValid) => Assert.Equal(isValid, GuestIdentity.ParseMac(text) is not null);

    [Fact]
    public async Task A_tunnel_carries_both_directions_and_their_ends()
    {
        using var listener = new TcpListener(IPAddress.Loopback, 0);
        listener.Start();
        var port = ((IPEndPoint)listener.LocalEndpoint).Port;
        var server = Task.Run(async () =>
        {
            using var accepted = await listener.AcceptTcpClientAsync(Token);
            var stream = accepted.GetStream();
            using var everything = new MemoryStream();
            await stream.CopyToAsync(everything, Token);
            await stream.WriteAsync(Encoding.ASCII.GetBytes($"{everything.Length} bytes"), Token);
        }, Token);
        await using var agent = await AgentHarness.StartAsync(_ => { }, Token);
        var (client, handler) = agent.Connect();
        using var all = new Disposables(client, handler);

        using var answer = await client.PostAsync($"/v1/agent/tunnel?port={port}", new ByteArrayContent(new byte[500_000]), Token);
        Assert.Equal("500000 bytes", await answer.Content.ReadAsStringAsync(Token));
        await server;
        TcpForwarder.Close(listener.Server);
        using var refused = await client.PostAsync($"/v1/agent/tunnel?port={port}", null, Token);
        Assert.Equal((HttpStatusCode.BadGateway, ErrorCodes.ConnectionRefused), (refused.StatusCode, (await refused.Content.ReadFromJsonAsync(ContractsJson.Default.Problem, Token))!.Code));
        using var wrong = await client.PostAsync("/v1/agent/tunnel?port=0", null, Token);
        Assert.Equal(HttpStatusCode.BadRequest, wrong.StatusCode);
    }

    [Fact]
    public async Task What_is_for_the_host_is_refused_to_everybody_else()
    {
        await using var agent = await AgentHarness.StartAsync(_ => { }, Token);
        using var socket = new TcpListener(IPAddress.Loopback, 0);
        socket.Start();
        var accepting = socket.AcceptSocketAsync(Token);
        using var client = new HttpClient { BaseAddress = new Uri($"http://127.0.0.1:{((IPEndPoint)socket.LocalEndpoint).Port}") };
        var sending = client.PostAsync("/v1/agent/exec", new StringContent("""{"command": ["true"]}"""), Token);
        agent.Server.Http1.Push(new StreamConnection(new NetworkStream(await accepting, ownsSocket: true), agent.Server.Http1));

        using var refused = await sending;
        Assert.Equal(HttpStatusCode.Forbidden, refused.StatusCode);
        Assert.Equal(HttpStatusCode.Forbidden, (await client.GetAsync("/v1/agent/files?path=/", Token)).StatusCode);
        Assert.Equal(HttpStatusCode.OK, (await client.GetAsync("/healthz", Token)).StatusCode);
    }

    private static async Task<string> SendAsync(HttpClient client, string method, string path)
    {
        using var response = await client.SendAsync(new HttpRequestMessage(HttpMethod.Parse(method), path) { Version = HttpVersion.Version20, VersionPolicy = HttpVersionPolicy.RequestVersionExact }, Token);
        return await response.Content.ReadAsStringAsync(Token);
    }

    private static async Task<int> IdentifyAsync(HttpClient client, string seed, string hostname = "clone")
    {
        using var response = await client.PostAsync("/v1/agent/identify", new StringContent($$"""{"seed": "{{seed}}", "time": "2026-01-02T03:04:05Z", "hostname": "{{hostname}}"}"""), Token);
        return (int)response.StatusCode;
    }

    private sealed class Disposables(params IDisposable[] all) : IDisposable
    {
        public void Dispose() => Array.ForEach(all, one => one.Dispose());
    }
}
