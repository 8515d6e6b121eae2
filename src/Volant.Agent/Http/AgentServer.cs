using System.Text;
using Microsoft.AspNetCore.Server.Kestrel.Core;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Options;
using Volant.Agent.Transport;

namespace Volant.Agent.Http;

/// <summary>The HTTP server: ASP.NET's, without its host, container and configuration, which the agent has no use for.</summary>
internal sealed class AgentServer : IDisposable
{
    private const int MaxConnections = 512;
    private const int MaxStreams = 1000;

    // One stalled upload may fill its own window, never that of the connection: the others go on.
    private const int StreamWindow = 128 * 1024;
    private const int ConnectionWindow = 16 * 1024 * 1024;

    private readonly KestrelServer _server;

    /// <summary>Prepares a server that tells its errors to <paramref name="console"/>.</summary>
    public AgentServer(ConsoleLog console)
    {
        var options = new KestrelServerOptions
        {
            AddServerHeader = false,
            RequestHeaderEncodingSelector = _ => Encoding.Latin1,
            ResponseHeaderEncodingSelector = _ => Encoding.Latin1,
        };
        options.Limits.MaxConcurrentConnections = MaxConnections;
        options.Limits.MaxConcurrentUpgradedConnections = MaxConnections;
        options.Limits.MaxRequestBodySize = null;
        options.Limits.MinRequestBodyDataRate = null;
        options.Limits.MinResponseDataRate = null;
        options.Limits.Http2.MaxStreamsPerConnection = MaxStreams;
        options.Limits.Http2.InitialStreamWindowSize = StreamWindow;
        options.Limits.Http2.InitialConnectionWindowSize = ConnectionWindow;
        options.Listen(Http2, listen => listen.Protocols = HttpProtocols.Http2);
        options.Listen(Http1, listen => listen.Protocols = HttpProtocols.Http1);
        _server = new KestrelServer(Options.Create(options), new StreamListenerFactory(), new ConsoleLoggers(console));
    }

    /// <summary>Takes connections that speak HTTP/2 with prior knowledge.</summary>
    public StreamEndPoint Http2 { get; } = new("http2");

    /// <summary>Takes connections that speak HTTP/1.1.</summary>
    public StreamEndPoint Http1 { get; } = new("http1");

    /// <summary>Starts to serve.</summary>
    public Task StartAsync(AgentApplication application, CancellationToken cancellationToken) => _server.StartAsync(application, cancellationToken);

    /// <summary>Lets requests end until <paramref name="cancellationToken"/> is cancelled, then aborts them.</summary>
    public Task StopAsync(CancellationToken cancellationToken) => _server.StopAsync(cancellationToken);

    /// <inheritdoc/>
    public void Dispose() => _server.Dispose();
}

/// <summary>Errors of the HTTP server go to the console; its warnings are about slow clocks, which emulated guests have.</summary>
internal sealed class ConsoleLoggers(ConsoleLog console) : ILoggerFactory, ILogger
{
    /// <inheritdoc/>
    public ILogger CreateLogger(string categoryName) => this;

    /// <inheritdoc/>
    public void AddProvider(ILoggerProvider provider) => throw new NotSupportedException();

    /// <inheritdoc/>
    public IDisposable? BeginScope<TState>(TState state)
        where TState : notnull => null;

    /// <inheritdoc/>
    public bool IsEnabled(LogLevel logLevel) => logLevel >= LogLevel.Error;

    /// <inheritdoc/>
    public void Log<TState>(LogLevel logLevel, EventId eventId, TState state, Exception? exception, Func<TState, Exception?, string> formatter)
    {
        if (IsEnabled(logLevel))
        {
            console.Say($"{formatter(state, exception)} {exception}".TrimEnd().ReplaceLineEndings(" | "));
        }
    }

    /// <inheritdoc/>
    public void Dispose()
    {
    }
}
