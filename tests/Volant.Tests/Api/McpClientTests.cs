namespace Volant.Tests.Api;

/// <summary>An agent's view, with the protocol's own client library from npm: <c>tests/clients/mcp</c>.</summary>
public sealed class McpClientTests
{
    private const string Key = "vlt_0123456789abcdef0123456789abcdef";

    [Fact]
    public async Task A_client_that_is_not_ours_drives_a_VM_through_its_life()
    {
        NpmClient.Find("mcp", "@modelcontextprotocol/sdk");
        await using var api = await ApiFixture.StartAsync(new Dictionary<string, string>(StringComparer.Ordinal) { ["VOLANT_API_LISTEN"] = "127.0.0.1:0", ["VOLANT_API_KEY"] = Key });
        api.Client.DefaultRequestHeaders.Add("X-Volant-API-Key", Key);
        await api.InstallAsync("hello", """ "actions": { "say": {"method": "POST", "path": "/reflect/say"} }, """);

        await NpmClient.RunAsync("mcp", "@modelcontextprotocol/sdk", Path.Combine(api.Root, "client.log"), new Uri(api.Address, "/api/v1/mcp").ToString(), Key);

        Assert.Empty(api.Log.Errors);
        Assert.Empty(api.Launcher.Alive);
    }
}
