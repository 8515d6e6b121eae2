using System.Text;
using System.Text.Json.Nodes;
using Volant.Agent.Http;
using Volant.Agent.Workloads;

namespace Volant.Tests.Api;

/// <summary>Tools over the Model Context Protocol, and what the protocol refuses.</summary>
public sealed class McpTests : IAsyncLifetime
{
    private const string Path = "/api/v1/mcp";
    private const string Actions = """
        "actions": { "say": {"method": "PUT", "path": "/reflect/say"}, "hang": {"method": "POST", "path": "/hang", "timeout_ms": 200}, "drip": {"method": "GET", "path": "/drip", "timeout_ms": 200},
                     "much": {"method": "GET", "path": "/bytes/70000"}, "endless": {"method": "GET", "path": "/endless"}, "broken": {"method": "GET", "path": "/broken"} },
        """;

    private ApiFixture _api = null!;

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    public async ValueTask InitializeAsync()
    {
        _api = await ApiFixture.StartAsync();
        await _api.InstallAsync("hello", Actions);
    }

    public ValueTask DisposeAsync() => _api.DisposeAsync();

    [Fact]
    public async Task A_VM_lives_its_life_by_tools()
    {
        Assert.Equal(("running", true), Status(await CallAsync("create_vm", """{"name": "web", "plugin": "hello", "memory_mb": 512, "config": {"restart": {"policy": "on-failure"}}, "timeout_seconds": 60}""")));
        var details = await CallAsync("get_vm", """{"name": "web"}""");
        Assert.Equal((512, "vsock"), ((int)details["memory_mb"]!, (string?)details["network_mode"]));
        Assert.Null(details["kernel_cmdline"]);
        Assert.Equal("web", (string?)Assert.Single((await CallAsync("list_vms", """{"status": "running", "plugin": "hello", "contains": "we"}"""))["vms"]!.AsArray())!["name"]);
        Assert.Equal(("stopped", false), Status(await CallAsync("stop_vm", """{"name": "web", "grace_seconds": 0}""")));
        Assert.StartsWith("user ", (string?)(await CallAsync("get_vm", """{"name": "web"}"""))["exit"]!["asked_by"], StringComparison.Ordinal);
        Assert.Equal(("running", true), Status(await CallAsync("start_vm", """{"name": "web", "timeout_seconds": 60}""")));
        Assert.Equal(("running", true), Status(await CallAsync("restart_vm", """{"name": "web", "grace_seconds": 0, "timeout_seconds": 60}""")));
        Assert.Equal("web", (string?)(await CallAsync("delete_vm", """{"name": "web"}"""))["deleted"]);
        Assert.Equal(0, (int)(await CallAsync("list_vms"))["total"]!);
        Assert.Empty(_api.Launcher.Alive);

        static (string?, bool) Status(JsonNode vm) => ((string?)vm["status"], (bool)vm["ready"]!);
    }

    [Fact]
    public async Task A_list_comes_in_pages()
    {
        foreach (var name in new[] { "a", "b", "c" })
        {
            await _api.CreateAsync(name);
        }

        var first = await CallAsync("list_vms", """{"limit": 2}""");
        Assert.Equal((3, 2, 2), ((int)first["total"]!, (int)first["next_offset"]!, first["vms"]!.AsArray().Count));
        var last = await CallAsync("list_vms", """{"limit": 2, "offset": 2}""");
        Assert.Equal("c", (string?)Assert.Single(last["vms"]!.AsArray())!["name"]);
        Assert.Null(last["next_offset"]);
    }

    [Fact]
    public async Task A_VM_that_is_not_ready_in_time_is_left_running_and_the_error_says_what_to_do()
    {
        _api.Agent.OnState = Guests.FakeAgent.HangAsync;
        var error = await FailAsync("create_vm", """{"name": "slow", "plugin": "hello", "timeout_seconds": 1}""");
        Assert.Equal("timeout", (string?)error["code"]);
        Assert.Contains("get_vm_logs", (string?)error["next_step"], StringComparison.Ordinal);
        Assert.Equal("running", (string?)(await CallAsync("get_vm", """{"name": "slow"}"""))["status"]);
        Assert.Equal("running", (string?)(await CallAsync("create_vm", """{"name": "quick", "plugin": "hello", "wait": false}"""))["status"]);
    }

    [Fact]
    public async Task Logs_are_the_newest_lines_bounded_and_safe_to_show()
    {
        var log = new OutputLog(TimeProvider.System);
        _api.Agent.OnLogs = context => new LogRoutes(log, TimeProvider.System).StreamAsync(context);
        await _api.CreateAsync("web");
        for (var i = 0; i < 40; i++)
        {
            log.Add(false, Encoding.UTF8.GetBytes($"{i} \u001b[31m{new string('x', 4000)}\n"));
        }

        JsonNode logs;
        do
        {
            logs = await CallAsync("get_vm_logs", """{"name": "web", "tail": 40}""");
        }
        while (logs["lines"]!.AsArray() is not [.., { } newest] || !((string)newest["line"]!).StartsWith("39 ", StringComparison.Ordinal));

        Assert.True((bool)logs["truncated"]!);
        var lines = logs["lines"]!.AsArray();
        Assert.InRange(lines.Sum(line => ((string)line!["line"]!).Length), 60_000, 65_536);
        Assert.All(lines, line => Assert.DoesNotContain('\u001b', (string)line!["line"]!));
        logs = await CallAsync("get_vm_logs", """{"name": "web", "tail": 1, "since": "1h", "stream": "stdout"}""");
        Assert.False((bool)logs["truncated"]!);
        Assert.Equal("stdout", (string?)Assert.Single(logs["lines"]!.AsArray())!["stream"]);
    }

    [Fact]
    public async Task An_action_reaches_the_workload_and_its_answer_is_bounded_in_size_and_time()
    {
        Assert.Equal("no_ready_vm", (string?)(await FailAsync("run_action", """{"plugin": "hello", "action": "say"}"""))["code"]);
        await _api.CreateAsync("web");
        var said = await CallAsync("run_action", """{"plugin": "hello", "action": "say", "query": {"a b": "ü&"}, "body": {"x": [1]}}""");
        Assert.Equal(("web", 200), ((string?)said["vm"], (int)said["status"]!));
        Assert.StartsWith("PUT /reflect/say?a%20b=%C3%BC%26 [", (string?)said["body"], StringComparison.Ordinal);
        Assert.EndsWith("\n{\"x\":[1]}", (string?)said["body"], StringComparison.Ordinal);
        Assert.Null(said["note"]);

        Assert.Equal("timeout", (string?)(await FailAsync("run_action", """{"plugin": "hello", "action": "hang", "vm": "web"}"""))["code"]);
        Assert.Equal("agent_unreachable", (string?)(await FailAsync("run_action", """{"plugin": "hello", "action": "broken", "vm": "web"}"""))["code"]);
        var dripped = await CallAsync("run_action", """{"plugin": "hello", "action": "drip", "vm": "web"}""");
        Assert.Equal("x", (string?)dripped["body"]);
        Assert.Contains("not complete after 0.2 s", (string?)dripped["note"], StringComparison.Ordinal);
        foreach (var action in new[] { "much", "endless" })
        {
            var binary = await CallAsync("run_action", $$"""{"plugin": "hello", "action": "{{action}}", "vm": "web"}""");
            Assert.Null(binary["body"]);
            Assert.Contains("at least 65536 bytes", (string?)binary["note"], StringComparison.Ordinal);
        }

        Assert.Equal("action_not_found", (string?)(await FailAsync("run_action", """{"plugin": "hello", "action": "nope", "vm": "web"}"""))["code"]);
    }

    [Fact]
    public async Task A_deployment_is_made_scaled_and_deleted_by_tools()
    {
        var created = await CallAsync("create_deployment", """{"name": "web", "plugin": "hello", "replicas": 2, "memory_mb": 300, "config": {"metadata": {"secret": "s3cret"}}}""");
        Assert.Equal((2, "hello"), ((int)created["desired_replicas"]!, (string?)created["plugin"]));
        await UntilAsync("healthy", 2);
        Assert.Equal(300, (int)(await CallAsync("get_vm", """{"name": "web-2"}"""))["memory_mb"]!);
        Assert.Equal(1, (int)(await CallAsync("scale_deployment", """{"name": "web", "replicas": 1}"""))["desired_replicas"]!);
        await UntilAsync("healthy", 1);
        Assert.DoesNotContain("s3cret", (await CallAsync("list_deployments")).ToJsonString(), StringComparison.Ordinal);
        Assert.Equal("web", (string?)(await CallAsync("delete_deployment", """{"name": "web"}"""))["deleted"]);
        Assert.Equal("deployment_not_found", (string?)(await FailAsync("get_deployment", """{"name": "web"}"""))["code"]);

        async Task UntilAsync(string status, int ready)
        {
            JsonNode deployment;
            do
            {
                deployment = await CallAsync("get_deployment", """{"name": "web"}""");
            }
            while ((string?)deployment["status"] != status || (int)deployment["ready_replicas"]! != ready);
        }
    }

    [Fact]
    public async Task A_plugin_is_shown_without_its_environment()
    {
        await _api.InstallAsync("other", "\"cloud_init\": {\"datasource\": \"NoCloud\", \"user_data\": {\"inline\": true, \"content\": \"s3cret\"}}," + Actions);
        var plugin = await CallAsync("get_plugin", """{"name": "other"}""");
        Assert.Equal("/reflect/say", (string?)plugin["actions"]!["say"]!["path"]);
        Assert.Equal(256, (int)plugin["resources"]!["memory_mb"]!);
        Assert.DoesNotContain("s3cret", plugin.ToJsonString(), StringComparison.Ordinal);
        Assert.Equal(["hello", "other"], (await CallAsync("list_plugins"))["plugins"]!.AsArray().Select(listed => (string?)listed!["name"]));
        Assert.Equal(2, (int)(await CallAsync("get_system_info"))["enabled_plugins"]!);
    }

    [Theory]
    [InlineData("list_vms", """{"limit": 0}""", "limit")]
    [InlineData("list_vms", """{"limit": 1.5}""", "limit")]
    [InlineData("list_vms", """{"limit": 99999999999999999999}""", "limit")]
    [InlineData("list_vms", """{"status": "dead"}""", "status")]
    [InlineData("list_vms", """{"contains": 5}""", "contains")]
    [InlineData("list_vms", """{"color": "red"}""", "color")]
    [InlineData("get_vm", """{}""", "name")]
    [InlineData("get_vm", """{"name": null}""", "name")]
    [InlineData("get_vm", """{"name": "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"}""", "name")]
    [InlineData("create_vm", """{"name": "../x", "plugin": "hello"}""", "name")]
    [InlineData("create_vm", """{"name": "x", "plugin": "hello", "wait": "yes"}""", "wait")]
    [InlineData("create_vm", """{"name": "x", "plugin": "hello", "cpu_cores": 0}""", "cpu_cores")]
    [InlineData("create_vm", """{"name": "x", "plugin": "hello", "config": []}""", "config")]
    [InlineData("create_vm", """{"name": "x", "plugin": "hello", "config": {"restart": {"polici": "no"}}}""", "config.restart.polici")]
    [InlineData("create_vm", """{"name": "x", "plugin": "hello", "config": {"restart": {"policy": "never"}}}""", "config.restart.policy")]
    [InlineData("create_deployment", """{"name": "x", "plugin": "hello", "replicas": 1001}""", "replicas")]
    [InlineData("get_vm_logs", """{"name": "x", "since": "yesterday"}""", "since")]
    [InlineData("run_action", """{"plugin": "hello", "action": "say", "query": {"a": 1}}""", "query")]
    [InlineData("run_command", """{"name": "x", "command": "ls"}""", "command")]
    [InlineData("run_command", """{"name": "x", "command": ["ls", 1]}""", "command")]
    [InlineData("run_command", """{"name": "x", "command": []}""", "command")]
    [InlineData("run_command", """{"name": "x", "command": ["ls"], "workdir": "tmp"}""", "workdir")]
    [InlineData("run_command", """{"name": "x", "command": ["ls"], "user": "a b"}""", "user")]
    [InlineData("run_command", """{"name": "x", "command": ["ls"], "env": {"A": 1}}""", "env")]
    [InlineData("run_command", """{"name": "x", "command": ["ls"], "timeout_seconds": 0}""", "timeout_seconds")]
    public async Task A_wrong_argument_is_named(string tool, string arguments, string field)
    {
        var error = await FailAsync(tool, arguments);
        Assert.Equal("invalid_request", (string?)error["code"]);
        Assert.True(error["errors"]![field] is JsonArray { Count: > 0 }, error.ToJsonString());
        Assert.Contains(field.Split('.')[^1], (string?)error["message"], StringComparison.Ordinal);
        Assert.Empty(_api.Log.Errors);
    }

    [Fact]
    public async Task A_failure_that_nobody_foresaw_is_logged_and_tells_nothing()
    {
        _api.Launcher.FailBefore = new InvalidOperationException("s3cret");
        var error = await FailAsync("create_vm", """{"name": "web", "plugin": "hello"}""");
        Assert.Equal("internal", (string?)error["code"]);
        Assert.DoesNotContain("s3cret", error.ToJsonString(), StringComparison.Ordinal);
        Assert.Contains("s3cret", Assert.Single(_api.Log.Errors), StringComparison.Ordinal);
    }

    [Fact]
    public async Task Every_tool_is_described_annotated_and_has_both_schemas_and_the_list_is_short()
    {
        var tools = (await AskAsync("tools/list", "{}"))["result"]!["tools"]!.AsArray();
        Assert.Equal(
            ["create_deployment", "create_vm", "delete_deployment", "delete_vm", "get_deployment", "get_plugin", "get_system_info", "get_vm", "get_vm_logs", "list_deployments", "list_plugins", "list_vms", "restart_vm", "run_action", "run_command", "scale_deployment", "start_vm", "stop_vm"],
            tools.Select(tool => (string)tool!["name"]!).Order(StringComparer.Ordinal));
        Assert.All(tools, tool =>
        {
            var name = (string)tool!["name"]!;
            Assert.True(((string?)tool["description"])?.Length > 20, name);
            Assert.Equal("object", (string?)tool["outputSchema"]!["type"]);
            Assert.All(tool["inputSchema"]!["properties"]!.AsObject(), property => Assert.True(((string?)property.Value!["description"])?.Length > 5, $"{name}.{property.Key}"));
            var isRead = name.StartsWith("get_", StringComparison.Ordinal) || name.StartsWith("list_", StringComparison.Ordinal);
            Assert.Equal(isRead, (bool?)tool["annotations"]!["readOnlyHint"] == true);
            Assert.Equal(isRead || name.StartsWith("create_", StringComparison.Ordinal) || name == "start_vm", (bool?)tool["annotations"]!["destructiveHint"] != true);
        });

        // An agent reads all of it before its first word.
        Assert.True(tools.ToJsonString().Length < 22_000, $"{tools.ToJsonString().Length} characters");
    }

    [Fact]
    public async Task What_the_protocol_does_not_know_is_refused_in_its_own_form()
    {
        Assert.Equal(-32602, (int)(await AskAsync("tools/call", """{"name": "nope"}"""))["error"]!["code"]!);
        Assert.Equal(-32601, (int)(await AskAsync("no/such", "{}"))["error"]!["code"]!);
        foreach (var (body, headers, status) in new (string, (string, string)[], int)[]
        {
            ("""{"jsonrpc": "2.0", "method": "notifications/initialized"}""", [], 202),
            ("""{"jsonrpc": "2.0", "id": {}, "method": "ping"}""", [], 400),
            ("""{"jsonrpc": "1.0", "id": 1, "method": "ping"}""", [], 400),
            ("""{"jsonrpc": "2.0", "id": 1, "method": "ping"}""", [("MCP-Protocol-Version", "1999-01-01")], 400),
            ("""{"jsonrpc": "2.0", "id": 1, "method": "ping"}""", [("Mcp-Session-Id", "x")], 400),
        })
        {
            using var response = await PostAsync(body, headers);
            var text = await response.Content.ReadAsStringAsync(Cancel);
            Assert.True((int)response.StatusCode == status, $"{body}: {(int)response.StatusCode} {text}");
            Assert.True(status == 202 || JsonNode.Parse(text)!["error"]!["message"] is not null, text);
        }

        using var json = await _api.SendAsync(HttpMethod.Post, Path, """{"jsonrpc": "2.0", "id": 1, "method": "ping"}""", ("Accept", "application/json"));
        Assert.Equal(406, (int)json.StatusCode);
        foreach (var method in new[] { HttpMethod.Get, HttpMethod.Delete })
        {
            using var refused = await _api.SendAsync(method, Path, json: null, ("Accept", "text/event-stream"));
            Assert.Equal(405, (int)refused.StatusCode);
        }

        Assert.Empty(_api.Log.Errors);
    }

    [Fact]
    public async Task Both_generations_of_the_protocol_are_served()
    {
        var hello = await AskAsync("initialize", """{"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}}""");
        Assert.Equal(("2025-06-18", "volant"), ((string?)hello["result"]!["protocolVersion"], (string?)hello["result"]!["serverInfo"]!["name"]));
        Assert.Contains("list_plugins", (string?)hello["result"]!["instructions"], StringComparison.Ordinal);

        // Without a handshake: every request says what the client is and can.
        using var response = await PostAsync(
            """{"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "list_vms", "arguments": {}, "_meta": {"io.modelcontextprotocol/protocolVersion": "2026-07-28", "io.modelcontextprotocol/clientCapabilities": {}}}}""",
            [("MCP-Protocol-Version", "2026-07-28"), ("Mcp-Method", "tools/call"), ("Mcp-Name", "list_vms")]);
        Assert.Equal(0, (int)(await MessageAsync(response))["result"]!["structuredContent"]!["total"]!);
    }

    [Fact]
    public async Task Only_calls_that_change_something_are_counted_and_both_forms_share_the_bucket()
    {
        await using var api = await ApiFixture.StartAsync(new Dictionary<string, string>(StringComparer.Ordinal) { ["VOLANT_RATE_LIMIT"] = "1" });
        var codes = new List<string?>();
        for (var i = 0; i < 6; i++)
        {
            codes.Add((string?)JsonNode.Parse((string)(await AskAsync("tools/call", """{"name": "start_vm", "arguments": {"name": "none"}}""", api))["result"]!["content"]![0]!["text"]!)!["code"]);
            Assert.Null((await AskAsync("tools/call", """{"name": "list_vms"}""", api))["result"]!["isError"]);
        }

        Assert.Equal("vm_not_found", codes[0]);
        Assert.Contains("too_many_requests", codes);
        var refused = false;
        for (var i = 0; i < 6; i++)
        {
            using var listed = await api.SendAsync(HttpMethod.Post, Path, """{"command": "volant.vms.list"}""");
            Assert.Equal(200, (int)listed.StatusCode);
            using var created = await api.SendAsync(HttpMethod.Post, Path, """{"command": "volant.vms.create", "params": {"name": "a", "plugin": "none"}}""");
            refused |= (int)created.StatusCode == 429;
        }

        Assert.True(refused);
    }

    private async Task<JsonNode> CallAsync(string tool, string arguments = "{}")
    {
        var result = (await AskAsync("tools/call", $$"""{"name": "{{tool}}", "arguments": {{arguments}} }"""))["result"]!;
        Assert.True(result["isError"] is null, result.ToJsonString());
        Assert.True(JsonNode.DeepEquals(JsonNode.Parse((string)result["content"]![0]!["text"]!), result["structuredContent"]), result.ToJsonString());
        return result["structuredContent"]!;
    }

    private async Task<JsonNode> FailAsync(string tool, string arguments)
    {
        var answer = await AskAsync("tools/call", $$"""{"name": "{{tool}}", "arguments": {{arguments}} }""");
        Assert.True((bool?)answer["result"]?["isError"] == true, answer.ToJsonString());
        Assert.Null(answer["result"]!["structuredContent"]);
        return JsonNode.Parse((string)answer["result"]!["content"]![0]!["text"]!)!;
    }

    private async Task<JsonNode> AskAsync(string method, string parameters, ApiFixture? api = null)
    {
        using var response = await PostAsync($$"""{"jsonrpc": "2.0", "id": 1, "method": "{{method}}", "params": {{parameters}} }""", [], api);
        return await MessageAsync(response);
    }

    private Task<HttpResponseMessage> PostAsync(string body, (string, string)[] headers, ApiFixture? api = null) =>
        (api ?? _api).SendAsync(HttpMethod.Post, Path, body, [("Accept", "application/json, text/event-stream"), .. headers]);

    /// <summary>The one message of an event stream.</summary>
    private static async Task<JsonNode> MessageAsync(HttpResponseMessage response)
    {
        var text = await response.Content.ReadAsStringAsync(Cancel);
        Assert.True((int)response.StatusCode == 200 && response.Content.Headers.ContentType?.MediaType == "text/event-stream", $"{(int)response.StatusCode} {text}");
        return JsonNode.Parse(Assert.Single(text.Split('\n'), line => line.StartsWith("data: ", StringComparison.Ordinal))["data: ".Length..])!;
    }
}
