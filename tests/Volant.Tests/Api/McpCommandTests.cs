using System.Net.Http.Headers;
using System.Text;
using System.Text.Json;
using System.Text.Json.Nodes;
using Volant.Contracts;
using Volant.Contracts.Api;

namespace Volant.Tests.Api;

/// <summary>The older one-shot form of <c>POST /api/v1/mcp</c>.</summary>
public sealed class McpCommandTests : IAsyncLifetime
{
    private const string Path = "/api/v1/mcp";

    private ApiFixture _api = null!;

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    public async ValueTask InitializeAsync()
    {
        _api = await ApiFixture.StartAsync();
        await _api.InstallAsync();
    }

    public ValueTask DisposeAsync() => _api.DisposeAsync();

    [Theory]
    [InlineData("""{"name": "web", "plugin": "hello", "memory_mb": 300}""", 300)]
    [InlineData("""{"name": "web", "runtime": "hello"}""", 256)]
    public async Task A_VM_is_created_and_listed(string parameters, int memory)
    {
        Assert.Empty((await RunAsync("""{"command": "volant.vms.list", "params": {}}""")).AsArray());
        var created = (await RunAsync($$"""{"command": "volant.vms.create", "params": {{parameters}} }""")).Deserialize(ContractsJson.Default.Vm)!;
        Assert.Equal(("web", "hello", memory, VmStatus.Running), (created.Name, created.Plugin, created.MemoryMb, created.Status));
        Assert.Equal(created.Uid, Assert.Single((await RunAsync("""{"command": "volant.vms.list"}""")).Deserialize(ContractsJson.Default.IReadOnlyListVm)!).Uid);
        using var again = await _api.SendAsync(HttpMethod.Post, Path, $$"""{"command": "volant.vms.create", "params": {{parameters}} }""");
        var problem = await ApiFixture.ReadAsync(again, 409, ContractsJson.Default.Problem);
        Assert.Equal(("vm_exists", problem.Detail), (problem.Code, problem.Error));
    }

    [Fact]
    public async Task The_commands_and_their_parameters_are_told()
    {
        var commands = (await RunAsync("""{"command": "volant.system.get_capabilities", "params": null}"""))["capabilities"]!.AsArray();
        Assert.Equal(["volant.vms.create", "volant.vms.list", "volant.system.get_capabilities"], commands.Select(command => (string?)command!["name"]));
        Assert.All(commands, command => Assert.True(command!["description"]!.GetValue<string>().Length > 5 && command["params"] is JsonObject, command.ToJsonString()));
        Assert.Equal(
            ContractsJson.Default.CreateVmRequest.Properties.Select(property => property.Name).Order(StringComparer.Ordinal),
            commands[0]!["params"]!.AsObject().Select(parameter => parameter.Key).Order(StringComparer.Ordinal));
    }

    [Theory]
    [InlineData("{}", "command")]
    [InlineData("""{"command": "volant.vms.destroy"}""", "command")]
    [InlineData("""{"command": 1}""", "command")]
    [InlineData("""{"command": "volant.vms.list", "colour": 1}""", "colour")]
    [InlineData("""{"command": "volant.vms.list", "command": "volant.vms.list"}""", "$")]
    [InlineData("""{"command": "volant.vms.list", "params": {"limit": 1}}""", "params")]
    [InlineData("""{"command": "volant.vms.list", "params": []}""", "params")]
    [InlineData("""{"command": "volant.vms.create"}""", "params")]
    [InlineData("""{"command": "volant.vms.create", "params": []}""", "params")]
    [InlineData("""{"command": "volant.vms.create", "params": {"name": "x", "plugin": "hello", "colour": 1}}""", "params.colour")]
    [InlineData("""{"command": "volant.vms.create", "params": {"name": "x", "plugin": "hello", "config": {"restart": {"policy": 5}}}}""", "params.config.restart.policy")]
    [InlineData("""{"command": "volant.vms.create", "params": {"name": "../x", "plugin": "hello"}}""", "name")]
    [InlineData("[]", "$")]
    [InlineData("null", "$")]
    [InlineData("\"text\"", "$")]
    [InlineData("{", "$")]
    [InlineData("", "$")]
    [InlineData("{\"command\": \"volant.vms.list\", \"params\": [[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]}", "$")]
    public async Task A_wrong_body_is_a_problem_that_names_the_member(string body, string field)
    {
        using var response = await _api.SendAsync(HttpMethod.Post, Path, body);
        var problem = await ApiFixture.ReadAsync(response, 400, ContractsJson.Default.Problem);
        Assert.Equal("application/problem+json", response.Content.Headers.ContentType!.MediaType);
        Assert.Equal("invalid_request", problem.Code);
        Assert.True(problem.Errors!.ContainsKey(field), string.Join(", ", problem.Errors.Keys));
        Assert.Empty(_api.Launcher.Alive);
        Assert.Empty(_api.Log.Errors);
    }

    [Fact]
    public async Task A_body_that_is_too_large_or_no_JSON_is_refused_in_both_forms()
    {
        foreach (var start in new[] { "{\"command\": \"", "{\"jsonrpc\": \"2.0\", \"id\": 1, \"method\": \"" })
        {
            using var large = await _api.SendAsync(HttpMethod.Post, Path, $"{start}{new string('x', 1024 * 1024)}\"}}", ("Expect", "100-continue"));
            Assert.Equal("too_large", (await ApiFixture.ReadAsync(large, 413, ContractsJson.Default.Problem)).Code);
            using var text = new StringContent($"{start}\"}}", Encoding.UTF8, new MediaTypeHeaderValue("text/plain"));
            using var plain = await _api.Client.PostAsync(Path, text, Cancel);
            Assert.Equal("unsupported_media_type", (await ApiFixture.ReadAsync(plain, 415, ContractsJson.Default.Problem)).Code);
        }

        using var charset = new StringContent("""{"command": "volant.vms.list"}""", Encoding.UTF8, MediaTypeHeaderValue.Parse("application/json; charset=no-such"));
        using var unread = await _api.Client.PostAsync(Path, charset, Cancel);
        Assert.Equal(415, (int)unread.StatusCode);
    }

    private async Task<JsonNode> RunAsync(string body)
    {
        using var response = await _api.SendAsync(HttpMethod.Post, Path, body);
        return JsonNode.Parse((await ApiFixture.ReadAsync(response, 200, ContractsJson.Default.McpAnswer)).Result.GetRawText())!;
    }
}
