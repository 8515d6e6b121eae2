using Microsoft.AspNetCore.Hosting.Server;
using Microsoft.AspNetCore.Http.Features;
using Microsoft.AspNetCore.OpenApi;
using Microsoft.Extensions.DependencyInjection.Extensions;
using Microsoft.OpenApi;
using Volant.Daemon;
using Volant.OpenApiExport;

// The endpoints are mapped and described; nothing is opened, listened on or launched.
var options = DaemonEnvironment.Read(new Dictionary<string, string>(StringComparer.Ordinal));
await using var app = DaemonHost.Build(options, services =>
{
    services.RemoveAll<IHostedService>();
    services.AddSingleton<IServer, NoServer>();
});
await app.StartAsync();
var provider = app.Services.GetRequiredKeyedService<IOpenApiDocumentProvider>("v1");
var document = await provider.GetOpenApiDocumentAsync();
await Console.Out.WriteLineAsync(await document.SerializeAsJsonAsync(OpenApiSpecVersion.OpenApi3_1));
return 0;

namespace Volant.OpenApiExport
{
    /// <summary>Listens to nothing: the endpoints only have to be mapped.</summary>
    internal sealed class NoServer : IServer
    {
        public IFeatureCollection Features { get; } = new FeatureCollection();

        public Task StartAsync<TContext>(IHttpApplication<TContext> application, CancellationToken cancellationToken)
            where TContext : notnull => Task.CompletedTask;

        public Task StopAsync(CancellationToken cancellationToken) => Task.CompletedTask;

        public void Dispose()
        {
        }
    }
}
