using System.Net;
using System.Net.Http.Headers;
using System.Net.Sockets;
using System.Text;
using System.Text.Json;
using System.Text.Json.Serialization.Metadata;
using Microsoft.AspNetCore.Builder;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.DependencyInjection.Extensions;
using Microsoft.Extensions.Logging;
using Volant.Contracts;
using Volant.Contracts.Api;
using Volant.Contracts.Boot;
using Volant.Daemon;
using Volant.Daemon.Artifacts;
using Volant.Daemon.Devices;
using Volant.Daemon.Hypervisors;
using Volant.Daemon.Networking;
using Volant.Linux.IO;
using Volant.Tests.Devices;
using Volant.Tests.Guests;
using Volant.Tests.Orchestration;

namespace Volant.Tests.Api;

/// <summary>The whole daemon in this process, served over a unix socket unless told otherwise, with stand-ins for network and hypervisor only.</summary>
/// <remarks>Every launched VM is a real process with an agent behind its guest channel, so that it becomes ready.</remarks>
internal sealed class ApiFixture : IAsyncDisposable
{
    private readonly Action<IServiceCollection>? _customize;
    private WebApplication? _app;
    private FakeAgent? _agent;

    private ApiFixture(IReadOnlyDictionary<string, string>? environment, Action<IServiceCollection>? customize)
    {
        _customize = customize;
        Directory.CreateDirectory(Path.Combine(Root, "images"));
        File.WriteAllBytes(Path.Combine(Root, "kernel"), OrchestratorFixture.BzImageHeader());
        File.WriteAllBytes(Path.Combine(Root, "images", "initramfs"), CpioHeader.EncodeArchive([("init", 0b111_101_101, "#!"u8.ToArray())]));
        var variables = new Dictionary<string, string>(StringComparer.Ordinal)
        {
            ["HOME"] = Root,
            ["VOLANT_API_LISTEN"] = $"unix:{Socket}",
            ["VOLANT_DB_PATH"] = Path.Combine(Root, "state.db"),
            ["VOLANT_RUNTIME_DIR"] = Path.Combine(Root, "run"),
            ["VOLANT_LOG_DIR"] = Path.Combine(Root, "logs"),
            ["VOLANT_KERNEL_BZIMAGE"] = Path.Combine(Root, "kernel"),
            ["VOLANT_KERNEL_VMLINUX"] = Path.Combine(Root, "none"),
        };
        foreach (var (name, value) in environment ?? new Dictionary<string, string>(StringComparer.Ordinal))
        {
            variables[name] = value;
        }

        Options = DaemonEnvironment.Read(variables);
        Host = new FakeHost(Path.Combine(Root, "host"));
    }

    public string Root { get; } = Directory.CreateTempSubdirectory("vt-api-").FullName;

    public string Socket => Path.Combine(Root, "api.sock");

    /// <summary>Where it listens when <c>VOLANT_API_LISTEN</c> is an address, for clients that cannot use a unix socket. Changes with a restart when its port is 0.</summary>
    public Uri Address => new(Assert.Single(_app!.Urls));

    public DaemonOptions Options { get; }

    public FakeNetwork Network { get; } = new();

    public FakeLauncher Launcher { get; } = new();

    /// <summary>The PCI devices; none at first, and no IOMMU.</summary>
    public FakeHost Host { get; }

    /// <summary>What the daemon logged as an error.</summary>
    public ErrorLog Log { get; } = new();

    /// <summary>The agent that answers for every VM.</summary>
    public FakeAgent Agent => _agent!;

    public IServiceProvider Services => _app!.Services;

    public HttpClient Client { get; private set; } = null!;

    private static CancellationToken Cancelled => TestContext.Current.CancellationToken;

    /// <param name="environment">Variables besides those that keep the daemon in its directory.</param>
    /// <param name="customize">Last word on the services.</param>
    public static async Task<ApiFixture> StartAsync(IReadOnlyDictionary<string, string>? environment = null, Action<IServiceCollection>? customize = null)
    {
        var fixture = new ApiFixture(environment, customize);
        fixture._agent = await FakeAgent.StartAsync(Path.Combine(fixture.Root, "agent"));
        fixture.Launcher.GuestOf = spec => new FakePort(spec.Paths.AgentSocket, Path.Combine(fixture.Root, "agent"));
        await fixture.OpenAsync();
        return fixture;
    }

    /// <summary>Stops the daemon and starts another on the same state; hypervisors go on.</summary>
    /// <param name="meanwhile">What happens on the host while there is none.</param>
    public async Task RestartAsync(Action? meanwhile = null)
    {
        await CloseAsync();
        meanwhile?.Invoke();
        await OpenAsync();
    }

    /// <summary>Installs a plugin that boots.</summary>
    /// <param name="name">Its name.</param>
    /// <param name="members">More members of the manifest, each followed by a comma.</param>
    public async Task InstallAsync(string name = "hello", string members = "")
    {
        using var response = await SendAsync(HttpMethod.Post, "/api/v1/plugins", $$"""
            { "schema_version": "1.0", "name": "{{name}}", "version": "1", "resources": { "cpu_cores": 1, "memory_mb": 256 }, "network": { "mode": "vsock" }, {{members}}
              "workload": { "type": "http", "entrypoint": ["/bin/x"], "base_url": "http://127.0.0.1:8080" }, "initramfs": { "url": "{{Root}}/images/initramfs" } }
            """);
        Assert.True(response.IsSuccessStatusCode, await response.Content.ReadAsStringAsync(Cancelled) + string.Join('\n', Log.Errors));
    }

    /// <summary>Creates a VM and waits until it is ready.</summary>
    public async Task<Vm> CreateAsync(string name, string plugin = "hello", string config = "{}")
    {
        using var response = await SendAsync(HttpMethod.Post, "/api/v1/vms?wait=ready&timeout=60", $$"""{"name": "{{name}}", "plugin": "{{plugin}}", "config": {{config}} }""");
        return await ReadAsync(response, 201, ContractsJson.Default.Vm);
    }

    /// <summary>Sends a request with a JSON body; none when <paramref name="json"/> is null.</summary>
    public async Task<HttpResponseMessage> SendAsync(HttpMethod method, string path, string? json = null, params (string Name, string Value)[] headers)
    {
        using var request = new HttpRequestMessage(method, path);
        if (json is not null)
        {
            request.Content = new StringContent(json, Encoding.UTF8, new MediaTypeHeaderValue("application/json"));
        }

        foreach (var (name, value) in headers)
        {
            request.Headers.TryAddWithoutValidation(name, value);
        }

        return await Client.SendAsync(request, HttpCompletionOption.ResponseHeadersRead, Cancelled);
    }

    /// <summary>The body of an answer, whose status is checked.</summary>
    public static async Task<T> ReadAsync<T>(HttpResponseMessage response, int status, JsonTypeInfo<T> type)
    {
        var text = await response.Content.ReadAsStringAsync(Cancelled);
        Assert.True((int)response.StatusCode == status, $"{(int)response.StatusCode} {text}");
        return JsonSerializer.Deserialize(text, type)!;
    }

    /// <summary>A raw connection to the API.</summary>
    public async ValueTask<Stream> ConnectAsync(CancellationToken cancellationToken)
    {
        EndPoint target = Options.Listen.EndPoint is null ? new UnixDomainSocketEndPoint(Socket) : new IPEndPoint(IPAddress.Parse(Address.Host), Address.Port);
        return await SocketConnector.ConnectAsync(new Socket(target.AddressFamily, SocketType.Stream, ProtocolType.Unspecified), target, cancellationToken);
    }

    public async ValueTask DisposeAsync()
    {
        await CloseAsync();
        await Launcher.DisposeAsync();
        if (_agent is not null)
        {
            await _agent.DisposeAsync();
        }

        Directory.Delete(Root, recursive: true);
    }

    private async Task OpenAsync()
    {
        ListenSocket.RemoveStale(Options.Listen);
        _app = DaemonHost.Build(Options, services =>
        {
            services.RemoveAll<IHostNetwork>();
            services.RemoveAll<IHypervisorLauncher>();
            services.RemoveAll<PciBus>();
            services.RemoveAll<VfioBinder>();
            services.RemoveAll<ILoggerProvider>();
            services.AddSingleton(Host.Bus);
            services.AddSingleton(Host.Binder);
            services.AddSingleton<ILoggerProvider>(Log);
            services.AddSingleton<IHostNetwork>(Network);
            services.AddSingleton<IHypervisorLauncher>(Launcher);

            // No test looks up a name: whatever a document says, it leads back to this host.
            services.RemoveAll<AddressGuard>();
            services.AddSingleton(provider => new AddressGuard(provider.GetRequiredService<DaemonOptions>().DownloadAllow, (_, _) => Task.FromResult(new[] { IPAddress.Loopback })));
            _customize?.Invoke(services);
        });
        await _app.StartAsync(Cancelled);
        Client = new HttpClient(new SocketsHttpHandler { AllowAutoRedirect = false, ConnectCallback = (_, cancellationToken) => ConnectAsync(cancellationToken) })
        {
            BaseAddress = new Uri("http://localhost"),
            Timeout = TimeSpan.FromSeconds(100),
        };
    }

    private async Task CloseAsync()
    {
        Client.Dispose();
        await _app!.StopAsync(CancellationToken.None);
        await _app.DisposeAsync();
    }
}
