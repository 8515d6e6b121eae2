using System.Globalization;
using System.Net;
using System.Net.Http.Headers;
using System.Net.Sockets;
using System.Text;
using System.Text.Json;
using Microsoft.Data.Sqlite;
using Volant.Contracts;
using Volant.Contracts.Api;
using Volant.Linux.IO;
using Volant.Linux.Processes;

namespace Volant.EndToEnd;

/// <summary>A real volantd with everything it touches in one temporary directory; checks at the end that nothing is left.</summary>
internal sealed class TestDaemon : IAsyncDisposable
{
    private static readonly TimeSpan StartLimit = TimeSpan.FromSeconds(20);
    private static readonly TimeSpan SettleLimit = TimeSpan.FromSeconds(10);

    private readonly Dictionary<string, string> _environment;
    private readonly IReadOnlyList<string> _prefix;
    private readonly StringBuilder _earlier = new();
    private Command? _daemon;
    private int _descriptors;

    /// <param name="environment">Variables besides those that keep it in its directory.</param>
    /// <param name="prefix">A command that becomes the daemon, such as <c>ip netns exec NAME</c>.</param>
    public TestDaemon(IReadOnlyDictionary<string, string>? environment = null, IReadOnlyList<string>? prefix = null)
    {
        _prefix = prefix ?? [];
        _environment = new Dictionary<string, string>(StringComparer.Ordinal)
        {
            ["VOLANT_DB_PATH"] = Path.Combine(Directory, "state.db"),
            ["VOLANT_API_LISTEN"] = $"unix:{Socket}",
            ["VOLANT_RUNTIME_DIR"] = RuntimeDirectory,
            ["VOLANT_LOG_DIR"] = LogDirectory,
            ["VOLANT_KERNEL_BZIMAGE"] = Path.Combine(Workspace.Kernel, "bzImage"),
            ["VOLANT_KERNEL_VMLINUX"] = Path.Combine(Workspace.Kernel, "vmlinux"),
            ["VOLANT_HYPERVISOR"] = "qemu",
        };
        foreach (var (name, value) in environment ?? new Dictionary<string, string>(StringComparer.Ordinal))
        {
            _environment[name] = value;
        }

        Client = NewClient();
        Leftovers.Add(this, RemoveAsync);
    }

    public string Directory { get; } = System.IO.Directory.CreateTempSubdirectory("vt-d-").FullName;

    public string Socket => Path.Combine(Directory, "api.sock");

    public string RuntimeDirectory => Path.Combine(Directory, "run");

    public string LogDirectory => Path.Combine(Directory, "logs");

    public string ImageDirectory => Path.Combine(Directory, "images");

    public HttpClient Client { get; private set; }

    public int Pid => _daemon!.Pid;

    public IReadOnlyDictionary<string, string> Variables => _environment;

    /// <summary>Sets a variable for the next start.</summary>
    public void Set(string name, string value) => _environment[name] = value;

    /// <summary>Starts the daemon and waits until it is ready.</summary>
    public async Task StartAsync()
    {
        _daemon = Command.Start([.. _prefix, Workspace.Program("volantd")], _environment);
        var deadline = TimeProvider.System.GetTimestamp();
        while (true)
        {
            if (_daemon.Exit.IsCompleted)
            {
                throw new InvalidOperationException($"volantd ended at start: {_daemon.Output}{_daemon.Error}");
            }

            try
            {
                using var response = await Client.GetAsync("/readyz");
                if (response.IsSuccessStatusCode)
                {
                    _descriptors = Descriptors();
                    return;
                }
            }
            catch (HttpRequestException)
            {
                // It does not listen yet.
            }

            if (TimeProvider.System.GetElapsedTime(deadline) > StartLimit)
            {
                throw new TimeoutException($"volantd was not ready within {StartLimit}: {_daemon.Output}{_daemon.Error}");
            }

            await Task.Delay(TimeSpan.FromMilliseconds(20), TimeProvider.System);
        }
    }

    /// <summary>Starts the daemon after one that has ended, with its database lost: what it finds running belongs to nobody, and is ended within ten seconds.</summary>
    public async Task StartWithoutRecordsAsync()
    {
        foreach (var file in System.IO.Directory.GetFiles(Directory, "state.db*"))
        {
            File.Delete(file);
        }

        await StartAsync();
        var started = TimeProvider.System.GetTimestamp();
        while (Hypervisors().Count > 0 || System.IO.Directory.GetDirectories(RuntimeDirectory).Length > 0)
        {
            Assert.True(TimeProvider.System.GetElapsedTime(started).TotalSeconds < 10, $"an orphan is still there\n{Logs()}");
            await Task.Delay(TimeSpan.FromMilliseconds(50), TimeProvider.System, TestContext.Current.CancellationToken);
        }
    }

    /// <summary>Ends the daemon with a signal and waits until it is gone.</summary>
    public async Task EndAsync(int signal)
    {
        _daemon!.Signal(signal);
        await _daemon.Exit.WaitAsync(TimeSpan.FromSeconds(10));
        _earlier.Append(_daemon.Output).Append(_daemon.Error);
        _daemon.Dispose();
        _daemon = null;
        Client.Dispose();
        Client = NewClient();
    }

    /// <summary>A raw connection to the API.</summary>
    public async ValueTask<Stream> ConnectAsync(CancellationToken cancellationToken) => IPEndPoint.TryParse(Variables["VOLANT_API_LISTEN"], out var port)
        ? await SocketConnector.ConnectAsync(new Socket(port.AddressFamily, SocketType.Stream, ProtocolType.Unspecified), port, cancellationToken)
        : await SocketConnector.ConnectAsync(Socket, cancellationToken);

    public async Task InstallAsync(string manifestPath)
    {
        var result = await VolarAsync("plugins", "install", manifestPath);
        Assert.True(result.ExitCode == 0, result.ToString());
    }

    public Task<CommandResult> VolarAsync(params string[] arguments) =>
        Command.RunAsync([Workspace.Program("volar"), "--api", $"unix://{Socket}", .. arguments], TimeSpan.FromSeconds(180));

    /// <summary>Creates a VM of the plugin and waits until it is ready.</summary>
    public async Task<Vm> CreateReadyAsync(string name, string plugin = "probe", string config = "{}")
    {
        using var response = await PostAsync("/api/v1/vms?wait=ready&timeout=150", $$"""{"name": "{{name}}", "plugin": "{{plugin}}", "config": {{config}} }""");
        var text = await response.Content.ReadAsStringAsync();
        Assert.True(response.IsSuccessStatusCode, $"{(int)response.StatusCode} {text}\n{Logs()}");
        return JsonSerializer.Deserialize(text, ContractsJson.Default.Vm)!;
    }

    public async Task<Vm?> FindAsync(string name)
    {
        using var response = await Client.GetAsync($"/api/v1/vms/{name}");
        return response.IsSuccessStatusCode ? JsonSerializer.Deserialize(await response.Content.ReadAsStringAsync(), ContractsJson.Default.Vm) : null;
    }

    /// <summary>Polls until the VM is as wanted.</summary>
    public async Task<Vm> UntilAsync(string name, Func<Vm, bool> wanted, int seconds = 60)
    {
        var started = TimeProvider.System.GetTimestamp();
        while (true)
        {
            var vm = await FindAsync(name);
            if (vm is not null && wanted(vm))
            {
                return vm;
            }

            if (TimeProvider.System.GetElapsedTime(started).TotalSeconds > seconds)
            {
                Assert.Fail($"VM {name} is {vm}\n{Logs()}");
            }

            await Task.Delay(TimeSpan.FromMilliseconds(50), TimeProvider.System);
        }
    }

    public Task<HttpResponseMessage> PostAsync(string path, string json = "")
    {
        var content = new StringContent(json, Encoding.UTF8);
        content.Headers.ContentType = new MediaTypeHeaderValue("application/json");
        return Client.PostAsync(path, json.Length == 0 ? null : content);
    }

    public async Task<Problem> ProblemAsync(HttpResponseMessage response, int status)
    {
        var text = await response.Content.ReadAsStringAsync();
        Assert.True((int)response.StatusCode == status, $"{(int)response.StatusCode} {text}\n{Logs()}");
        Assert.Equal("application/problem+json", response.Content.Headers.ContentType?.MediaType);
        return JsonSerializer.Deserialize(text, ContractsJson.Default.Problem)!;
    }

    /// <summary>Everything that was logged: by the daemon, the guests and the hypervisors.</summary>
    public string Logs()
    {
        var text = new StringBuilder($"=== volantd\n{_earlier}{_daemon?.Output}{_daemon?.Error}\n");
        foreach (var file in System.IO.Directory.Exists(LogDirectory) ? System.IO.Directory.GetFiles(LogDirectory, "*", SearchOption.AllDirectories) : [])
        {
            try
            {
                text.Append("=== ").Append(file).Append('\n').AppendJoin('\n', File.ReadLines(file).TakeLast(40)).Append('\n');
            }
            catch (FileNotFoundException)
            {
                // A full log has just got another name.
            }
        }

        return text.ToString();
    }

    /// <summary>Live hypervisors of this daemon.</summary>
    public IReadOnlyList<int> Hypervisors() =>
        [.. ProcessIdentity.AllPids().Where(pid => ProcessIdentity.Find(pid) is not null && ProcessIdentity.CommandLine(pid).Any(word => word.Contains(RuntimeDirectory, StringComparison.Ordinal)))];

    /// <summary>Resident memory of the daemon in bytes.</summary>
    public long ResidentBytes() => long.Parse(
        File.ReadLines($"/proc/{Pid}/status").First(line => line.StartsWith("VmRSS:", StringComparison.Ordinal)).Split(' ', StringSplitOptions.RemoveEmptyEntries)[1], CultureInfo.InvariantCulture) * 1024;

    /// <summary>Open descriptors of the daemon, without those of the database, whose readers are kept.</summary>
    public int Descriptors() => System.IO.Directory.GetFiles($"/proc/{Pid}/fd").Count(file =>
    {
        try
        {
            return File.ResolveLinkTarget(file, returnFinalTarget: false)?.FullName is { } target && !target.Contains("state.db", StringComparison.Ordinal);
        }
        catch (IOException)
        {
            // Closed meanwhile.
            return false;
        }
    });

    public async ValueTask DisposeAsync()
    {
        if (TestContext.Current.TestState?.Result == TestResult.Failed)
        {
            TestContext.Current.TestOutputHelper?.WriteLine(Logs());
        }

        try
        {
            if (_daemon is { Exit.IsCompleted: false })
            {
                RenewClient();
                await DeleteAllAsync();
                RenewClient();
                await AssertDescriptorsAsync();
                AssertNoTap();
                await EndAsync(15);
                AssertNoRow();
            }

            Assert.Empty(Hypervisors());
            Assert.Empty(Entries(RuntimeDirectory));
            Assert.Empty(Entries(LogDirectory));
            Assert.Empty(Entries(Path.Combine(Directory, "disks")));
        }
        finally
        {
            Leftovers.Forget(this);
            await RemoveAsync();
        }
    }

    private Task RemoveAsync()
    {
        _daemon?.Dispose();
        foreach (var pid in Hypervisors())
        {
            using var stray = ProcessIdentity.Find(pid) is { } identity ? PidFd.TryOpen(identity) : null;
            stray?.Signal(9);
        }

        Client.Dispose();
        System.IO.Directory.Delete(Directory, recursive: true);
        return Task.CompletedTask;
    }

    private async Task DeleteAllAsync()
    {
        foreach (var deployment in JsonSerializer.Deserialize(await Client.GetStringAsync("/api/v1/deployments"), ContractsJson.Default.IReadOnlyListDeployment)!)
        {
            using var response = await Client.DeleteAsync($"/api/v1/deployments/{deployment.Name}");
            Assert.True(response.IsSuccessStatusCode, await response.Content.ReadAsStringAsync());
        }

        var vms = JsonSerializer.Deserialize(await Client.GetStringAsync("/api/v1/vms"), ContractsJson.Default.IReadOnlyListVm)!;
        foreach (var vm in vms)
        {
            using var response = await Client.DeleteAsync($"/api/v1/vms/{vm.Name}");
            Assert.True(response.IsSuccessStatusCode, await response.Content.ReadAsStringAsync());
        }
    }

    /// <summary>Within five of those that it had at its start (as many as Incus allows itself).</summary>
    private async Task AssertDescriptorsAsync()
    {
        var started = TimeProvider.System.GetTimestamp();
        while (Descriptors() > _descriptors + 5)
        {
            Assert.True(
                TimeProvider.System.GetElapsedTime(started) < SettleLimit,
                $"the daemon has {Descriptors()} descriptors and began with {_descriptors}: {string.Join(' ', System.IO.Directory.GetFiles($"/proc/{Pid}/fd").Select(file => new FileInfo(file).LinkTarget))}");
            await Task.Delay(TimeSpan.FromMilliseconds(50), TimeProvider.System);
        }
    }

    /// <summary>Only in a network namespace of its own: in the host's there may be taps of others.</summary>
    private void AssertNoTap()
    {
        if (_prefix.Count > 0)
        {
            Assert.DoesNotContain(File.ReadLines($"/proc/{Pid}/net/dev").Select(line => line.Split(':')[0].Trim()), name => name.Length == 15 && name[0] == 'v');
        }
    }

    /// <summary>No VM, nothing that one held, and no address leased.</summary>
    private void AssertNoRow()
    {
        using var database = new SqliteConnection(new SqliteConnectionStringBuilder { DataSource = Variables["VOLANT_DB_PATH"], Mode = SqliteOpenMode.ReadOnly, Pooling = false }.ToString());
        database.Open();
        using var command = database.CreateCommand();
        command.CommandText = "SELECT (SELECT count(*) FROM vms) + (SELECT count(*) FROM host_resources) + (SELECT count(*) FROM deployments) + (SELECT count(*) FROM addresses WHERE vm_id IS NOT NULL)";
        Assert.Equal(0L, command.ExecuteScalar());
    }

    private static string[] Entries(string directory) => System.IO.Directory.Exists(directory) ? System.IO.Directory.GetFileSystemEntries(directory) : [];

    /// <summary>Closes all connections, whatever the test has done to its client.</summary>
    private void RenewClient()
    {
        Client.Dispose();
        Client = NewClient();
        if (_environment.TryGetValue("VOLANT_API_KEY", out var key))
        {
            Client.DefaultRequestHeaders.Add("X-Volant-API-Key", key);
        }
    }

    private HttpClient NewClient() => new(new SocketsHttpHandler
    {
        AllowAutoRedirect = false,

        // A stream that is given up never ends by itself: waiting for its end would cost two seconds each time.
        ResponseDrainTimeout = TimeSpan.Zero,
        ConnectCallback = (_, cancellationToken) => ConnectAsync(cancellationToken),
    })
    {
        BaseAddress = new Uri("http://localhost"),
        Timeout = TimeSpan.FromSeconds(200),
    };
}
