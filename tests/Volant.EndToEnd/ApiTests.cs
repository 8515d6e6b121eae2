using System.Globalization;
using System.Net;
using System.Text.Json.Nodes;
using Volant.Contracts.Api;

namespace Volant.EndToEnd;

/// <summary>Who may call, what the API says of itself, and its stream of events.</summary>
public sealed class ApiTests(Workspace workspace) : IAsyncLifetime
{
    private const string Key = "a-key-of-the-test";

    private readonly TestDaemon _daemon = new();

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    public ValueTask InitializeAsync() => new(_daemon.StartAsync());

    [Fact]
    public async Task Events_tell_the_life_of_a_vm_in_order_and_resume_by_number()
    {
        await _daemon.InstallAsync(workspace.ProbeManifest);
        using var stream = await _daemon.Client.GetAsync("/api/v1/events/vms", HttpCompletionOption.ResponseHeadersRead, Cancel);
        using var reader = new StreamReader(await stream.Content.ReadAsStreamAsync(Cancel));
        await _daemon.CreateReadyAsync("web");
        using (await _daemon.PostAsync("/api/v1/vms/web/stop"))
        {
        }

        using (await _daemon.Client.DeleteAsync("/api/v1/vms/web", Cancel))
        {
        }

        var all = await ReadAsync(reader, 7);
        Assert.Equal(
            [VmEventTypes.Created, VmEventTypes.Starting, VmEventTypes.Running, VmEventTypes.Ready, VmEventTypes.Stopping, VmEventTypes.Stopped, VmEventTypes.Deleted],
            all.Select(each => each.Type));
        Assert.All(all.Zip(all.Skip(1)), pair => Assert.Equal(pair.First.Id + 1, pair.Second.Id));
        using var resume = new HttpRequestMessage(HttpMethod.Get, "/api/v1/events/vms");
        resume.Headers.Add("Last-Event-ID", all[3].Id.ToString(CultureInfo.InvariantCulture));
        using var resumed = await _daemon.Client.SendAsync(resume, HttpCompletionOption.ResponseHeadersRead, Cancel);
        using var rest = new StreamReader(await resumed.Content.ReadAsStreamAsync(Cancel));
        Assert.Equal(all.Skip(4), await ReadAsync(rest, 3));
    }

    [Fact]
    public async Task With_a_key_only_health_is_open_and_the_key_is_taken_from_headers_alone()
    {
        await using var locked = new TestDaemon(new Dictionary<string, string>(StringComparer.Ordinal) { ["VOLANT_API_KEY"] = Key });
        locked.Client.DefaultRequestHeaders.Add("X-Volant-API-Key", Key);
        await locked.StartAsync();
        locked.Client.DefaultRequestHeaders.Clear();

        foreach (var path in new[] { "/api/v1/vms", "/api/v1/plugins", "/openapi", "/readyz", "/api/v1/events/vms", $"/api/v1/vms?api_key={Key}", "/api/v1/vms/x/agent/" })
        {
            using var refused = await locked.Client.GetAsync(path, Cancel);
            Assert.Equal(ErrorCodes.Unauthorized, (await locked.ProblemAsync(refused, 401)).Code);
        }

        using var health = await locked.Client.GetAsync("/healthz", Cancel);
        Assert.Equal(HttpStatusCode.OK, health.StatusCode);
        foreach (var (name, value) in new[] { ("X-Volant-API-Key", Key), ("Authorization", $"Bearer {Key}") })
        {
            using var request = new HttpRequestMessage(HttpMethod.Get, "/api/v1/vms");
            request.Headers.Add(name, value);
            using var allowed = await locked.Client.SendAsync(request, Cancel);
            Assert.Equal(HttpStatusCode.OK, allowed.StatusCode);
        }

        locked.Client.DefaultRequestHeaders.Add("X-Volant-API-Key", Key);
    }

    [Fact]
    public async Task The_exported_document_is_the_one_that_the_daemon_serves()
    {
        var exported = await Command.RunAsync([Workspace.Program("openapi-export")]);
        Assert.True(exported.ExitCode == 0, exported.ToString());

        var served = JsonNode.Parse(await _daemon.Client.GetStringAsync("/openapi", Cancel))!;

        Assert.True(JsonNode.DeepEquals(JsonNode.Parse(exported.Output), served), "the two documents differ");
        Assert.StartsWith("3.1", served["openapi"]!.GetValue<string>(), StringComparison.Ordinal);
        Assert.Equal("createVM", served["paths"]!["/api/v1/vms"]!["post"]!["operationId"]!.GetValue<string>());
        Assert.NotNull(served["components"]!["schemas"]!["Vm"]!["properties"]!["ip_address"]);
    }

    public ValueTask DisposeAsync() => _daemon.DisposeAsync();

    private static async Task<IReadOnlyList<(long Id, string Type)>> ReadAsync(StreamReader reader, int count)
    {
        var events = new List<(long, string)>();
        var id = 0L;
        while (events.Count < count)
        {
            var line = await reader.ReadLineAsync(Cancel) ?? throw new IOException("the stream ended");
            if (line.StartsWith("id: ", StringComparison.Ordinal))
            {
                id = long.Parse(line[4..], CultureInfo.InvariantCulture);
            }
            else if (line.StartsWith("event: ", StringComparison.Ordinal))
            {
                events.Add((id, line[7..]));
            }
        }

        return events;
    }
}
