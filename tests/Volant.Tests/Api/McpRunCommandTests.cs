using System.Text.Json.Nodes;
using Volant.Tests.Agent;
using Volant.Tests.Guests;

namespace Volant.Tests.Api;

/// <summary>The tool <c>run_command</c>, with the real agent's code behind the channel.</summary>
public sealed class McpRunCommandTests : IAsyncLifetime
{
    private ApiFixture _api = null!;
    private AgentHarness _agent = null!;

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    public async ValueTask InitializeAsync()
    {
        _agent = await AgentHarness.StartAsync(_ => { }, Cancel);
        _api = await ApiFixture.StartAsync();
        var socket = Path.Combine(_api.Root, "real");
        _agent.ListenOn(socket);
        _agent.Status.SetHealth(null);
        _api.Launcher.GuestOf = spec => new FakePort(spec.Paths.AgentSocket, socket);
        await _api.InstallAsync();
        await _api.CreateAsync("web");
    }

    public async ValueTask DisposeAsync()
    {
        await _api.DisposeAsync();
        await _agent.DisposeAsync();
    }

    [Fact]
    public async Task A_command_gets_input_and_environment_and_gives_output_and_exit_code()
    {
        var result = await CallAsync("""["sh", "-c", "cat; echo $A; pwd; echo 'oh \u001b[31mno' >&2; exit 4"]""", """, "stdin": "hé\n", "env": {"A": "b"}, "workdir": "/"  """);

        Assert.Equal(("web", 4, "hé\nb\n/\n", "oh [31mno\n"), ((string?)result["vm"], (int)result["exit_code"]!, (string?)result["stdout"], (string?)result["stderr"]));
        Assert.Null(result["note"]);
    }

    [Fact]
    public async Task Long_output_is_cut_and_a_command_that_takes_too_long_is_ended()
    {
        var result = await CallAsync("""["sh", "-c", "yes 0123456789abcdef | head -c 100000; sleep 1000"]""", """, "timeout_seconds": 1""");

        Assert.Null(result["exit_code"]);
        Assert.Equal(32 * 1024, ((string)result["stdout"]!).Length);
        Assert.Contains("took too long", (string?)result["note"], StringComparison.Ordinal);
        Assert.Contains("32 KiB", (string?)result["note"], StringComparison.Ordinal);
    }

    [Fact]
    public async Task Input_that_nobody_reads_hinders_nothing()
    {
        var result = await CallAsync("""["true"]""", $$""", "stdin": "{{new string('x', 65536)}}" """);

        Assert.Equal(0, (int)result["exit_code"]!);
    }

    [Fact]
    public async Task A_program_that_is_not_there_is_an_error_that_says_what_to_do()
    {
        var result = await AskAsync("""["no-such-thing"]""", string.Empty);

        Assert.True((bool)result["isError"]!);
        var error = JsonNode.Parse((string)result["content"]![0]!["text"]!)!;
        Assert.Equal("exec_failed", (string?)error["code"]);
        Assert.Contains("/bin/sh", (string?)error["next_step"], StringComparison.Ordinal);
    }

    private async Task<JsonNode> CallAsync(string command, string more)
    {
        var result = await AskAsync(command, more);
        Assert.True(result["isError"] is null, result.ToJsonString());
        return result["structuredContent"]!;
    }

    private async Task<JsonNode> AskAsync(string command, string more)
    {
        using var response = await _api.SendAsync(
            HttpMethod.Post,
            "/api/v1/mcp",
            $$"""{"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "run_command", "arguments": {"name": "web", "command": {{command}}{{more}} } } }""",
            ("Accept", "application/json, text/event-stream"));
        var text = await response.Content.ReadAsStringAsync(Cancel);
        return JsonNode.Parse(text.Split("data: ")[1])!["result"]!;
    }
}
