using System.Globalization;
using Volant.Contracts.Api;

namespace Volant.EndToEnd;

/// <summary><c>volar run</c>: from the name of an image to a VM that serves.</summary>
public sealed class RunTests : IAsyncLifetime
{
    private readonly TestDaemon _daemon = new();

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    public async ValueTask InitializeAsync() => await _daemon.StartAsync();

    public ValueTask DisposeAsync() => _daemon.DisposeAsync();

    [Fact]
    public async Task An_image_of_a_registry_is_built_once_and_runs_with_its_ports_variables_and_arguments()
    {
        await using var registry = await TestRegistry.StartAsync();
        await (await TestImage.CreateAsync()).PushAsync(registry.Address, "team/app", "1.0");
        var image = $"{registry.Address.Authority}/team/app:1.0";
        var (port, other) = (Workspace.FreePort(), Workspace.FreePort());

        var first = await RunAsync("run", image, "--name", "web", "--network", "vsock", "-p", $"{port}:8080", "--memory", "192", "--wait", "--timeout", "150");
        var second = await RunAsync("run", image, "--name", "other", "--network", "vsock", "-p", $"{other}:9090", "-e", "GREETING=from the command line", "--memory", "192", "--wait", "--timeout", "150", "--", "9090");

        Assert.True(first.ExitCode == 0, $"{first}\n{_daemon.Logs()}");
        Assert.Contains("Building a root disk", first.Error, StringComparison.Ordinal);
        Assert.Contains("Uploading", first.Error, StringComparison.Ordinal);
        Assert.True(second.ExitCode == 0, $"{second}\n{_daemon.Logs()}");
        Assert.DoesNotContain("Building", second.Error, StringComparison.Ordinal);
        Assert.DoesNotContain("Uploading", second.Error, StringComparison.Ordinal);
        Assert.Equal("from the image", await GetAsync(port, "/env/GREETING"));
        Assert.Equal("from the image\n", await GetAsync(port, "/read/etc/again"));
        Assert.Equal("from the command line", await GetAsync(other, "/env/GREETING"));

        // Both are made from one plugin, and each writes to a disk of its own, which it finds again.
        var (web, same) = ((await _daemon.FindAsync("web"))!, (await _daemon.FindAsync("other"))!);
        Assert.Equal(web.Plugin, same.Plugin);
        using (var put = await _daemon.Client.PutAsync("/api/v1/vms/web/files?path=/etc/kept", new StringContent("written"), Cancel))
        {
            Assert.True(put.IsSuccessStatusCode, await put.Content.ReadAsStringAsync(Cancel));
        }

        var restarted = await RunAsync("vms", "restart", "web");
        Assert.True(restarted.ExitCode == 0, restarted.ToString());
        await _daemon.UntilAsync("web", state => state is { Status: VmStatus.Running, Ready: true });
        Assert.Equal("written", await GetAsync(port, "/read/etc/kept"));
        Assert.Equal("from the image\n", await GetAsync(other, "/read/etc/kept"));
    }

    private Task<CommandResult> RunAsync(params string[] arguments) => Command.RunAsync(
        [Workspace.Program("volar"), "--api", $"unix://{_daemon.Socket}", .. arguments],
        TimeSpan.FromSeconds(240),
        new Dictionary<string, string>(StringComparer.Ordinal) { ["XDG_CACHE_HOME"] = Path.Combine(_daemon.Directory, "cache") });

    /// <summary>Asks the workload through a published port, as soon as it listens.</summary>
    private static async Task<string> GetAsync(int port, string path)
    {
        using var client = new HttpClient { BaseAddress = new Uri(string.Create(CultureInfo.InvariantCulture, $"http://127.0.0.1:{port}")) };
        for (var started = TimeProvider.System.GetTimestamp(); ;)
        {
            try
            {
                return await client.GetStringAsync(new Uri(path, UriKind.Relative), Cancel);
            }
            catch (HttpRequestException) when (TimeProvider.System.GetElapsedTime(started) < TimeSpan.FromSeconds(60))
            {
                await Task.Delay(TimeSpan.FromMilliseconds(100), TimeProvider.System, Cancel);
            }
        }
    }
}
