using System.Collections.Concurrent;
using System.Security.Cryptography.X509Certificates;
using System.Text;
using System.Text.Json;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Server.Kestrel.Https;
using Microsoft.Extensions.Logging;
using Volant.Contracts;
using Volant.Contracts.Api;

namespace Volant.Tests.Cli;

/// <summary>A request as the fake daemon saw it.</summary>
internal sealed record SeenRequest(string Method, string Target, IHeaderDictionary Headers, byte[] Body)
{
    public string Text => Encoding.UTF8.GetString(Body);

    public string Line => $"{Method} {Target}";
}

/// <summary>A real HTTP server with hand-written answers, on a loopback port or a Unix socket.</summary>
internal sealed class FakeDaemon : IAsyncDisposable
{
    private readonly WebApplication _app;
    private readonly ConcurrentQueue<SeenRequest> _seen = new();
    private readonly DirectoryInfo? _directory;

    private FakeDaemon(WebApplication app, DirectoryInfo? directory)
    {
        _app = app;
        _directory = directory;
    }

    public string Address { get; private set; } = string.Empty;

    public IReadOnlyList<SeenRequest> Seen => [.. _seen];

    public IEnumerable<string> Lines => _seen.Select(request => request.Line);

    public static async Task<FakeDaemon> StartAsync(Func<HttpContext, SeenRequest, Task> answer, bool onSocket = false, X509Certificate2? certificate = null)
    {
        var builder = WebApplication.CreateSlimBuilder();
        builder.WebHost.UseKestrelHttpsConfiguration();
        builder.Logging.ClearProviders();
        var directory = onSocket ? Directory.CreateTempSubdirectory("volar") : null;
        var socket = directory is null ? null : Path.Combine(directory.FullName, "api.sock");
        builder.WebHost.ConfigureKestrel(kestrel =>
        {
            kestrel.Limits.MaxRequestBodySize = null;
            kestrel.AllowSynchronousIO = true;
            if (socket is null)
            {
                kestrel.Listen(System.Net.IPAddress.Loopback, 0, listen =>
                {
                    if (certificate is not null)
                    {
                        listen.UseHttps(https =>
                        {
                            https.ServerCertificate = certificate;
                            https.ClientCertificateMode = ClientCertificateMode.AllowCertificate;
                            https.AllowAnyClientCertificate();
                        });
                    }
                });
            }
            else
            {
                kestrel.ListenUnixSocket(socket);
            }
        });
        var app = builder.Build();
        app.UseWebSockets();
        var daemon = new FakeDaemon(app, directory);
        app.Run(async context =>
        {
            using var body = new MemoryStream();
            await context.Request.Body.CopyToAsync(body, context.RequestAborted);
            var seen = new SeenRequest(
                context.Request.Method,
                context.Request.Path.Value + context.Request.QueryString.Value,
                new HeaderDictionary(context.Request.Headers.ToDictionary(StringComparer.OrdinalIgnoreCase)),
                body.ToArray());
            daemon._seen.Enqueue(seen);
            await answer(context, seen);
        });
        await app.StartAsync(TestContext.Current.CancellationToken);
        daemon.Address = socket is null ? app.Urls.First() : $"unix://{socket}";
        return daemon;
    }

    /// <summary>A daemon that knows these answers by "METHOD target", and answers a plain 404 to the rest.</summary>
    public static Task<FakeDaemon> StartAsync(params (string Line, int Status, string Json)[] answers) => StartAsync((context, seen) =>
    {
        var found = answers.FirstOrDefault(answer => answer.Line == seen.Line);
        return found.Line is null ? context.ProblemAsync(404, "not_found", $"No {seen.Line}.") : context.JsonAsync(found.Status, found.Json);
    });

    /// <summary>Asserts which requests came, in their order.</summary>
    public void AssertSaw(params string[] lines) => Assert.Equal(lines, Lines, StringComparer.Ordinal);

    public async ValueTask DisposeAsync()
    {
        await _app.DisposeAsync();
        _directory?.Delete(recursive: true);
    }
}

/// <summary>Answers of the fake daemon.</summary>
internal static class FakeAnswers
{
    public static readonly DateTimeOffset Created = new(2026, 3, 1, 12, 0, 0, TimeSpan.Zero);

    public static async Task JsonAsync(this HttpContext context, int status, string json, string type = "application/json")
    {
        context.Response.StatusCode = status;
        if (status != 204)
        {
            context.Response.ContentType = type;
            await context.Response.WriteAsync(json, context.RequestAborted);
        }
    }

    public static Task ProblemAsync(this HttpContext context, int status, string code, string detail) =>
        context.JsonAsync(status, JsonSerializer.Serialize(new Problem { Status = status, Code = code, Detail = detail, Error = detail }, ContractsJson.Default.Problem), "application/problem+json");

    public static string Vm(string name = "web", VmStatus status = VmStatus.Running, bool ready = true, string? error = null, string plugin = "hello") =>
        JsonSerializer.Serialize(MakeVm(name, status, ready, error, plugin), ContractsJson.Default.Vm);

    public static Vm MakeVm(string name = "web", VmStatus status = VmStatus.Running, bool ready = true, string? error = null, string plugin = "hello") => new()
    {
        Id = 7,
        Name = name,
        Uid = Guid.Parse("0195a5b4-0000-7000-8000-000000000001"),
        Status = status,
        Ready = ready,
        Desired = DesiredState.Running,
        Plugin = plugin,
        Runtime = "hello",
        Hypervisor = "qemu",
        Pid = status == VmStatus.Running ? 4711 : null,
        NetworkMode = "bridged",
        IpAddress = "192.168.127.5",
        MacAddress = "02:00:00:00:00:05",
        VsockCid = 5,
        CpuCores = 2,
        MemoryMb = 512,
        KernelCmdline = "console=ttyS0",
        SerialSocket = "/run/volant/x/serial.sock",
        LastError = error,
        Restarts = 0,
        ConfigVersion = 1,
        CreatedAt = Created,
        UpdatedAt = Created,
    };
}
