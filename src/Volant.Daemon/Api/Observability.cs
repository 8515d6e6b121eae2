using Microsoft.Extensions.Logging.Console;
using OpenTelemetry.Metrics;
using OpenTelemetry.Resources;
using OpenTelemetry.Trace;
using Volant.Contracts;
using Volant.Daemon.Telemetry;

namespace Volant.Daemon.Api;

/// <summary>How the daemon lets itself be watched: log, <c>/metrics</c>, traces.</summary>
internal static class Observability
{
    /// <summary>Series of one metric: a VM has one in each of its own.</summary>
    private const int MaxSeries = 20_000;

    /// <summary>Writes the log to the standard output: as text, as JSON lines, or with the priorities that journald reads.</summary>
    public static void AddLog(this ILoggingBuilder logging, DaemonOptions options)
    {
        switch (options.LogFormat)
        {
            case LogFormat.Json:
                logging.AddJsonConsole(Configure);
                break;
            case LogFormat.Journal:
                logging.AddSystemdConsole(console => console.IncludeScopes = true);
                break;
            default:
                logging.AddSimpleConsole(console =>
                {
                    console.SingleLine = true;
                    Configure(console);
                });
                break;
        }

        logging.SetMinimumLevel(options.LogLevel);
        logging.AddFilter("Microsoft", LogLevel.Warning).AddFilter("Yarp", LogLevel.Error).AddFilter("OpenTelemetry", LogLevel.Warning).AddFilter("Microsoft.Hosting.Lifetime", LogLevel.Information);

        // What a client does wrong is a warning at most; what a tool does wrong its guard writes down.
        logging.AddFilter("ModelContextProtocol", LogLevel.Warning).AddFilter("ModelContextProtocol.Server.McpServer", LogLevel.Critical);

        if (!options.ExportsTraces)
        {
            // The framework's own scope and activity of every request: ours says the same in less, and nobody reads the other.
            logging.AddFilter("Microsoft.AspNetCore.Hosting.Diagnostics", LogLevel.None);
        }

        static void Configure(ConsoleFormatterOptions console)
        {
            console.TimestampFormat = "yyyy-MM-ddTHH:mm:ss.fffZ ";
            console.UseUtcTimestamp = true;
            console.IncludeScopes = true;
        }
    }

    /// <summary>Adds metrics, and traces when <c>OTEL_EXPORTER_OTLP_ENDPOINT</c> says where they go.</summary>
    public static void AddObservability(this WebApplicationBuilder builder, DaemonOptions options)
    {
        builder.Configuration.AddInMemoryCollection(options.OpenTelemetry.Select(variable => new KeyValuePair<string, string?>(variable.Key, variable.Value)));
        builder.Services.AddSingleton<Gauges>();
        builder.Services.AddHostedService(provider => provider.GetRequiredService<Gauges>());
        var telemetry = builder.Services.AddOpenTelemetry().ConfigureResource(resource => resource.AddService("volantd", serviceVersion: ProductVersion.Text));
        telemetry.WithMetrics(metrics => metrics
            .AddMeter(Instruments.Name, "Microsoft.AspNetCore.Hosting", "Microsoft.AspNetCore.Server.Kestrel", "System.Runtime")
            .AddView("volant.vm.*", new MetricStreamConfiguration { CardinalityLimit = MaxSeries })
            .AddPrometheusExporter(exporter => exporter.ScrapeResponseCacheDurationMilliseconds = 0));
        if (options.ExportsTraces)
        {
            telemetry.WithTracing(traces => traces.AddSource(Instruments.Name).AddAspNetCoreInstrumentation().AddOtlpExporter());
        }
    }

    /// <summary>Maps <c>/metrics</c> (Prometheus text format).</summary>
    public static void MapMetrics(this IEndpointRouteBuilder routes) => routes.MapPrometheusScrapingEndpoint("/metrics").ExcludeFromDescription();
}
