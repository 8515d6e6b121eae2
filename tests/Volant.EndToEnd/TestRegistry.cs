namespace Volant.EndToEnd;

/// <summary>A real registry on loopback, with its files in a directory of its own.</summary>
internal sealed class TestRegistry : IAsyncDisposable
{
    /// <summary>Name and password of a registry that has one.</summary>
    public const string Credentials = "somebody:secret";

    private const string Program = "/usr/bin/docker-registry";

    /// <summary>The same as a line of an htpasswd file, by bcrypt.</summary>
    private const string PasswordLine = "somebody:$2y$05$abcdefghijklmnopqrstuuOQiyCxlgf/oeuTqixKmWdcYUh4Hjl0a\n";

    private static readonly TimeSpan StartLimit = TimeSpan.FromSeconds(30);

    private readonly string _directory;
    private readonly Command _process;

    private TestRegistry(string directory, Uri address, Command process)
    {
        _directory = directory;
        Address = address;
        _process = process;
        Leftovers.Add(this, RemoveAsync);
    }

    /// <summary>Its address.</summary>
    public Uri Address { get; }

    /// <summary>Starts it, or skips the calling test where it is not installed.</summary>
    public static async Task<TestRegistry> StartAsync(bool hasPassword = false)
    {
        Assert.SkipUnless(File.Exists(Program), "docker-registry is not installed (scripts/deps.sh test)");
        var directory = Directory.CreateTempSubdirectory("vt-reg-").FullName;
        var port = Workspace.FreePort();
        var config = Path.Combine(directory, "config.yml");
        var passwords = Path.Combine(directory, "passwords");
        await File.WriteAllTextAsync(passwords, PasswordLine);
        var access = hasPassword ? $"auth: {{htpasswd: {{realm: test, path: {passwords}}}}}\n" : string.Empty;
        await File.WriteAllTextAsync(config, $"version: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: {{rootdirectory: {directory}/data}}}}\nhttp: {{addr: '127.0.0.1:{port}'}}\n{access}");
        var registry = new TestRegistry(directory, new Uri($"http://127.0.0.1:{port}"), Command.Start([Program, "serve", config]));
        await registry.UntilReadyAsync();
        return registry;
    }

    /// <inheritdoc/>
    public async ValueTask DisposeAsync()
    {
        if (Directory.Exists(_directory))
        {
            Leftovers.Forget(this);
            await RemoveAsync();
        }
    }

    private async Task UntilReadyAsync()
    {
        using var client = new HttpClient { BaseAddress = Address };
        var started = TimeProvider.System.GetTimestamp();
        while (!_process.Exit.IsCompleted && TimeProvider.System.GetElapsedTime(started) < StartLimit)
        {
            try
            {
                using var answer = await client.GetAsync(new Uri("/v2/", UriKind.Relative));
                return;
            }
            catch (HttpRequestException)
            {
                await Task.Delay(TimeSpan.FromMilliseconds(50), TimeProvider.System);
            }
        }

        Assert.Fail($"The registry did not start:\n{_process.Error}");
    }

    private async Task RemoveAsync()
    {
        _process.Signal(9);
        await _process.Exit;
        _process.Dispose();
        Directory.Delete(_directory, recursive: true);
    }
}
