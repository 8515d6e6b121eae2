using System.Net;
using System.Text.Json;
using Volant.Contracts;
using Volant.Contracts.Api;

namespace Volant.Tests.Api;

/// <summary>Volumes and the artifact cache over HTTP.</summary>
public sealed class DiskApiTests : IAsyncLifetime
{
    private ApiFixture _api = null!;

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    public async ValueTask InitializeAsync()
    {
        _api = await ApiFixture.StartAsync();
        await _api.InstallAsync();
    }

    public ValueTask DisposeAsync() => _api.DisposeAsync();

    [Fact]
    public async Task A_volume_lives_from_its_creation_to_its_deletion()
    {
        using (var created = await _api.SendAsync(HttpMethod.Post, "/api/v1/volumes", """{"name": "data", "size_mb": 2}"""))
        {
            Assert.Equal((HttpStatusCode.Created, "/api/v1/volumes/data"), (created.StatusCode, created.Headers.Location?.OriginalString));
        }

        await ExpectAsync(HttpMethod.Post, "/api/v1/volumes", """{"name": "data", "size_mb": 2}""", HttpStatusCode.Conflict, ErrorCodes.VolumeExists);
        await ExpectAsync(HttpMethod.Post, "/api/v1/volumes", """{"name": "Data", "size_mb": 0}""", HttpStatusCode.BadRequest, ErrorCodes.InvalidRequest);
        await ExpectAsync(HttpMethod.Patch, "/api/v1/volumes/data", """{"size_mb": 1}""", HttpStatusCode.UnprocessableEntity, ErrorCodes.Unsupported);
        await ExpectAsync(HttpMethod.Get, "/api/v1/volumes/other", null, HttpStatusCode.NotFound, ErrorCodes.VolumeNotFound);
        await ExpectAsync(HttpMethod.Post, "/api/v1/vms", """{"name": "a", "plugin": "hello", "config": {"volumes": [{"name": "other"}]}}""", HttpStatusCode.NotFound, ErrorCodes.VolumeNotFound);
        using (var vm = await _api.SendAsync(HttpMethod.Post, "/api/v1/vms", """{"name": "a", "plugin": "hello", "config": {"volumes": [{"name": "data"}]}}"""))
        {
            Assert.Equal(HttpStatusCode.Created, vm.StatusCode);
        }

        var listed = JsonSerializer.Deserialize(await _api.Client.GetStringAsync("/api/v1/volumes", Cancel), ContractsJson.Default.IReadOnlyListVolume)!;
        Assert.Equal(("data", 2), (Assert.Single(listed).Name, listed[0].SizeMb));
        Assert.Equal(["a"], listed[0].AttachedTo);
        await ExpectAsync(HttpMethod.Delete, "/api/v1/volumes/data", null, HttpStatusCode.Conflict, ErrorCodes.VolumeInUse);
        using (var gone = await _api.SendAsync(HttpMethod.Delete, "/api/v1/vms/a"))
        {
            Assert.Equal(HttpStatusCode.NoContent, gone.StatusCode);
        }

        using var deleted = await _api.SendAsync(HttpMethod.Delete, "/api/v1/volumes/data");
        Assert.Equal(HttpStatusCode.NoContent, deleted.StatusCode);
    }

    [Fact]
    public async Task Replicas_share_a_volume_only_to_read_it()
    {
        using (var created = await _api.SendAsync(HttpMethod.Post, "/api/v1/volumes", """{"name": "data", "size_mb": 2}"""))
        {
            Assert.Equal(HttpStatusCode.Created, created.StatusCode);
        }

        await ExpectAsync(
            HttpMethod.Post, "/api/v1/deployments", """{"name": "web", "replicas": 2, "config": {"plugin": "hello", "volumes": [{"name": "data"}]}}""", HttpStatusCode.BadRequest, ErrorCodes.InvalidRequest);
        using (var readers = await _api.SendAsync(HttpMethod.Post, "/api/v1/deployments", """{"name": "web", "replicas": 2, "config": {"plugin": "hello", "volumes": [{"name": "data", "readonly": true}]}}"""))
        {
            Assert.Equal(HttpStatusCode.Created, readers.StatusCode);
        }

        await ExpectAsync(HttpMethod.Patch, "/api/v1/deployments/web", """{"config": {"plugin": "hello", "volumes": [{"name": "data"}]}}""", HttpStatusCode.BadRequest, ErrorCodes.InvalidRequest);
        using var deleted = await _api.SendAsync(HttpMethod.Delete, "/api/v1/deployments/web");
        Assert.Equal(HttpStatusCode.NoContent, deleted.StatusCode);
    }

    [Fact]
    public async Task A_URL_that_leads_to_this_host_is_refused_before_anything_is_made()
    {
        await ExpectAsync(
            HttpMethod.Post, "/api/v1/vms", """{"name": "a", "plugin": "hello", "config": {"initramfs": {"url": "http://127.0.0.1:9/x"}}}""", HttpStatusCode.UnprocessableEntity, ErrorCodes.AddressNotAllowed);
        Assert.Equal("[]", await _api.Client.GetStringAsync("/api/v1/vms", Cancel));
        Assert.Equal("[]", await _api.Client.GetStringAsync("/api/v1/artifacts/transfers", Cancel));
    }

    [Fact]
    public async Task Progress_is_streamed()
    {
        using var response = await _api.Client.GetAsync("/api/v1/events/artifacts", HttpCompletionOption.ResponseHeadersRead, Cancel);
        Assert.Equal("text/event-stream", response.Content.Headers.ContentType?.MediaType);
        using var reader = new StreamReader(await response.Content.ReadAsStreamAsync(Cancel));
        Assert.Equal(": connected", await reader.ReadLineAsync(Cancel));

        // The plugin's initramfs is copied at the first start; a failed one is copied by nobody.
        using var vm = await _api.SendAsync(HttpMethod.Post, "/api/v1/vms", """{"name": "a", "plugin": "hello"}""");
        var lines = new List<string>();
        while (!lines.Contains("event: done", StringComparer.Ordinal))
        {
            lines.Add(await reader.ReadLineAsync(Cancel) ?? throw new IOException("The stream ended."));
        }

        Assert.Contains("event: running", lines);
        var done = JsonSerializer.Deserialize((await reader.ReadLineAsync(Cancel))!["data: ".Length..], ContractsJson.Default.ArtifactTransfer)!;
        Assert.Equal((done.ReceivedBytes, 64), (done.TotalBytes, done.Sha256?.Length));
    }

    private async Task ExpectAsync(HttpMethod method, string path, string? body, HttpStatusCode status, string code)
    {
        using var response = await _api.SendAsync(method, path, body);
        var text = await response.Content.ReadAsStringAsync(Cancel);
        Assert.True(response.StatusCode == status, text);
        Assert.Equal(code, JsonSerializer.Deserialize(text, ContractsJson.Default.Problem)!.Code);
    }
}
