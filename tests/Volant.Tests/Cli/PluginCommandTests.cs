using System.Text.Json;
using Volant.Cli;
using Volant.Contracts.Api;

namespace Volant.Tests.Cli;

public sealed class PluginCommandTests
{
    private const string Manifest =
        """
        {"schema_version":"1.0","name":"hello","version":"1.2.0","runtime":"hello","enabled":false,"resources":{"cpu_cores":1,"memory_mb":256},
         "workload":{"type":"http","entrypoint":["/bin/hello","-v"],"base_url":"http://127.0.0.1:8080"},"initramfs":{"url":"volant://sha256/00"},
         "actions":{"greet":{"method":"GET","path":"/greet"}},"of_tomorrow":true}
        """;

    [Fact]
    public async Task List_shows_what_each_plugin_is()
    {
        await using var daemon = await FakeDaemon.StartAsync(
            ("GET /api/v1/plugins", 200, """{"plugins":["gone","hello","../evil"]}"""),
            ("GET /api/v1/plugins/hello", 200, Manifest));

        var result = await TestCli.For(daemon).RunAsync("plugins", "list");

        Assert.Equal(0, result.ExitCode);
        Assert.Equal(
            """
            NAME   VERSION  RUNTIME  ENABLED  CPU  MEMORY
            hello  1.2.0    hello    no       1    256 MiB

            """,
            result.Output);
        daemon.AssertSaw("GET /api/v1/plugins", "GET /api/v1/plugins/gone", "GET /api/v1/plugins/hello");
    }

    [Fact]
    public async Task List_as_json_and_quiet_ask_once()
    {
        await using var daemon = await FakeDaemon.StartAsync(("GET /api/v1/plugins", 200, """{"plugins":["a","b"]}"""));

        var json = await TestCli.For(daemon).RunAsync("plugins", "list", "-o", "json");
        var quiet = await TestCli.For(daemon).RunAsync("plugins", "list", "--quiet");

        Assert.Equal("[\n  \"a\",\n  \"b\"\n]\n", json.Output);
        Assert.Equal("a\nb\n", quiet.Output);
        Assert.Equal(2, daemon.Seen.Count);
    }

    [Fact]
    public async Task Show_knows_the_essentials_and_json_shows_all()
    {
        await using var daemon = await FakeDaemon.StartAsync(("GET /api/v1/plugins/hello", 200, Manifest));

        var table = await TestCli.For(daemon).RunAsync("plugins", "show", "hello");
        var json = await TestCli.For(daemon).RunAsync("plugins", "show", "hello", "-o", "json");

        Assert.Contains("Entrypoint:  /bin/hello -v\n", table.Output, StringComparison.Ordinal);
        Assert.Contains("Enabled:     no\n", table.Output, StringComparison.Ordinal);
        Assert.Contains("Action:      greet: GET /greet\n", table.Output, StringComparison.Ordinal);
        Assert.True(JsonElement.DeepEquals(JsonElement.Parse(Manifest), JsonElement.Parse(json.Output)));
    }

    [Theory]
    [InlineData("[]")]
    [InlineData("""{"name":5,"resources":[],"workload":"x","actions":{"a":1}}""")]
    public async Task Show_survives_a_manifest_of_another_shape(string manifest)
    {
        await using var daemon = await FakeDaemon.StartAsync(("GET /api/v1/plugins/hello", 200, manifest));

        var result = await TestCli.For(daemon).RunAsync("plugins", "show", "hello");

        Assert.Equal(0, result.ExitCode);
    }

    [Fact]
    public async Task Remove_reports_success_and_refusal()
    {
        var inUse = false;
        await using var daemon = await FakeDaemon.StartAsync((context, _) => inUse
            ? context.ProblemAsync(409, ErrorCodes.PluginInUse, "VM 'web' uses plugin 'hello'.")
            : context.JsonAsync(204, string.Empty));

        var removed = await TestCli.For(daemon).RunAsync("plugins", "remove", "hello");
        inUse = true;
        var refused = await TestCli.For(daemon).RunAsync("plugins", "remove", "hello");

        Assert.Equal(new CliResult(0, string.Empty, "Removed plugin 'hello'.\n"), removed);
        Assert.Equal(ExitCodes.Failed, refused.ExitCode);
        daemon.AssertSaw("DELETE /api/v1/plugins/hello", "DELETE /api/v1/plugins/hello");
    }
}
