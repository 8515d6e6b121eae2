using Volant.Daemon.Telemetry;

namespace Volant.Daemon.Api;

/// <summary>Gives every request one id: in its answer, in every log line that it causes, and in the operations that outlive it.</summary>
internal static partial class RequestId
{
    /// <summary>Name of the header, in both directions.</summary>
    public const string Header = "X-Request-Id";

    private const int MaxLength = 64;

    /// <summary>The middleware: takes a well-formed id of the caller, else makes one.</summary>
    public static async Task InvokeAsync(HttpContext context, RequestDelegate next)
    {
        var id = context.Request.Headers[Header] is [{ Length: > 0 and <= MaxLength } offered] && offered.All(c => char.IsAsciiLetterOrDigit(c) || c is '-' or '_' or '.')
            ? offered
            : Guid.CreateVersion7().ToString("N");
        context.TraceIdentifier = id;
        var logger = context.RequestServices.GetRequiredService<ILoggerFactory>().CreateLogger("Volant.Request");
        using (logger.BeginScope(new LogScope(("request_id", id))))
        {
            await next(context);
        }
    }
}
