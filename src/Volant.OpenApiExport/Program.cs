using System.Text.Encodings.Web;
using System.Text.Json;
using System.Text.Json.Nodes;
using Microsoft.AspNetCore.Hosting.Server;
using Microsoft.AspNetCore.Http.Features;
using Microsoft.AspNetCore.OpenApi;
using Microsoft.Extensions.DependencyInjection.Extensions;
using Microsoft.OpenApi;
using Volant.Daemon;
using Volant.Daemon.Api;
using Volant.OpenApiExport;

string? output = null;
string? server = null;
var manifestSchema = false;
for (var i = 0; i < args.Length; i += 2)
{
    switch (args[i])
    {
        case "--manifest-schema":
            manifestSchema = true;
            i--;
            break;
        case "--output" when i + 1 < args.Length:
            output = args[i + 1];
            break;
        case "--server" when i + 1 < args.Length:
            server = args[i + 1];
            break;
        default:
            await Console.Error.WriteLineAsync("usage: openapi-export [--output FILE] [--server URL | --manifest-schema]     prints the API's OpenAPI document, or the JSON Schema of plugin manifests; FILE '-' or none is standard output");
            return args[i] is "--help" or "-h" ? 0 : 2;
    }
}

// The endpoints are mapped and described; nothing is opened, listened on or launched.
var options = DaemonEnvironment.Read(new Dictionary<string, string>(StringComparer.Ordinal));
await using var app = DaemonHost.Build(options, services =>
{
    services.RemoveAll<IHostedService>();
    services.RemoveAll<ILoggerProvider>();
    services.AddSingleton<IServer, NoServer>();
});
await app.StartAsync();
var provider = app.Services.GetRequiredKeyedService<IOpenApiDocumentProvider>("v1");
var document = await provider.GetOpenApiDocumentAsync();
if (server is not null)
{
    document.Servers = [new OpenApiServer { Url = server }];
}

var text = await document.SerializeAsJsonAsync(OpenApiSpecVersion.OpenApi3_1) + "\n";
if (manifestSchema)
{
    text = ManifestSchema.Extract(JsonNode.Parse(text)!).ToJsonString(new JsonSerializerOptions { WriteIndented = true, Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping }) + "\n";
}

if (output is null or "-")
{
    await Console.Out.WriteAsync(text);
}
else
{
    await File.WriteAllTextAsync(output, text);
}

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
