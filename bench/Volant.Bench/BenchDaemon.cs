using System.Globalization;
using System.Net.Sockets;
using System.Text;
using System.Text.Json;
using Volant.Contracts;
using Volant.Contracts.Api;
using Volant.Linux.Processes;

namespace Volant.Bench;

/// <summary>An answered request to create a VM.</summary>
/// <param name="Vm">The VM.</param>
/// <param name="SpawnMs">From the acceptance of the request until the hypervisor's process existed, by the daemon's clock.</param>
/// <param name="LaunchMs">From the acceptance until the hypervisor answered, by the daemon's clock.</param>
/// <param name="TotalMs">From before the request was sent until its answer was read, by ours.</param>
internal sealed record CreatedVm(Vm Vm, double SpawnMs, double LaunchMs, double TotalMs);

/// <summary>A real volantd with an empty database and everything it touches in one temporary directory; disposing it leaves nothing.</summary>
/// <remarks>Its working directory is <c>/</c>, as under a service manager.</remarks>
internal sealed class BenchDaemon : IAsyncDisposable
{
    private static readonly TimeSpan StartLimit = TimeSpan.FromSeconds(20);
    private static readonly TimeSpan EndLimit = TimeSpan.FromSeconds(10);
    private static readonly TimeSpan PollPause = TimeSpan.FromMilliseconds(1);

    private readonly BenchContext _context;
    private readonly string _directory;
    private readonly Dictionary<string, string> _variables;
    private Child _process;

    private BenchDaemon(BenchContext context, GuestKernel kernel, IReadOnlyDictionary<string, string>? variables)
    {
        _context = context;
        _directory = context.NewDirectory("d");
        Client = new HttpClient(new SocketsHttpHandler { UseProxy = false, ConnectCallback = async (_, cancellationToken) => await ConnectAsync(cancellationToken) })
        {
            BaseAddress = new Uri("http://localhost"),
            Timeout = Timeout.InfiniteTimeSpan,
        };
        _variables = Variables(kernel);
        foreach (var (name, value) in variables ?? new Dictionary<string, string>(StringComparer.Ordinal))
        {
            _variables[name] = value;
        }

        StartedAt = context.Clock.GetTimestamp();
        _process = Start();
    }

    /// <summary>HTTP to the daemon.</summary>
    public HttpClient Client { get; }

    /// <summary>Timestamp just before the process was started.</summary>
    public long StartedAt { get; private set; }

    /// <summary>Resident memory in bytes.</summary>
    public long ResidentBytes => _process.ResidentBytes();

    /// <summary>Directory of the VMs' sockets.</summary>
    public string RuntimeDirectory => Path.Combine(_directory, "run");

    /// <summary>Directory of the VMs' logs.</summary>
    public string LogDirectory => Path.Combine(_directory, "logs");

    /// <summary>Directory of its artifacts.</summary>
    public string CacheDirectory => Path.Combine(_directory, "cache");

    /// <summary>Directory of the VMs' disks.</summary>
    public string DiskDirectory => Path.Combine(_directory, "disks");

    /// <summary>Path of the socket that it listens on.</summary>
    public string Socket => Path.Combine(_directory, "api.sock");

    /// <summary>Starts the daemon and completes with the first 200 of <c>/readyz</c>, which is asked for every millisecond.</summary>
    /// <param name="context">Programs and clock.</param>
    /// <param name="kernel">Of all guests.</param>
    /// <param name="cancellationToken">Gives up.</param>
    /// <param name="variables">Environment besides that which keeps it in its directory.</param>
    /// <exception cref="IOException">It ended, or was not ready within 20 s.</exception>
    public static async Task<BenchDaemon> StartAsync(BenchContext context, GuestKernel kernel, CancellationToken cancellationToken, IReadOnlyDictionary<string, string>? variables = null)
    {
        var daemon = new BenchDaemon(context, kernel, variables);
        try
        {
            await daemon.WaitAsync("/readyz", cancellationToken);
            return daemon;
        }
        catch
        {
            await daemon.DisposeAsync();
            throw;
        }
    }

    /// <summary>Ends the daemon, starts it again on the same state, and completes with the first 200 of a path.</summary>
    public async Task RestartAsync(string path, CancellationToken cancellationToken)
    {
        await _process.EndAsync(EndLimit);
        await _process.DisposeAsync();
        StartedAt = _context.Clock.GetTimestamp();
        _process = Start();
        await WaitAsync(path, cancellationToken);
    }

    /// <summary>Completes with the first 200 of a path, which is asked for every millisecond.</summary>
    /// <exception cref="IOException">The daemon ended, or did not answer so within 20 s of its start.</exception>
    public async Task WaitAsync(string path, CancellationToken cancellationToken)
    {
        while (!await AnswersAsync(path, cancellationToken))
        {
            if (_process.Exit.IsCompleted || _context.Clock.GetElapsedTime(StartedAt) > StartLimit)
            {
                throw new IOException($"volantd did not answer {path} within {StartLimit.TotalSeconds:0} s; it said: {Log()}");
            }

            await Task.Delay(PollPause, _context.Clock, cancellationToken);
        }
    }

    /// <summary>Installs a plugin with volar, which uploads its boot media.</summary>
    public Task InstallAsync(string manifest, CancellationToken cancellationToken) => Child.RunAsync(
        [_context.Program("volar"), "--api", $"unix://{Socket}", "plugins", "install", manifest], _context.NewDirectory("volar"), cancellationToken);

    /// <summary>Creates a VM.</summary>
    /// <param name="name">Its name.</param>
    /// <param name="plugin">Installed plugin.</param>
    /// <param name="waitReady">Whether the answer waits until the VM is ready, for at most a minute and a half.</param>
    /// <param name="cancellationToken">Gives up waiting.</param>
    /// <exception cref="IOException">The daemon refused; the message holds its logs.</exception>
    public async Task<CreatedVm> CreateAsync(string name, string plugin, bool waitReady, CancellationToken cancellationToken)
    {
        using var body = new StringContent($$"""{"name": "{{name}}", "plugin": "{{plugin}}"}""", Encoding.UTF8, "application/json");
        var sent = _context.Clock.GetTimestamp();
        using var response = await Client.PostAsync($"/api/v1/vms{(waitReady ? "?wait=ready&timeout=90" : "")}", body, cancellationToken);
        var text = await response.Content.ReadAsStringAsync(cancellationToken);
        var total = _context.MillisecondsSince(sent);
        if (!response.IsSuccessStatusCode)
        {
            throw new IOException($"volantd refused to create a VM: {(int)response.StatusCode} {text}\n{Log()}");
        }

        var timing = string.Join(',', response.Headers.TryGetValues("Server-Timing", out var values) ? values : []);
        return new CreatedVm(JsonSerializer.Deserialize(text, ContractsJson.Default.Vm)!, Duration(timing, "spawn"), Duration(timing, "launch"), total);
    }

    /// <summary>Deletes a VM.</summary>
    public async Task DeleteAsync(string name, CancellationToken cancellationToken)
    {
        using var response = await Client.DeleteAsync($"/api/v1/vms/{name}", cancellationToken);
        response.EnsureSuccessStatusCode();
    }

    /// <summary>Reads the answer of a path completely.</summary>
    public async Task<string> GetAsync(string path, CancellationToken cancellationToken)
    {
        using var response = await Client.GetAsync(path, cancellationToken);
        return response.IsSuccessStatusCode
            ? await response.Content.ReadAsStringAsync(cancellationToken)
            : throw new IOException($"GET {path}: {(int)response.StatusCode} {await response.Content.ReadAsStringAsync(cancellationToken)}");
    }

    /// <summary>Ends the daemon and every hypervisor that it launched, and deletes its directory.</summary>
    public async ValueTask DisposeAsync()
    {
        Client.Dispose();
        await _process.EndAsync(EndLimit);
        await _process.DisposeAsync();
        foreach (var pid in ProcessIdentity.AllPids())
        {
            // By command line, as the daemon itself finds them: a run that was interrupted may not have been told of all.
            if (ProcessIdentity.Find(pid) is { } identity && ProcessIdentity.CommandLine(pid).Any(word => word.Contains($"{RuntimeDirectory}/", StringComparison.Ordinal)))
            {
                await EndAsync(identity);
            }
        }

        Directory.Delete(_directory, recursive: true);
    }

    private static async Task EndAsync(ProcessIdentity identity)
    {
        if (PidFd.TryOpen(identity) is { } hypervisor)
        {
            var exit = ProcessExitWatcher.WaitForExitAsync(hypervisor);
            hypervisor.Signal(Volant.Linux.Kernel.Signals.Kill);
            await exit;
            hypervisor.Dispose();
        }
    }

    private Dictionary<string, string> Variables(GuestKernel kernel) => new(StringComparer.Ordinal)
    {
        ["PATH"] = Environment.GetEnvironmentVariable("PATH") ?? "/usr/sbin:/usr/bin:/sbin:/bin",
        ["HOME"] = _directory,
        ["VOLANT_DB_PATH"] = Path.Combine(_directory, "state.db"),
        ["VOLANT_API_LISTEN"] = $"unix:{Socket}",
        ["VOLANT_RUNTIME_DIR"] = RuntimeDirectory,
        ["VOLANT_LOG_DIR"] = LogDirectory,
        ["VOLANT_KERNEL_BZIMAGE"] = kernel.BzImage,
        ["VOLANT_KERNEL_VMLINUX"] = kernel.VmLinux,
    };

    private Child Start() => Child.Start([_context.Program("volantd")], _variables, Path.Combine(_directory, "volantd.log"));

    private async Task<bool> AnswersAsync(string path, CancellationToken cancellationToken)
    {
        // Cheaper than an exception for every failed connection.
        if (!File.Exists(Socket))
        {
            return false;
        }

        try
        {
            using var response = await Client.GetAsync(path, cancellationToken);
            return response.IsSuccessStatusCode;
        }
        catch (HttpRequestException)
        {
            // The socket is there, but nobody listens yet.
            return false;
        }
    }

    private async ValueTask<Stream> ConnectAsync(CancellationToken cancellationToken)
    {
        var socket = new System.Net.Sockets.Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
        try
        {
            await socket.ConnectAsync(new UnixDomainSocketEndPoint(Socket), cancellationToken);
            return new NetworkStream(socket, ownsSocket: true);
        }
        catch
        {
            socket.Dispose();
            throw;
        }
    }

    private string Log()
    {
        var text = new StringBuilder();
        foreach (var file in Directory.GetFiles(_directory, "*.log", SearchOption.AllDirectories).Take(5))
        {
            text.Append("=== ").Append(file).Append('\n').AppendJoin('\n', File.ReadLines(file).TakeLast(20)).Append('\n');
        }

        return text.ToString();
    }

    /// <summary>A duration of a Server-Timing header (W3C, Server Timing): <c>name;dur=12.3</c>, separated by commas.</summary>
    private static double Duration(string header, string name) =>
        header.Split(',', StringSplitOptions.TrimEntries).FirstOrDefault(entry => entry.StartsWith($"{name};dur=", StringComparison.Ordinal)) is { } entry
            ? double.Parse(entry[(entry.IndexOf('=', StringComparison.Ordinal) + 1)..], CultureInfo.InvariantCulture)
            : throw new IOException($"volantd's Server-Timing header has no '{name}': '{header}'; build it again with scripts/build.sh.");
}
