using Volant.Linux.Processes;

namespace Volant.Tests.Fledge;

/// <summary>Runs a real program to its end.</summary>
internal static class Spawned
{
    private static readonly string[] Directories = ["/usr/bin", "/usr/sbin", "/bin", "/sbin"];

    /// <summary>Standard output of the program, which is a path or the name of one of the distribution's; it must exit with 0.</summary>
    public static async Task<string> RunAsync(TempTree tree, string? input, params string[] arguments)
    {
        var (exit, text) = await TryAsync(tree, input, [], arguments);
        Assert.True(exit?.ExitCode == 0, $"{string.Join(' ', arguments)}: {exit}\n{text}");
        return text;
    }

    /// <summary>How the program ended and what it said.</summary>
    public static async Task<(ProcessExit? Exit, string Text)> TryAsync(TempTree tree, string? input, string[] variables, string[] arguments)
    {
        var output = tree[$"spawned-{Guid.NewGuid():N}"];
        using var stdin = input is null ? null : File.OpenHandle(input);
        var pid = ProcessSpawner.Spawn(new SpawnRequest
        {
            Arguments = [Directories.Select(directory => Path.Combine(directory, arguments[0])).FirstOrDefault(File.Exists) ?? arguments[0], .. arguments[1..]],
            StandardInput = stdin,
            OutputFile = output,
            Environment = [.. new[] { "PATH", "DOTNET_ROOT", "HOME" }.Select(name => $"{name}={Environment.GetEnvironmentVariable(name)}"), .. variables],
        });
        using var process = ProcessIdentity.Find(pid) is { } identity ? PidFd.TryOpen(identity) : null;
        var exit = process is null ? ProcessWait.Reap(pid) : await ProcessExitWatcher.WaitForExitAsync(process);
        return (exit, await File.ReadAllTextAsync(output, TestContext.Current.CancellationToken));
    }
}
