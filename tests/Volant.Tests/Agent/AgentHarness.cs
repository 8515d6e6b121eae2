using System.Net;
using System.Net.Sockets;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.Extensions.Logging;
using Volant.Agent;
using Volant.Agent.Commands;
using Volant.Agent.Http;
using Volant.Agent.Identity;
using Volant.Agent.Power;
using Volant.Agent.Transport;
using Volant.Agent.Workloads;
using Volant.Contracts.Api;
using Volant.Contracts.Manifests;

namespace Volant.Tests.Agent;

/// <summary>The agent's HTTP server over a serial link, in front of a real HTTP server in this process.</summary>
internal sealed class AgentHarness : IAsyncDisposable
{
    private readonly CancellationTokenSource _stop = new();
    private readonly ConsoleLog _console;
    private readonly AgentServer _server;
    private readonly HostSocket _pipe = new();
    private readonly WebApplication? _workload;
    private readonly byte[] _key = Guid.NewGuid().ToByteArray();
    private Task _link = Task.CompletedTask;

    private AgentHarness(WebApplication? workload)
    {
        _workload = workload;
        _console = new ConsoleLog(Lines.Enqueue);
        _server = new AgentServer(_console);
        Gate = new Gate(isClosed: false, Status.SetGated);
    }

    /// <summary>What the agent wrote to its console.</summary>
    public System.Collections.Concurrent.ConcurrentQueue<byte[]> Lines { get; } = new();

    public AgentStatus Status { get; } = new(TimeProvider.System);

    /// <summary>What the workload is said to have written.</summary>
    public OutputLog Log { get; } = new(TimeProvider.System);

    /// <summary>Whether the agent serves.</summary>
    public Gate Gate { get; }

    /// <summary>Ends the boot of an agent that was started incomplete.</summary>
    public Action Complete { get; private set; } = () => { };

    /// <summary>Root of the file routes.</summary>
    public string Root { get; } = Directory.CreateTempSubdirectory("vt-root-").FullName;

    /// <summary>Starts commands.</summary>
    public CommandRunner Commands { get; } = new(new ChildReaper(reapsAll: false), new UserDatabase(), null, TimeProvider.System);

    /// <summary>Takes identities over.</summary>
    public Func<IdentifyRequest, CancellationToken, Task> OnIdentify { get; set; } = (_, _) => Task.CompletedTask;

    /// <summary>How often the link was opened.</summary>
    public int Openings { get; private set; }

    /// <summary>Takes what the host says of the time.</summary>
    public Func<AgentClock, TimeSpan> OnClock { get; set; } = _ => TimeSpan.Zero;

    /// <summary>Why the shutdown was asked for, if it was.</summary>
    public TaskCompletionSource<(PowerAction Action, string Why)> ShutDown { get; } = new(TaskCreationOptions.RunContinuationsAsynchronously);

    /// <summary>The host's stream of the last opening.</summary>
    public Stream? Raw { get; private set; }

    public AgentServer Server => _server;

    /// <summary>Starts agent and workload; <paramref name="workload"/> configures the latter.</summary>
    public static async Task<AgentHarness> StartAsync(Action<WebApplication> workload, CancellationToken cancellationToken, PluginManifest? manifest = null)
    {
        var builder = WebApplication.CreateSlimBuilder();
        builder.Logging.ClearProviders();
        builder.WebHost.UseKestrel(o => o.Limits.MaxRequestBodySize = null).UseUrls("http://127.0.0.1:0");
        var app = builder.Build();
        app.UseWebSockets();
        workload(app);
        await app.StartAsync(cancellationToken);
        var harness = await StartAsync(new Uri(app.Urls.Single()), app, cancellationToken, manifest);
        harness.Running();
        return harness;
    }

    /// <summary>Starts the agent in front of whatever listens at <paramref name="baseUrl"/>.</summary>
    public static async Task<AgentHarness> StartAsync(Uri baseUrl, WebApplication? workload, CancellationToken cancellationToken, PluginManifest? manifest = null, bool isComplete = true)
    {
        var target = WorkloadTarget.Parse(baseUrl.ToString());
        var harness = new AgentHarness(workload);
        var surface = harness.Surface();
        var application = surface.Begin();
        await harness._server.StartAsync(application, cancellationToken);
        harness.Complete = () => surface.Complete(application, harness.Commands, manifest, target);
        if (isComplete)
        {
            harness.Complete();
        }

        var http2 = harness._server.Http2;
        var link = new SerialLink(harness._pipe.Guest, stream => http2.Push(new StreamConnection(stream, http2) { IsHostChannel = true }), TimeProvider.System);
        harness._link = link.RunAsync(harness._stop.Token);
        return harness;
    }

    /// <summary>Tells the agent that the workload runs.</summary>
    public void Running() => Status.SetWorkload(new WorkloadState { Status = WorkloadStatus.Running, Pid = 1 });

    /// <summary>A client over the link, on one connection.</summary>
    public (HttpClient Client, SocketsHttpHandler Handler) Connect()
    {
        var handler = new SocketsHttpHandler
        {
            UseProxy = false,
            AllowAutoRedirect = false,
            UseCookies = false,
            EnableMultipleHttp2Connections = false,
            ConnectCallback = async (_, cancellationToken) =>
            {
                Openings++;
                Raw = await _pipe.ConnectAsync(cancellationToken);
                return await SerialLinkClient.OpenAsync(Raw, _key, cancellationToken);
            },
        };
        var client = new HttpClient(handler)
        {
            BaseAddress = new Uri("http://guest"),
            DefaultRequestVersion = HttpVersion.Version20,
            DefaultVersionPolicy = HttpVersionPolicy.RequestVersionExact,
        };
        return (client, handler);
    }

    /// <summary>Serves the same agent on a Unix socket, too, as a channel of the host; until the harness is disposed of.</summary>
    public void ListenOn(string path)
    {
        var listener = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
        listener.Bind(new UnixDomainSocketEndPoint(path));
        listener.Listen(16);
        _stop.Token.Register(listener.Dispose);
        _ = AcceptAsync(listener);
    }

    private async Task AcceptAsync(Socket listener)
    {
        try
        {
            while (true)
            {
                var accepted = await listener.AcceptAsync(_stop.Token);
                _server.Http2.Push(new StreamConnection(new NetworkStream(accepted, ownsSocket: true), _server.Http2) { IsHostChannel = true });
            }
        }
        catch (Exception e) when (e is OperationCanceledException or SocketException or ObjectDisposedException)
        {
            // The harness's end.
        }
    }

    private AgentSurface Surface() => new()
    {
        Status = Status,
        Log = Log,
        Gate = Gate,
        HostClock = new ClockRoute(told => OnClock(told), _console),
        Identify = (request, cancellationToken) => OnIdentify(request, cancellationToken),
        ShutDown = (action, why) => ShutDown.TrySetResult((action, why)),
        Clock = TimeProvider.System,
        Root = Root,
    };

    public async ValueTask DisposeAsync()
    {
        await _stop.CancelAsync();
        try
        {
            await _link.WaitAsync(CancellationToken.None);
        }
        catch (Exception e) when (e is OperationCanceledException or IOException)
        {
            // Its end.
        }

        _server.Dispose();
        _pipe.Dispose();
        _console.Dispose();
        if (_workload is not null)
        {
            await _workload.DisposeAsync();
        }

        _stop.Dispose();
        Directory.Delete(Root, recursive: true);
    }
}
