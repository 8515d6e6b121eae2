using System.Text.Json;
using Microsoft.AspNetCore.Diagnostics;
using Microsoft.AspNetCore.WebUtilities;
using Volant.Contracts;
using Volant.Contracts.Api;

namespace Volant.Daemon.Api;

/// <summary>Every error as RFC 9457 problem details (contract §1); the only table of status codes.</summary>
internal sealed partial class Problems(ILogger<Problems> logger) : IExceptionHandler
{
    /// <inheritdoc/>
    public async ValueTask<bool> TryHandleAsync(HttpContext httpContext, Exception exception, CancellationToken cancellationToken)
    {
        if (exception is OperationCanceledException && httpContext.RequestAborted.IsCancellationRequested)
        {
            httpContext.Response.StatusCode = StatusCodes.Status499ClientClosedRequest;
            return true;
        }

        var (code, detail, fields) = Explain(exception);
        if (code == ErrorCodes.Internal)
        {
            LogFault(exception, httpContext.Request.Method, httpContext.Request.Path);
        }

        await WriteAsync(httpContext, StatusOf(code), code, detail, fields);
        return true;
    }

    /// <summary>What a client is told of a failure; of one that nobody foresaw only that it happened.</summary>
    public static (string Code, string Detail, IReadOnlyList<FieldError> Fields) Explain(Exception exception) => exception switch
    {
        VolantException failure => (failure.Code, failure.Message, failure.Fields),
        InvalidDocumentException document => (ErrorCodes.InvalidRequest, document.Message, document.Errors),
        BadHttpRequestException { InnerException: JsonException json } => Explain(StrictJson.Explain(json)),
        BadHttpRequestException { StatusCode: StatusCodes.Status413PayloadTooLarge } => (ErrorCodes.TooLarge, "The request body is larger than the limit of this route.", []),
        BadHttpRequestException { StatusCode: StatusCodes.Status415UnsupportedMediaType } => (ErrorCodes.UnsupportedMediaType, "The request body must be JSON: send Content-Type: application/json.", []),
        BadHttpRequestException bad => (ErrorCodes.InvalidRequest, bad.Message, []),
        _ => (ErrorCodes.Internal, "The daemon failed to handle the request; its log says why.", []),
    };

    /// <summary>The messages of a validation failure by field; null when there are none.</summary>
    public static IReadOnlyDictionary<string, IReadOnlyList<string>>? ByField(IReadOnlyList<FieldError>? fields) => fields is not { Count: > 0 } ? null : fields
        .GroupBy(field => field.Path, StringComparer.Ordinal)
        .ToDictionary(group => group.Key, IReadOnlyList<string> (group) => [.. group.Select(field => field.Message)], StringComparer.Ordinal);

    /// <summary>Writes a problem; does nothing once the response has started.</summary>
    public static async Task WriteAsync(HttpContext context, int status, string code, string detail, IReadOnlyList<FieldError>? fields = null)
    {
        if (context.Response.HasStarted)
        {
            return;
        }

        context.Response.StatusCode = status;
        context.Response.ContentType = "application/problem+json";
        var problem = new Problem
        {
            Type = "about:blank",
            Title = ReasonPhrases.GetReasonPhrase(status),
            Status = status,
            Detail = detail,
            Instance = context.Request.Path,
            Error = detail,
            Code = code,
            Errors = ByField(fields),
        };
        await context.Response.Body.WriteAsync(JsonSerializer.SerializeToUtf8Bytes(problem, ContractsJson.Readable.Problem), context.RequestAborted);
    }

    /// <summary>Gives an empty error response of the framework (404, 405) the body that every error has.</summary>
    public static Task FillAsync(HttpContext context) => context.Response.StatusCode switch
    {
        StatusCodes.Status404NotFound => WriteAsync(context, 404, ErrorCodes.NotFound, $"There is nothing at {context.Request.Path}; see /openapi for every route."),
        StatusCodes.Status405MethodNotAllowed => WriteAsync(context, 405, ErrorCodes.InvalidRequest, $"{context.Request.Method} is not allowed on {context.Request.Path}."),
        StatusCodes.Status413PayloadTooLarge => WriteAsync(context, 413, ErrorCodes.TooLarge, "The request body is larger than the limit of this route."),
        StatusCodes.Status415UnsupportedMediaType => WriteAsync(context, 415, ErrorCodes.UnsupportedMediaType, "The request body must be JSON: send Content-Type: application/json."),
        var status and >= 400 => WriteAsync(context, status, status < 500 ? ErrorCodes.InvalidRequest : ErrorCodes.Internal, ReasonPhrases.GetReasonPhrase(status) + "."),
        _ => Task.CompletedTask,
    };

    /// <summary>HTTP status of a code.</summary>
    internal static int StatusOf(string code) => code switch
    {
        ErrorCodes.InvalidRequest or ErrorCodes.InvalidManifest => 400,
        ErrorCodes.Unauthorized => 401,
        ErrorCodes.Forbidden => 403,
        ErrorCodes.NotFound or ErrorCodes.VmNotFound or ErrorCodes.DeploymentNotFound or ErrorCodes.PluginNotFound or ErrorCodes.ActionNotFound or ErrorCodes.ArtifactNotFound or ErrorCodes.FileNotFound or ErrorCodes.DeviceNotFound or ErrorCodes.RouteNotFound or ErrorCodes.VolumeNotFound => 404,
        ErrorCodes.VmExists or ErrorCodes.DeploymentExists or ErrorCodes.DeploymentIncomplete or ErrorCodes.RuntimeMismatch or ErrorCodes.VmStatusConflict or ErrorCodes.VmBusy or ErrorCodes.VmNotRunning or ErrorCodes.PluginDisabled or ErrorCodes.PluginInUse or ErrorCodes.FileConflict or ErrorCodes.AlreadyIdentified or ErrorCodes.DeviceInUse or ErrorCodes.DeviceNotBound or ErrorCodes.PortInUse or ErrorCodes.RouteManaged or ErrorCodes.DiskMissing or ErrorCodes.VolumeExists or ErrorCodes.VolumeInUse => 409,
        ErrorCodes.VersionConflict => 412,
        ErrorCodes.TooLarge => 413,
        ErrorCodes.UnsupportedMediaType => 415,
        ErrorCodes.PathNotAllowed or ErrorCodes.AddressNotAllowed or ErrorCodes.ChecksumMismatch or ErrorCodes.InvalidMedia or ErrorCodes.Unsupported or ErrorCodes.ExecFailed or ErrorCodes.DeviceNotAllowed => 422,
        ErrorCodes.TooManyRequests => 429,
        ErrorCodes.DownloadFailed or ErrorCodes.AgentUnreachable or ErrorCodes.ConnectionRefused or ErrorCodes.GuestError => 502,
        ErrorCodes.NoReadyVm or ErrorCodes.IpPoolExhausted or ErrorCodes.HypervisorUnavailable or ErrorCodes.InsufficientCapacity or ErrorCodes.NetworkUnavailable or ErrorCodes.Unavailable or ErrorCodes.DeviceUnavailable => 503,
        ErrorCodes.Timeout => 504,
        ErrorCodes.DiskFull => 507,
        _ => 500,
    };

    private static (string Code, string Detail, IReadOnlyList<FieldError> Fields) Explain(FieldError field) =>
        (ErrorCodes.InvalidRequest, $"The request body is not valid: {field.Path} {field.Message}.", [field]);

    [LoggerMessage(EventId = 5001, Level = LogLevel.Error, Message = "{Method} {Path} failed")]
    private partial void LogFault(Exception exception, string method, string path);
}
