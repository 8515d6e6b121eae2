using System.Text;
using Volant.Contracts;
using Volant.Contracts.Api;

namespace Volant.Tests.Api;

/// <summary>Plugins, their actions and their artifacts over the API.</summary>
public sealed class PluginTests : IAsyncLifetime
{
    private const string Actions = """
        "actions": { "say": {"method": "put", "path": "/reflect/say?x=1"}, "look": {"method": "GET", "path": "/reflect/look"}, "hang": {"method": "POST", "path": "/hang", "timeout_ms": 200} },
        """;

    private ApiFixture _api = null!;

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    public async ValueTask InitializeAsync()
    {
        _api = await ApiFixture.StartAsync();
        await _api.InstallAsync("hello", Actions.Replace("?x=1", string.Empty, StringComparison.Ordinal));
    }

    public ValueTask DisposeAsync() => _api.DisposeAsync();

    [Theory]
    [InlineData("/api/v1/vms/web/actions/hello/say?n=2", "PUT /reflect/say?n=2")]
    [InlineData("/api/v1/plugins/hello/actions/say", "PUT /reflect/say")]
    [InlineData("/api/v1/plugins/hello/actions/look?q=a%20b", "GET /reflect/look?q=a%20b")]
    public async Task An_action_reaches_the_workload_with_the_manifests_method_and_path_and_no_credentials(string path, string expected)
    {
        await _api.CreateAsync("web");
        using var response = await _api.SendAsync(HttpMethod.Post, path, """{"a": 1}""", ("Authorization", "Bearer secret"), ("X-Volant-API-Key", "secret"), ("Cookie", "c=1"), ("X-Own", "1"));
        var text = await response.Content.ReadAsStringAsync(Cancel);

        Assert.True(response.IsSuccessStatusCode, text);
        Assert.StartsWith(expected + " [", text, StringComparison.Ordinal);
        Assert.EndsWith("\n{\"a\": 1}", text, StringComparison.Ordinal);
        Assert.Contains("X-Own", text, StringComparison.OrdinalIgnoreCase);
        Assert.DoesNotContain("Authorization", text, StringComparison.OrdinalIgnoreCase);
        Assert.DoesNotContain("Api-Key", text, StringComparison.OrdinalIgnoreCase);
        Assert.DoesNotContain("Cookie", text, StringComparison.OrdinalIgnoreCase);
    }

    [Fact]
    public async Task An_action_streams_both_ways_at_once()
    {
        await _api.CreateAsync("web");
        await using var connection = await _api.ConnectAsync(Cancel);
        using var reader = new StreamReader(connection);
        await SendAsync("POST /api/v1/vms/web/actions/hello/say HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n");

        await UntilLineAsync(line => line.StartsWith("PUT /reflect/say", StringComparison.Ordinal));
        for (var i = 0; i < 3; i++)
        {
            await SendAsync($"7\r\nline {i}\n\r\n");
            await UntilLineAsync(line => line == $"line {i}");
        }

        await SendAsync("0\r\n\r\n");
        await UntilLineAsync(line => line == "0");

        async Task SendAsync(string text)
        {
            await connection.WriteAsync(Encoding.ASCII.GetBytes(text), Cancel);
            await connection.FlushAsync(Cancel);
        }

        async Task UntilLineAsync(Func<string, bool> wanted)
        {
            while (!wanted(await reader.ReadLineAsync(Cancel) ?? throw new IOException("the connection ended")))
            {
            }
        }
    }

    [Fact]
    public async Task Every_reason_that_an_action_cannot_run_has_its_own_answer()
    {
        Assert.Equal((503, "no_ready_vm"), await PostAsync("/api/v1/plugins/hello/actions/say"));
        await _api.CreateAsync("web");
        await _api.InstallAsync("other", "\"runtime\": \"other\", " + Actions.Replace("?x=1", string.Empty, StringComparison.Ordinal));

        Assert.Equal((504, "timeout"), await PostAsync("/api/v1/vms/web/actions/hello/hang"));
        Assert.Equal((404, "action_not_found"), await PostAsync("/api/v1/vms/web/actions/hello/nope"));
        Assert.Equal((404, "plugin_not_found"), await PostAsync("/api/v1/vms/web/actions/nope/say"));
        Assert.Equal((404, "vm_not_found"), await PostAsync("/api/v1/vms/nope/actions/hello/say"));
        Assert.Equal((409, "runtime_mismatch"), await PostAsync("/api/v1/vms/web/actions/other/say"));
        Assert.Equal((503, "no_ready_vm"), await PostAsync("/api/v1/plugins/other/actions/say"));
        using (await _api.SendAsync(HttpMethod.Post, "/api/v1/plugins/hello/enabled", """{"enabled": false}"""))
        {
        }

        Assert.Equal((409, "plugin_disabled"), await PostAsync("/api/v1/vms/web/actions/hello/say"));
        using (await _api.SendAsync(HttpMethod.Post, "/api/v1/plugins/hello/enabled", """{"enabled": true}"""))
        using (await _api.SendAsync(HttpMethod.Post, "/api/v1/vms/web/stop?grace_seconds=0"))
        {
        }

        Assert.Equal((409, "vm_not_running"), await PostAsync("/api/v1/vms/web/actions/hello/say"));
    }

    [Fact]
    public async Task The_workloads_own_document_is_found_wherever_it_is()
    {
        await _api.InstallAsync("yaml", "\"openapi\": \"/docs/openapi.yaml\",");
        await _api.CreateAsync("web");
        await _api.CreateAsync("web2", "yaml");
        using var none = await _api.SendAsync(HttpMethod.Get, "/api/v1/vms/web/openapi");
        Assert.Equal("not_found", (await ApiFixture.ReadAsync(none, 404, ContractsJson.Default.Problem)).Code);
        using var yaml = await _api.SendAsync(HttpMethod.Get, "/api/v1/vms/web2/openapi");
        Assert.Equal(("application/yaml", "openapi: 3.1.0\n"), (yaml.Content.Headers.ContentType!.MediaType, await yaml.Content.ReadAsStringAsync(Cancel)));
        _api.Agent.OpenApi = """{"openapi": "3.1.0"}""";
        using var json = await _api.SendAsync(HttpMethod.Get, "/api/v1/vms/web2/openapi");
        Assert.Equal("""{"openapi": "3.1.0"}""", await json.Content.ReadAsStringAsync(Cancel));
    }

    [Fact]
    public async Task Artifacts_are_recorded_with_the_manifest_and_go_with_the_plugin()
    {
        var list = await ArtifactsAsync("");
        Assert.Equal(("initramfs", "initramfs", "1", $"{_api.Root}/images/initramfs"), (list[0].ArtifactName, list[0].Kind, list[0].Version, list[0].LocalPath));
        var digest = new string('a', 64);
        using var put = await _api.SendAsync(HttpMethod.Post, "/api/v1/plugins/hello/artifacts", $$"""{"version": "2", "artifact_name": "model x", "kind": "disk", "checksum": "sha256:{{digest.ToUpperInvariant()}}", "size_bytes": 5, "source_url": "https://host.example/x"}""");
        Assert.Equal(digest, (await ApiFixture.ReadAsync(put, 201, ContractsJson.Default.Artifact)).Checksum);
        using var again = await _api.Client.GetAsync(put.Headers.Location, Cancel);
        Assert.Equal(5, (await ApiFixture.ReadAsync(again, 200, ContractsJson.Default.Artifact)).SizeBytes);
        Assert.Single(await ArtifactsAsync("?version=2"));
        using var deleted = await _api.SendAsync(HttpMethod.Delete, "/api/v1/plugins/hello/artifacts?version=2");
        Assert.Equal(204, (int)deleted.StatusCode);
        Assert.Empty(await ArtifactsAsync("?version=2"));
        using var removed = await _api.SendAsync(HttpMethod.Delete, "/api/v1/plugins/hello");
        Assert.Equal(204, (int)removed.StatusCode);
        await _api.InstallAsync("hello2");
        await _api.InstallAsync();
        Assert.Single(await ArtifactsAsync(""));
    }

    [Theory]
    [InlineData("""{"artifact_name": "a", "kind": "disk"}""", 400, "version")]
    [InlineData("""{"version": "1", "artifact_name": "a", "kind": "a b"}""", 400, "kind")]
    [InlineData("""{"version": "1", "artifact_name": "a", "kind": "disk", "checksum": "12"}""", 400, "checksum")]
    [InlineData("""{"version": "1", "artifact_name": "a", "kind": "disk", "source_url": "ftp://x"}""", 400, "source_url")]
    [InlineData("""{"version": "1", "artifact_name": "a", "kind": "disk", "local_path": "../x"}""", 400, "local_path")]
    [InlineData("""{"version": "1", "artifact_name": "a", "kind": "disk", "local_path": "/etc/passwd"}""", 422, "")]
    [InlineData("""{"version": "1", "artifact_name": "a", "kind": "disk", "size_bytes": -1}""", 400, "size_bytes")]
    public async Task A_bad_artifact_is_refused_by_field(string body, int status, string field)
    {
        using var response = await _api.SendAsync(HttpMethod.Post, "/api/v1/plugins/hello/artifacts", body);
        var problem = await ApiFixture.ReadAsync(response, status, ContractsJson.Default.Problem);
        Assert.True(field.Length == 0 || problem.Errors!.ContainsKey(field), problem.Detail);
    }

    [Fact]
    public async Task From_the_moment_that_a_plugin_is_disabled_or_removed_no_create_begins()
    {
        for (var round = 0; round < 6; round++)
        {
            using var stop = new CancellationTokenSource();
            var refusedSince = 0L;
            var creates = Task.WhenAll(Enumerable.Range(0, 4).Select(async worker =>
            {
                for (var i = 0; !stop.IsCancellationRequested; i++)
                {
                    var begun = TimeProvider.System.GetTimestamp();
                    using var response = await _api.SendAsync(HttpMethod.Post, "/api/v1/vms", $$"""{"name": "v{{round}}-{{worker}}-{{i}}", "plugin": "hello"}""");
                    Assert.True((int)response.StatusCode is 201 or 404 or 409, await response.Content.ReadAsStringAsync(Cancel));
                    Assert.False(response.IsSuccessStatusCode && Volatile.Read(ref refusedSince) is > 0 and var since && begun > since, "a create began after the plugin was gone");
                }
            }));
            await Task.Delay(TimeSpan.FromMilliseconds(30), TimeProvider.System, Cancel);
            using (var disabled = await _api.SendAsync(HttpMethod.Post, "/api/v1/plugins/hello/enabled", """{"enabled": false}"""))
            {
                Assert.Equal(200, (int)disabled.StatusCode);
                Volatile.Write(ref refusedSince, TimeProvider.System.GetTimestamp());
            }

            await Task.Delay(TimeSpan.FromMilliseconds(20), TimeProvider.System, Cancel);
            await stop.CancelAsync();
            await creates;
            if (round == 3)
            {
                await _api.RestartAsync();
                Assert.Equal((409, "plugin_disabled"), await PostAsync("/api/v1/vms", """{"name": "x", "plugin": "hello"}"""));
            }

            using (await _api.SendAsync(HttpMethod.Post, "/api/v1/plugins/hello/enabled", """{"enabled": true}"""))
            {
            }
        }

        Assert.NotEmpty(_api.Launcher.Alive);
        using var used = await _api.SendAsync(HttpMethod.Delete, "/api/v1/plugins/hello");
        Assert.Equal(409, (int)used.StatusCode);
    }

    private async Task<IReadOnlyList<Artifact>> ArtifactsAsync(string query)
    {
        using var response = await _api.SendAsync(HttpMethod.Get, "/api/v1/plugins/hello/artifacts" + query);
        return await ApiFixture.ReadAsync(response, 200, ContractsJson.Default.IReadOnlyListArtifact);
    }

    private async Task<(int Status, string? Code)> PostAsync(string path, string body = "{}")
    {
        using var response = await _api.SendAsync(HttpMethod.Post, path, body);
        return ((int)response.StatusCode, (await ApiFixture.ReadAsync(response, (int)response.StatusCode, ContractsJson.Default.Problem)).Code);
    }
}
