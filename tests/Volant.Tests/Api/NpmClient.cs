using Volant.Linux.Processes;

namespace Volant.Tests.Api;

/// <summary>A client that is not ours: a program for node in <c>tests/clients</c>, with the packages of its lock file.</summary>
internal static class NpmClient
{
    private const int Kill = 9;

    /// <summary>Runs it to its end, which must be a good one; skips the test where node or the packages are missing.</summary>
    /// <param name="name">Directory below <c>tests/clients</c>.</param>
    /// <param name="package">A package that it needs.</param>
    /// <param name="output">File for what it says.</param>
    /// <param name="arguments">Its arguments.</param>
    public static async Task RunAsync(string name, string package, string output, params string[] arguments)
    {
        var cancel = TestContext.Current.CancellationToken;
        var pid = ProcessSpawner.Spawn(new SpawnRequest
        {
            Arguments = [Programs.FindOnPath("node")!, Path.Combine(Find(name, package), "client.mjs"), .. arguments],
            OutputFile = output,
            Environment = [$"PATH={Environment.GetEnvironmentVariable("PATH")}"],
        });
        using var process = ProcessIdentity.Find(pid) is { } identity ? PidFd.TryOpen(identity) : null;
        ProcessExit? exit;
        try
        {
            exit = process is null ? ProcessWait.Reap(pid) : await ProcessExitWatcher.WaitForExitAsync(process).WaitAsync(cancel);
        }
        finally
        {
            process?.Signal(Kill);
        }

        var text = await File.ReadAllTextAsync(output, cancel);
        Assert.True(exit?.ExitCode == 0, $"{exit}\n{text}");
        Assert.StartsWith("ok: ", text, StringComparison.Ordinal);
    }

    /// <summary>Its directory; skips the test where something is missing.</summary>
    public static string Find(string name, string package)
    {
        var directory = Repository.PathOf($"tests/clients/{name}");
        Assert.SkipUnless(Programs.FindOnPath("node") is not null, "needs node on the path (scripts/deps.sh test)");
        Assert.SkipUnless(Directory.Exists(Path.Combine(directory, "node_modules", package)), $"needs the packages of tests/clients/{name}: run 'npm ci' there (scripts/test.sh does)");
        return directory;
    }
}

/// <summary>Programs of the machine.</summary>
internal static class Programs
{
    /// <summary>Full path of a program; null when it is not installed.</summary>
    public static string? FindOnPath(string program) =>
        (Environment.GetEnvironmentVariable("PATH") ?? string.Empty).Split(':').Select(directory => Path.Combine(directory, program)).FirstOrDefault(File.Exists);
}
