using System.Net;
using System.Text;
using System.Text.Json.Nodes;

namespace Volant.EndToEnd;

/// <summary>How the real daemon lets itself be watched.</summary>
public sealed class ObservabilityTests(Workspace workspace)
{
    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    [Fact]
    public async Task Traces_reach_a_collector_and_the_log_is_JSON_when_asked_for()
    {
        using var collector = new HttpListener();
        var port = Workspace.FreePort();
        collector.Prefixes.Add($"http://127.0.0.1:{port}/");
        collector.Start();
        var received = CollectAsync(collector);
        await using var daemon = new TestDaemon(new Dictionary<string, string>(StringComparer.Ordinal)
        {
            ["OTEL_EXPORTER_OTLP_ENDPOINT"] = $"http://127.0.0.1:{port}",
            ["OTEL_EXPORTER_OTLP_PROTOCOL"] = "http/protobuf",
            ["OTEL_BSP_SCHEDULE_DELAY"] = "100",
            ["VOLANT_LOG_FORMAT"] = "json",
        });
        await daemon.StartAsync();
        await daemon.InstallAsync(workspace.ProbeManifest);
        using (await daemon.PostAsync("/api/v1/vms", """{"name": "web", "plugin": "probe"}"""))
        {
        }

        var spans = await received.WaitAsync(TimeSpan.FromSeconds(30), TimeProvider.System, Cancel);
        var metrics = await daemon.Client.GetStringAsync("/metrics", Cancel);

        Assert.Contains("volantd", spans, StringComparison.Ordinal);
        Assert.Contains("volant_vm_memory_usage_bytes", metrics, StringComparison.Ordinal);
        Assert.Contains("dotnet_process_memory", metrics, StringComparison.Ordinal);
        var lines = daemon.Logs().Split('\n', StringSplitOptions.RemoveEmptyEntries).Where(line => line.StartsWith('{')).Select(line => JsonNode.Parse(line)!).ToList();
        var running = lines.First(line => line["Message"]!.GetValue<string>().StartsWith("VM web is running", StringComparison.Ordinal));
        Assert.Equal("create", running["Scopes"]!.AsArray().Select(scope => scope!["operation"]?.GetValue<string>()).First(operation => operation is not null));
    }

    [Theory]
    [InlineData("VOLANT_LOG_FORMAT", "xml")]
    [InlineData("VOLANT_LOG_LEVEL", "loud")]
    public async Task A_bad_setting_ends_the_daemon_with_a_line_that_names_it(string name, string value)
    {
        var result = await Command.RunAsync(["env", $"{name}={value}", Workspace.Program("volantd"), "--check"]);
        Assert.Equal(78, result.ExitCode);
        Assert.StartsWith($"volantd: {name}: '{value}' is not valid", result.Error, StringComparison.Ordinal);
    }

    /// <summary>Answers every export; completes with what held the span of the create.</summary>
    private static async Task<string> CollectAsync(HttpListener collector)
    {
        while (true)
        {
            var context = await collector.GetContextAsync();
            using var body = new MemoryStream();
            await context.Request.InputStream.CopyToAsync(body, Cancel);
            context.Response.StatusCode = 200;
            context.Response.Close();
            var text = Encoding.Latin1.GetString(body.ToArray());
            if (context.Request.Url!.AbsolutePath == "/v1/traces" && text.Contains("vm.create", StringComparison.Ordinal))
            {
                return text;
            }
        }
    }
}
