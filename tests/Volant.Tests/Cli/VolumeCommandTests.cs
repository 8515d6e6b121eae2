using Volant.Cli;

namespace Volant.Tests.Cli;

public sealed class VolumeCommandTests
{
    private const string Volume = """{"id":1,"name":"data","uid":"01997a5e-1c00-7000-8000-0123456789ab","size_mb":10240,"attached_to":["web","db"],"created_at":"2026-03-01T12:00:00Z","updated_at":"2026-03-01T12:00:00Z"}""";

    [Fact]
    public async Task Volumes_are_created_listed_resized_and_deleted()
    {
        await using var daemon = await FakeDaemon.StartAsync(
            ("POST /api/v1/volumes", 201, Volume), ("GET /api/v1/volumes", 200, $"[{Volume}]"), ("PATCH /api/v1/volumes/data", 200, Volume), ("DELETE /api/v1/volumes/data", 204, ""));

        var created = await TestCli.For(daemon).RunAsync("volumes", "create", "data", "--size", "10240");
        var quiet = await TestCli.For(daemon).RunAsync("volumes", "list", "--quiet");
        await TestCli.For(daemon).RunAsync("volumes", "resize", "data", "--size", "20480");
        var deleted = await TestCli.For(daemon).RunAsync("volumes", "delete", "data");

        Assert.Contains("data  10.0 GiB  web,db", created.Output, StringComparison.Ordinal);
        Assert.Equal("data\n", quiet.Output);
        Assert.Equal("Deleted volume 'data'.\n", deleted.Error);
        Assert.Equal(["""{"name":"data","size_mb":10240}""", "", """{"size_mb":20480}""", ""], daemon.Seen.Select(seen => seen.Text));
    }

    [Theory]
    [InlineData("create", "data")]
    [InlineData("create", "data", "--size", "0")]
    [InlineData("create", "../x", "--size", "1")]
    [InlineData("get", "a-name-that-is-far-too-long")]
    [InlineData("delete", "..")]
    public async Task Bad_usage_is_refused_before_anything_is_sent(params string[] args) =>
        Assert.Equal(ExitCodes.Usage, (await new TestCli().RunAsync(["volumes", .. args])).ExitCode);
}
