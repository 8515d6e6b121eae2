using System.Collections.Concurrent;
using System.Diagnostics;
using System.Text.Json.Nodes;
using System.Text.RegularExpressions;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging;
using Volant.Daemon.Telemetry;

namespace Volant.Tests.Api;

public sealed partial class ObservabilityTests
{
    private const string TraceId = "0af7651916cd43dd8448eb211c80319c";
    private const string Key = "a-key-of-the-test";

    private static CancellationToken Token => TestContext.Current.CancellationToken;

    [Fact]
    public async Task Metrics_tell_of_vms_operations_boots_events_store_and_every_hypervisor()
    {
        await using var api = await ApiFixture.StartAsync();
        await api.InstallAsync();
        await api.CreateAsync("web");
        using (await api.SendAsync(HttpMethod.Post, "/api/v1/vms", """{"name": "web", "plugin": "hello"}"""))
        {
        }

        using (await api.SendAsync(HttpMethod.Post, "/api/v1/vms/web/restart?grace_seconds=0&wait=ready"))
        {
        }

        var text = await api.Client.GetStringAsync("/metrics", Token);

        // Other daemons of this process add to the counters, so that only the presence of a series can be told.
        foreach (var pattern in new[]
        {
            """volant_vms\{[^}]*status="running"[^}]*\} [1-9]""", """volant_vms_ready\S* \d""", """volant_operation_duration_seconds_count\{[^}]*operation="create"[^}]*outcome="ok"[^}]*\} [1-9]""",
            """volant_operation_duration_seconds_count\{[^}]*operation="create"[^}]*outcome="vm_exists"[^}]*\} [1-9]""", """volant_operation_duration_seconds_count\{[^}]*operation="restart"[^}]*\} [1-9]""",
            """volant_vm_boot_duration_seconds_bucket\{[^}]*phase="prepare"[^}]*le="0.001"\}""", """volant_vm_boot_duration_seconds_count\{[^}]*phase="ready"[^}]*\} [1-9]""",
            """volant_events_total\{[^}]*type="VM_READY"[^}]*\} [1-9]""", """volant_vm_memory_usage_bytes\{[^}]*vm="web"[^}]*\} [1-9]""", """volant_vm_cpu_time_seconds_total\{[^}]*vm="web"[^}]*\} \d""",
            """volant_recovery_complete\S* 1""", """volant_store_commit_duration_seconds_count\S* [1-9]""", """process_memory_usage_bytes\S* [1-9]""", """http_server_request_duration_seconds_count\{[^}]*http_route="/api/v1/vms/\{name\}/restart"[^}]*\} [1-9]""",
        })
        {
            Assert.Matches(pattern, text);
        }
    }

    [Fact]
    public async Task The_dashboard_shows_only_metrics_that_exist()
    {
        await using var api = await ApiFixture.StartAsync();
        await api.InstallAsync();
        await api.CreateAsync("web");
        await api.CreateAsync("gone");
        using (await api.SendAsync(HttpMethod.Post, "/api/v1/vms/gone/stop?grace_seconds=0"))
        {
        }

        var text = await api.Client.GetStringAsync("/metrics", Token);
        var dashboard = JsonNode.Parse(await Repository.ReadAsync("docs/dashboards/volant-overview.json"))!;
        var queries = dashboard["panels"]!.AsArray().SelectMany(panel => panel!["targets"]!.AsArray()).Select(target => target!["expr"]!.GetValue<string>()).ToList();

        Assert.True(queries.Count >= 15);
        foreach (var name in queries.SelectMany(query => MetricNames().Matches(query)).Select(match => match.Value).Distinct(StringComparer.Ordinal))
        {
            Assert.Contains($"\n{name}", text, StringComparison.Ordinal);
        }
    }

    [Fact]
    public async Task Metrics_need_the_key()
    {
        await using var api = await ApiFixture.StartAsync(new Dictionary<string, string>(StringComparer.Ordinal) { ["VOLANT_API_KEY"] = Key });
        using var refused = await api.SendAsync(HttpMethod.Get, "/metrics");
        Assert.Equal(401, (int)refused.StatusCode);
        using var allowed = await api.SendAsync(HttpMethod.Get, "/metrics", json: null, ("Authorization", $"Bearer {Key}"));
        Assert.Contains("volant_api_refusals_total", await allowed.Content.ReadAsStringAsync(Token), StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_trace_goes_from_the_caller_through_the_operation_into_the_guest()
    {
        var activities = new ConcurrentQueue<Activity>();
        using var listener = new ActivityListener
        {
            ShouldListenTo = source => source.Name is Instruments.Name or "Microsoft.AspNetCore",
            Sample = (ref _) => ActivitySamplingResult.AllDataAndRecorded,
            ActivityStopped = activities.Enqueue,
        };
        ActivitySource.AddActivityListener(listener);
        await using var api = await ApiFixture.StartAsync();
        await api.InstallAsync();
        var parent = ("traceparent", $"00-{TraceId}-b7ad6b7169203331-01");
        using (var created = await api.SendAsync(HttpMethod.Post, "/api/v1/vms?wait=ready&timeout=60", """{"name": "traced", "plugin": "hello"}""", parent))
        {
            Assert.Equal(201, (int)created.StatusCode);
        }

        using (var twice = await api.SendAsync(HttpMethod.Post, "/api/v1/vms", """{"name": "traced", "plugin": "hello"}""", parent))
        {
            Assert.Equal(409, (int)twice.StatusCode);
        }

        using var headers = await api.SendAsync(HttpMethod.Get, "/api/v1/vms/traced/agent/headers", json: null, parent);
        var seen = await headers.Content.ReadAsStringAsync(Token);

        var mine = activities.Where(activity => activity.Source.Name == Instruments.Name && activity.TraceId.ToHexString() == TraceId).ToList();
        Assert.Equal(["vm.create", "vm.create", "guest.forward"], mine.Select(activity => activity.OperationName));
        Assert.Equal([ActivityStatusCode.Unset, ActivityStatusCode.Error, ActivityStatusCode.Unset], mine.Select(activity => activity.Status));
        Assert.All(mine, activity => Assert.Equal("traced", activity.GetTagItem("volant.vm")));
        Assert.Contains($"traceparent: 00-{TraceId}-{mine[2].SpanId.ToHexString()}-01", seen, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Every_line_of_an_operation_carries_the_ids_of_request_and_operation()
    {
        using var log = new ScopedLog();
        await using var api = await ApiFixture.StartAsync(customize: services => services.AddSingleton<ILoggerProvider>(log));
        await api.InstallAsync();
        using (await api.SendAsync(HttpMethod.Post, "/api/v1/vms", """{"name": "web", "plugin": "hello"}""", ("X-Request-Id", "request-1")))
        {
        }

        var (line, facts) = log.Lines.First(entry => entry.Line.StartsWith("VM web is running", StringComparison.Ordinal));

        Assert.Equal("request-1", facts["request_id"]);
        Assert.Equal(("create", "web"), (facts["operation"], facts["vm"]));
        Assert.Matches("^[0-9a-f]{32}$", facts["operation_id"]);
        Assert.DoesNotContain("System.", line, StringComparison.Ordinal);
    }

    [GeneratedRegex(@"(?:volant|http_server|process)_\w+", RegexOptions.None, matchTimeoutMilliseconds: 1000)]
    private static partial Regex MetricNames();

    /// <summary>Keeps every line with the facts of its scopes.</summary>
    private sealed class ScopedLog : ILoggerProvider, ILogger, ISupportExternalScope
    {
        private IExternalScopeProvider? _scopes;

        public ConcurrentQueue<(string Line, Dictionary<string, string> Facts)> Lines { get; } = [];

        public ILogger CreateLogger(string categoryName) => this;

        public void SetScopeProvider(IExternalScopeProvider scopeProvider) => _scopes = scopeProvider;

        public IDisposable? BeginScope<TState>(TState state)
            where TState : notnull => null;

        public bool IsEnabled(LogLevel logLevel) => true;

        public void Log<TState>(LogLevel logLevel, EventId eventId, TState state, Exception? exception, Func<TState, Exception?, string> formatter)
        {
            var facts = new Dictionary<string, string>(StringComparer.Ordinal);
            _scopes?.ForEachScope(
                (scope, all) =>
                {
                    foreach (var (name, value) in scope as IEnumerable<KeyValuePair<string, object?>> ?? [])
                    {
                        all[name] = value?.ToString() ?? string.Empty;
                    }
                },
                facts);
            Lines.Enqueue((formatter(state, exception), facts));
        }

        public void Dispose()
        {
        }
    }
}
