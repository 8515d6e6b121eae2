namespace Volant.EndToEnd;

/// <summary>A daemon and the plugin of <c>samples/hello</c>, as a newcomer has them, for all tests of a class.</summary>
public sealed class HelloVm : IAsyncLifetime
{
    private readonly TestDaemon _daemon = new();

    /// <summary>Where people work: holds <c>hello/</c>, what fledge made of the sample.</summary>
    public string Directory { get; } = System.IO.Directory.CreateTempSubdirectory("vt-hello-").FullName;

    /// <summary>The daemon.</summary>
    internal TestDaemon Daemon => _daemon;

    private Dictionary<string, string> Variables => new(StringComparer.Ordinal)
    {
        ["PATH"] = $"{Workspace.Programs}:/usr/sbin:/usr/bin:/sbin:/bin",
        ["VOLANT_API_BASE"] = $"unix://{_daemon.Socket}",
    };

    /// <inheritdoc/>
    public async ValueTask InitializeAsync()
    {
        await _daemon.StartAsync();
        var target = System.IO.Directory.CreateDirectory(Path.Combine(Directory, "hello")).FullName;
        var built = await Command.RunAsync([Workspace.Program("fledge"), "build", Path.Combine(Workspace.Root, "samples", "hello"), "--output", target + "/"]);
        Assert.True(built.ExitCode == 0, built.ToString());
    }

    /// <summary>Makes the VM <c>web</c> unless it is there.</summary>
    public async Task RequireVmAsync()
    {
        if (await _daemon.FindAsync("web") is null)
        {
            await _daemon.InstallAsync(Path.Combine(Directory, "hello", "hello.manifest.json"));
            await _daemon.CreateReadyAsync("web", "hello");
        }
    }

    /// <summary>Runs <c>volar</c>, which must succeed, and returns its output.</summary>
    public async Task<string> SucceedAsync(params string[] arguments)
    {
        var result = await _daemon.VolarAsync(arguments);
        Assert.True(result.ExitCode == 0, result + _daemon.Logs());
        return result.Output;
    }

    /// <summary>Runs a line of shell in the directory, with <c>volar</c> in its path.</summary>
    internal Task<CommandResult> ShellAsync(string line) => Command.RunAsync(["bash", "-c", $"cd '{Directory}' && {line}"], TimeSpan.FromSeconds(60), Variables);

    /// <summary>Starts <c>volar</c> and leaves it running.</summary>
    internal Command Start(params string[] arguments) => Command.Start([Workspace.Program("volar"), .. arguments], Variables);

    /// <inheritdoc/>
    public async ValueTask DisposeAsync()
    {
        await _daemon.DisposeAsync();
        System.IO.Directory.Delete(Directory, recursive: true);
    }
}
