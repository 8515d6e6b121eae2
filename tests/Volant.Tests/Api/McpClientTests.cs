using Volant.Linux.Processes;

namespace Volant.Tests.Api;

/// <summary>An agent's view, with the protocol's own client library from npm: <c>tests/clients/mcp</c>.</summary>
public sealed class McpClientTests
{
    private const string Key = "vlt_0123456789abcdef0123456789abcdef";

    private const int Kill = 9;

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    [Fact]
    public async Task A_client_that_is_not_ours_drives_a_VM_through_its_life()
    {
        var directory = Repository.PathOf("tests/clients/mcp");
        Assert.SkipUnless(FindOnPath("node") is not null, "needs node on the path (scripts/deps.sh test)");
        Assert.SkipUnless(Directory.Exists(Path.Combine(directory, "node_modules", "@modelcontextprotocol", "sdk")), $"needs the packages of tests/clients/mcp: run 'npm ci' there (scripts/test.sh does)");
        await using var api = await ApiFixture.StartAsync(new Dictionary<string, string>(StringComparer.Ordinal) { ["VOLANT_API_LISTEN"] = "127.0.0.1:0", ["VOLANT_API_KEY"] = Key });
        api.Client.DefaultRequestHeaders.Add("X-Volant-API-Key", Key);
        await api.InstallAsync("hello", """ "actions": { "say": {"method": "POST", "path": "/reflect/say"} }, """);

        var output = Path.Combine(api.Root, "client.log");
        var pid = ProcessSpawner.Spawn(new SpawnRequest
        {
            Arguments = [FindOnPath("node")!, Path.Combine(directory, "client.mjs"), new Uri(api.Address, "/api/v1/mcp").ToString(), Key],
            OutputFile = output,
            Environment = [$"PATH={Environment.GetEnvironmentVariable("PATH")}"],
        });
        using var process = ProcessIdentity.Find(pid) is { } identity ? PidFd.TryOpen(identity) : null;
        ProcessExit? exit;
        try
        {
            exit = process is null ? ProcessWait.TryReap(pid, out _) : await ProcessExitWatcher.WaitForExitAsync(process).WaitAsync(Cancel);
        }
        finally
        {
            process?.Signal(Kill);
        }

        var text = await File.ReadAllTextAsync(output, Cancel);
        Assert.True(exit?.ExitCode == 0, $"{exit}\n{text}");
        Assert.StartsWith("ok: ", text, StringComparison.Ordinal);
        Assert.Empty(api.Log.Errors);
        Assert.Empty(api.Launcher.Alive);
    }

    private static string? FindOnPath(string program) =>
        (Environment.GetEnvironmentVariable("PATH") ?? string.Empty).Split(':').Select(directory => Path.Combine(directory, program)).FirstOrDefault(File.Exists);
}
