using System.Net;
using Microsoft.AspNetCore.Http.Timeouts;
using Microsoft.AspNetCore.Server.Kestrel.Core;
using Volant.Contracts;
using Volant.Contracts.Api;
using Volant.Daemon.Api;
using Volant.Daemon.Api.Mcp;
using Volant.Daemon.Artifacts;
using Volant.Daemon.CloudInit;
using Volant.Daemon.Devices;
using Volant.Daemon.Events;
using Volant.Daemon.Hypervisors;
using Volant.Daemon.Logs;
using Volant.Daemon.Networking;
using Volant.Daemon.Orchestration;
using Volant.Daemon.Orchestration.Deployments;
using Volant.Daemon.Plugins;
using Volant.Daemon.Publishing;
using Volant.Daemon.Store;
using Volant.Linux.Kernel;
using Volant.Linux.Processes;

namespace Volant.Daemon;

/// <summary>Composition root: the only place that names every part.</summary>
internal static class DaemonHost
{
    /// <summary>Builds the daemon; nothing has touched the host yet.</summary>
    /// <param name="options">Checked settings.</param>
    /// <param name="customize">Last word on the services; for tests and <c>openapi-export</c>.</param>
    public static WebApplication Build(DaemonOptions options, Action<IServiceCollection>? customize = null)
    {
        // Empty: no appsettings.json from the working directory, and none of the watchers that come with it.
        var builder = WebApplication.CreateEmptyBuilder(new WebApplicationOptions());
        builder.Host.UseConsoleLifetime();

        // On the thread that took the event from the socket, which is one of the pool: every hop to another costs a wake-up, more than the work of a small request.
        builder.WebHost.UseKestrelCore().UseSockets(sockets => sockets.UnsafePreferInlineScheduling = true);
        builder.Services.AddRoutingCore();
        ConfigureServer(builder, options);
        ConfigureApi(builder.Services);
        ConfigureParts(builder.Services, options);
        ConfigureMedia(builder.Services, options);
        customize?.Invoke(builder.Services);

        var app = builder.Build();
        app.Use(RequestId.InvokeAsync);
        app.UseExceptionHandler();
        app.UseStatusCodePages(context => Problems.FillAsync(context.HttpContext));
        var access = app.Services.GetRequiredService<AccessControl>();
        app.Use(access.InvokeAsync);
        app.UseWebSockets(Sockets.Options);
        app.UseRouting();
        app.Use(JsonBodies.InvokeAsync);
        var limits = app.Services.GetRequiredService<RateLimits>();
        app.Use(limits.InvokeAsync);
        app.UseRequestTimeouts();
        MapAll(app);
        return app;
    }

    private static void MapAll(WebApplication app)
    {
        app.MapOpenApi("/openapi");
        app.MapReference();
        app.MapMetrics();
        app.MapSystem();
        app.MapPlugins();
        app.MapArtifacts();
        app.MapVms();
        app.MapVmConfigs();
        app.MapVolumes();
        app.MapDeployments();
        app.MapRoutes();
        app.MapPluginArtifacts();
        app.MapActions();
        app.MapMcpAndCommands();
        app.MapGuestOpenApi();
        app.MapLogs();
        app.MapConsole();
        app.MapExec();
        app.MapFiles();
        app.MapTunnel();
        app.MapDevTools();
        app.MapEvents();
        app.MapVfio();
        app.MapAgentProxy();
    }

    /// <summary>Every limit of the server is explicit (reliability G19).</summary>
    private static void ConfigureServer(WebApplicationBuilder builder, DaemonOptions options)
    {
        builder.WebHost.ConfigureKestrel(server =>
        {
            server.AddServerHeader = false;
            server.Limits.MaxRequestBodySize = 1024 * 1024;
            server.Limits.MaxRequestLineSize = 8 * 1024;
            server.Limits.MaxRequestHeadersTotalSize = 32 * 1024;
            server.Limits.MaxRequestHeaderCount = 100;
            server.Limits.MaxConcurrentConnections = 2000;
            server.Limits.MaxConcurrentUpgradedConnections = 500;
            server.Limits.RequestHeadersTimeout = TimeSpan.FromSeconds(10);
            server.Limits.KeepAliveTimeout = TimeSpan.FromSeconds(60);
            server.Limits.MinRequestBodyDataRate = new MinDataRate(bytesPerSecond: 240, gracePeriod: TimeSpan.FromSeconds(10));
            if (options.Listen.SocketPath is { } socket)
            {
                server.ListenUnixSocket(socket);
            }
            else
            {
                server.Listen(options.Listen.EndPoint!);
            }
        });
        builder.Services.Configure<HostOptions>(host => host.ShutdownTimeout = TimeSpan.FromSeconds(3));
        builder.Logging.AddLog(options);
        builder.AddObservability(options);
    }

    private static void ConfigureApi(IServiceCollection services)
    {
        services.ConfigureHttpJsonOptions(json =>
        {
            ContractsJson.Apply(json.SerializerOptions);
            json.SerializerOptions.AllowDuplicateProperties = false;
            json.SerializerOptions.MaxDepth = StrictJson.MaxDepth;
        });
        services.Configure<RouteHandlerOptions>(routes => routes.ThrowOnBadRequest = true);
        services.AddProblemDetails();
        services.AddRequestTimeouts(timeouts => timeouts.DefaultPolicy = new RequestTimeoutPolicy
        {
            Timeout = TimeSpan.FromSeconds(60),
            TimeoutStatusCode = StatusCodes.Status504GatewayTimeout,
            WriteTimeoutResponse = context => Problems.WriteAsync(context, 504, ErrorCodes.Timeout, "The daemon did not finish the request within 60 s; what it began goes on."),
        });
        services.AddExceptionHandler<Problems>();
        services.AddHttpForwarder();
        services.AddSingleton<GuestForwarder>();
        services.AddSingleton<ActionTargets>();
        services.AddMcp();
        services.AddOpenApi("v1", OpenApiDetails.Apply);
    }

    private static void ConfigureParts(IServiceCollection services, DaemonOptions options)
    {
        var subnet = new Subnet(options.Subnet, options.HostIp) { Reserved = options.ReservedAddresses, IPv6 = options.IPv6 };
        services.AddSingleton(options);
        services.AddSingleton(subnet);
        services.AddSingleton(TimeProvider.System);
        services.AddSingleton<AccessControl>();
        services.AddSingleton<RateLimits>();
        services.AddSingleton<HostLoad>();
        services.AddSingleton(_ => new Database(options.DatabasePath));
        services.AddSingleton<VolantStore>();
        services.AddSingleton<EventBus>();
        services.AddSingleton<RestartLoop>();
        services.AddSingleton<DeploymentController>();
        services.AddSingleton<PluginRegistry>();
        services.AddSingleton<IHostNetwork>(provider => NewNetwork(provider, options, subnet));
        services.AddSingleton<IHypervisorLauncher>(provider => HypervisorChoice.Create(
            options.Hypervisor, provider.GetRequiredService<TimeProvider>(), provider.GetRequiredService<ILoggerFactory>()));
        services.AddSingleton(_ => new PciBus("/"));
        services.AddSingleton(provider => new VfioBinder(provider.GetRequiredService<PciBus>()));
        services.AddSingleton<DevicePassthrough>();
        services.AddSingleton<BootPreparation>();
        services.AddSingleton(GuestDialer.Direct);
        services.AddSingleton(provider => new PortForwarders(options.PublishAddress, provider.GetRequiredService<TimeProvider>(), provider.GetRequiredService<ILogger<PortForwarders>>()));
        services.AddSingleton<PublishedPorts>();
        services.AddSingleton<HostResources>();
        services.AddSingleton<LogHub>();
        services.AddSingleton<LogCollector>();
        services.AddSingleton<ConsoleLimit>();
        services.AddHostedService(provider => provider.GetRequiredService<ConsoleLimit>());
        services.AddSingleton<SerialConsoles>();
        services.AddSingleton<LogReader>();
        services.AddSingleton<VmOwners>();
        services.AddSingleton<VmSupervisor>();
        services.AddSingleton<GracefulEnd>();
        services.AddSingleton<VmOrchestrator>();
        services.AddSingleton<Recovery>();
        services.AddHostedService(provider => provider.GetRequiredService<Recovery>());
        services.AddHostedService(provider => provider.GetRequiredService<RestartLoop>());
        services.AddHostedService(provider => provider.GetRequiredService<DeploymentController>());
    }

    private static LinuxBridgeNetwork NewNetwork(IServiceProvider provider, DaemonOptions options, Subnet subnet)
    {
        var logger = provider.GetRequiredService<ILogger<LinuxBridgeNetwork>>();
        var program = options.ServesGuests ? options.Dnsmasq ?? GuestServices.FindProgram() : null;
        var files = new GuestServiceFiles(
            options.Bridge, subnet, options.DnsServers, EffectiveUser.Id == 0 ? GuestServices.FindUser() : null, GuestServices.DirectoryFor(options.RuntimeDirectory));
        var services = new GuestServices(program ?? "dnsmasq", files, provider.GetRequiredService<TimeProvider>(), logger);
        services.Due = services.Ensure;
        return new LinuxBridgeNetwork(
            options.Bridge, subnet, new BridgePolicy(options.Firewall, options.GuestIsolation, ServesGuests: program is not null), logger, services);
    }

    /// <summary>Images, and the disks that are made from them.</summary>
    private static void ConfigureMedia(IServiceCollection services, DaemonOptions options)
    {
        services.AddSingleton(provider => new ArtifactCache(options.CacheDirectory, options.MaxArtifactBytes, provider.GetRequiredService<TimeProvider>()));
        services.AddSingleton<ArtifactTransfers>();
        services.AddSingleton(_ => new AddressGuard(options.DownloadAllow, Dns.GetHostAddressesAsync));
        services.AddSingleton(provider => new ArtifactDownloads(
            provider.GetRequiredService<ArtifactCache>(), options.CacheDirectory, provider.GetRequiredService<ArtifactTransfers>(), provider.GetRequiredService<AddressGuard>(),
            new DownloadLimits(options.DownloadTimeout, options.DownloadSilence), provider.GetRequiredService<TimeProvider>(), provider.GetRequiredService<ILogger<ArtifactDownloads>>()));
        services.AddSingleton(provider => new BootImages(
            provider.GetRequiredService<ArtifactCache>(), provider.GetRequiredService<ArtifactDownloads>(), provider.GetRequiredService<ArtifactTransfers>(), options.CacheDirectory, options.ImageDirectories,
            provider.GetRequiredService<TimeProvider>()));
        services.AddSingleton<DiskPreparation>();
        services.AddSingleton<VolumeKeeper>();
        services.AddSingleton(provider => new SeedImage(SeedImage.FindTool(), provider.GetRequiredService<TimeProvider>()));
        services.AddSingleton<ArtifactCollector>();
        services.AddHostedService(provider => provider.GetRequiredService<ArtifactCollector>());
    }
}
