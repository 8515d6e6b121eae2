using System.Text.Json;

namespace Volant.Tests.Api;

/// <summary>A manifest's <c>openapi</c> is a path of the workload and nothing else: no file of the host, no other host (T11, S06).</summary>
public sealed class GuestOpenApiTests : IAsyncLifetime
{
    private ApiFixture _api = null!;

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    public async ValueTask InitializeAsync() => _api = await ApiFixture.StartAsync();

    public ValueTask DisposeAsync() => _api.DisposeAsync();

    [Theory]
    [InlineData("/docs/openapi.yaml", 200)]
    [InlineData("http://127.0.0.1:8080/docs/openapi.yaml", 200)]
    [InlineData("/etc/passwd", 404)]
    [InlineData("/docs/../../../etc/passwd", 404)]
    [InlineData("file:///etc/passwd", 404)]
    [InlineData("file:/etc/passwd", 404)]
    [InlineData("//169.254.169.254/latest/meta-data", 404)]
    [InlineData("http://169.254.169.254/latest/meta-data", 404)]
    [InlineData("http://127.0.0.1:8080@169.254.169.254/x", 404)]
    [InlineData("http://127.0.0.1:7777/docs/openapi.yaml", 404)]
    [InlineData("https://example.org/openapi.json", 404)]
    [InlineData("relative.json", 404)]
    public async Task It_is_read_from_the_guest_or_not_at_all(string reference, int status)
    {
        await _api.InstallAsync(members: $"\"openapi\": {JsonSerializer.Serialize(reference)},");
        await _api.CreateAsync("web");

        using var response = await _api.SendAsync(HttpMethod.Get, "/api/v1/vms/web/openapi");
        var text = await response.Content.ReadAsStringAsync(Cancel);

        Assert.Equal(status, (int)response.StatusCode);
        Assert.DoesNotContain("root:", text, StringComparison.Ordinal);
        Assert.Equal(status == 200, text == "openapi: 3.1.0\n");
        Assert.Empty(_api.Log.Errors);
    }
}
