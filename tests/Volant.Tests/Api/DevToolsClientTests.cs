using System.Globalization;
using Volant.Linux.Processes;
using Volant.Tests.Agent;
using Volant.Tests.Guests;

namespace Volant.Tests.Api;

/// <summary>An automation client from npm drives the distribution's Chromium through the whole bridge: daemon, guest channel, the agent's own code, browser.</summary>
public sealed class DevToolsClientTests
{
    private const string Key = "vlt_0123456789abcdef0123456789abcdef";

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    [Fact]
    public async Task A_client_that_is_not_ours_drives_a_real_browser()
    {
        var chromium = Programs.FindOnPath("chromium");
        Assert.SkipUnless(chromium is not null, "needs chromium on the path (scripts/deps.sh test)");
        NpmClient.Find("devtools", "playwright-core");
        await using var browser = await Browser.StartAsync(chromium!);
        await using var agent = await AgentHarness.StartAsync(browser.Address, null, Cancel);
        agent.Running();
        agent.Status.SetHealth(null);
        await using var api = await ApiFixture.StartAsync(new Dictionary<string, string>(StringComparer.Ordinal) { ["VOLANT_API_LISTEN"] = "127.0.0.1:0", ["VOLANT_API_KEY"] = Key });
        var socket = Path.Combine(api.Root, "real");
        agent.ListenOn(socket);
        api.Launcher.GuestOf = spec => new FakePort(spec.Paths.AgentSocket, socket);
        api.Client.DefaultRequestHeaders.Add("X-Volant-API-Key", Key);
        await api.InstallAsync();
        await api.CreateAsync("web");

        await NpmClient.RunAsync("devtools", "playwright-core", Path.Combine(api.Root, "client.log"), new UriBuilder(new Uri(api.Address, "/ws/v1/vms/web/devtools")) { Scheme = "ws" }.ToString(), Key);

        Assert.Empty(api.Log.Errors);
    }

    /// <summary>A browser without a window that can reach nothing but this machine.</summary>
    private sealed class Browser : IAsyncDisposable
    {
        private const int Terminate = 15;
        private const int Kill = 9;

        private static readonly TimeSpan Limit = TimeSpan.FromSeconds(60);

        private readonly string _directory = Directory.CreateTempSubdirectory("vt-cr-").FullName;
        private PidFd? _process;
        private Task<ProcessExit> _exit = null!;

        private Browser()
        {
        }

        /// <summary>Where it serves DevTools.</summary>
        public Uri Address { get; private set; } = null!;

        private string Log => Path.Combine(_directory, "log");

        public static async Task<Browser> StartAsync(string program)
        {
            var browser = new Browser();
            try
            {
                await browser.OpenAsync(program);
                return browser;
            }
            catch
            {
                await browser.DisposeAsync();
                throw;
            }
        }

        public async ValueTask DisposeAsync()
        {
            if (_process is not null)
            {
                _process.Signal(Terminate);
                await Task.WhenAny(_exit, Task.Delay(TimeSpan.FromSeconds(5), TimeProvider.System, CancellationToken.None));
                _process.Signal(Kill);
                await _exit;
                _process.Dispose();
            }

            // Its helpers end a moment after it, and may still write.
            for (var attempt = 0; Directory.Exists(_directory); attempt++)
            {
                try
                {
                    Directory.Delete(_directory, recursive: true);
                }
                catch (IOException) when (attempt < 100)
                {
                    await Task.Delay(TimeSpan.FromMilliseconds(50), TimeProvider.System, CancellationToken.None);
                }
            }
        }

        private async Task OpenAsync(string program)
        {
            var profile = Path.Combine(_directory, "profile");
            var pid = ProcessSpawner.Spawn(new SpawnRequest
            {
                Arguments =
                [
                    program, "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync",
                    "--proxy-server=http://127.0.0.1:9", "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1", "--remote-debugging-port=0", $"--user-data-dir={profile}", "about:blank",
                ],
                OutputFile = Log,
                Environment = [$"PATH={Environment.GetEnvironmentVariable("PATH")}", $"HOME={_directory}", $"XDG_RUNTIME_DIR={_directory}", $"TMPDIR={_directory}"],
            });
            _process = PidFd.TryOpen(ProcessIdentity.Find(pid)!);
            _exit = ProcessExitWatcher.WaitForExitAsync(_process!);
            var told = Path.Combine(profile, "DevToolsActivePort");
            var started = TimeProvider.System.GetTimestamp();
            string[] lines;
            while ((lines = File.Exists(told) ? await File.ReadAllLinesAsync(told, Cancel) : []).Length < 2)
            {
                Assert.True(!_exit.IsCompleted && TimeProvider.System.GetElapsedTime(started) < Limit, await File.ReadAllTextAsync(Log, Cancel));
                await Task.Delay(TimeSpan.FromMilliseconds(20), TimeProvider.System, Cancel);
            }

            Address = new Uri(string.Create(CultureInfo.InvariantCulture, $"http://127.0.0.1:{lines[0]}"));
        }
    }
}
