namespace Volant.Tests.Api;

/// <summary>For tests that measure the whole process: nothing else runs meanwhile.</summary>
[CollectionDefinition(nameof(MeasuredAlone), DisableParallelization = true)]
public sealed class MeasuredAlone;

[Collection(nameof(MeasuredAlone))]
public sealed class AgentProxyMemoryTests : IAsyncLifetime
{
    private ApiFixture _api = null!;

    private static CancellationToken Token => TestContext.Current.CancellationToken;

    public async ValueTask InitializeAsync()
    {
        _api = await ApiFixture.StartAsync();
        await _api.InstallAsync();
        await _api.CreateAsync("web");
    }

    public ValueTask DisposeAsync() => _api.DisposeAsync();

    [Fact]
    public async Task An_endless_answer_fills_no_more_than_the_windows()
    {
        var before = GC.GetTotalMemory(forceFullCollection: true);
        using var response = await _api.SendAsync(HttpMethod.Get, "/api/v1/vms/web/agent/endless");
        await using var body = await response.Content.ReadAsStreamAsync(Token);
        await body.ReadExactlyAsync(new byte[1024 * 1024], Token);
        long written;
        do
        {
            written = _api.Agent.Written;
            await Task.Delay(TimeSpan.FromMilliseconds(500), TimeProvider.System, Token);
        }
        while (written != _api.Agent.Written);

        Assert.InRange(written, 1024 * 1024, 20 * 1024 * 1024);
        Assert.InRange(GC.GetTotalMemory(forceFullCollection: true) - before, long.MinValue, 20 * 1024 * 1024);
        using var other = await _api.SendAsync(HttpMethod.Get, "/api/v1/vms/web/agent/version");
        Assert.Equal(200, (int)other.StatusCode);
    }
}
