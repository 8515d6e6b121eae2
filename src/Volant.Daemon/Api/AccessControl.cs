using System.Buffers.Text;
using System.Net;
using System.Security.Cryptography;
using System.Text;
using Volant.Contracts.Api;
using Volant.Daemon.Telemetry;

namespace Volant.Daemon.Api;

/// <summary>Decides who may call (contract §3): peer address, Host, browser origin, key. Runs before everything else.</summary>
internal sealed partial class AccessControl(DaemonOptions options, TimeProvider clock, ILogger<AccessControl> logger)
{
    private const string WebSocketKeyPrefix = "volant-key.";
    private const string ExposedHeaders = "Content-Type, X-Total-Count, ETag, Location";

    private readonly FailureWindow _failures = new();
    private readonly byte[]? _keyDigest = options.ApiKey is { } key ? SHA256.HashData(Encoding.UTF8.GetBytes(key)) : null;

    /// <summary>The middleware.</summary>
    public async Task InvokeAsync(HttpContext context, RequestDelegate next)
    {
        var request = context.Request;
        context.Response.OnStarting(static state => SetSecurityHeadersAsync((HttpContext)state), context);
        if (!IsPeerAllowed(context.Connection.RemoteIpAddress))
        {
            Refuse("address", context);
            await Problems.WriteAsync(context, 403, ErrorCodes.Forbidden, "The address of the caller is not in VOLANT_API_ALLOW_CIDR.");
            return;
        }

        if (!IsHostAllowed(request.Host))
        {
            Refuse("host", context);
            await Problems.WriteAsync(context, 403, ErrorCodes.Forbidden, $"The Host '{request.Host}' is not a name of this daemon; use its IP address, localhost or VOLANT_API_ADVERTISE.");
            return;
        }

        if (request.Headers.Origin is [{ Length: > 0 } origin])
        {
            if (!IsOriginAllowed(origin, request))
            {
                Refuse("origin", context);
                await Problems.WriteAsync(context, 403, ErrorCodes.Forbidden, $"The browser origin '{origin}' is not in VOLANT_CORS_ORIGINS.");
                return;
            }

            AnswerOrigin(context, origin);
            if (HttpMethods.IsOptions(request.Method) && request.Headers.ContainsKey("Access-Control-Request-Method"))
            {
                context.Response.StatusCode = StatusCodes.Status204NoContent;
                return;
            }
        }

        var offered = OfferedKey(request);
        if (_keyDigest is not null && request.Path != "/healthz" && !IsKey(offered))
        {
            Refuse("key", context);
            if (offered is not null && _failures.IsOver(Caller.Address(context), clock))
            {
                context.Response.Headers.RetryAfter = "60";
                await Problems.WriteAsync(context, 429, ErrorCodes.TooManyRequests, $"More than {FailureWindow.Limit} requests with a wrong API key in a minute; try again later.");
                return;
            }

            context.Response.Headers.WWWAuthenticate = "Bearer";
            await Problems.WriteAsync(context, 401, ErrorCodes.Unauthorized, "The API key is missing or wrong; send it as X-Volant-API-Key or Authorization: Bearer (volar reads VOLANT_API_KEY).");
            return;
        }

        await next(context);
    }

    /// <summary>Writes the reason down, and never a key.</summary>
    private void Refuse(string rule, HttpContext context)
    {
        Instruments.Refusals.Add(1, new KeyValuePair<string, object?>("rule", rule));
        LogRefused(rule, Caller.Describe(context), context.Request.Method, context.Request.Path);
    }

    /// <summary>At the last moment, because a failure clears what was set before; what a route has set itself stays.</summary>
    private static Task SetSecurityHeadersAsync(HttpContext context)
    {
        var headers = context.Response.Headers;
        headers[RequestId.Header] = context.TraceIdentifier;
        headers.XContentTypeOptions = "nosniff";
        headers.TryAdd("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'");
        headers.TryAdd("Referrer-Policy", "no-referrer");
        headers.TryAdd("Cache-Control", "no-store");
        return Task.CompletedTask;
    }

    private bool IsPeerAllowed(IPAddress? peer)
    {
        if (options.AllowCidr.Count == 0 || peer is null)
        {
            return true;
        }

        var address = peer.IsIPv4MappedToIPv6 ? peer.MapToIPv4() : peer;
        return options.AllowCidr.Any(network => network.Contains(address));
    }

    /// <summary>Refuses foreign names, so that a web page cannot reach the daemon by pointing its own name here.</summary>
    private bool IsHostAllowed(HostString host) =>
        options.Listen.EndPoint is null || !host.HasValue || host.Host is "localhost" || IPAddress.TryParse(host.Host.Trim('[', ']'), out _) ||
        (Uri.TryCreate(options.Advertise, UriKind.Absolute, out var advertised) && string.Equals(advertised.Host, host.Host, StringComparison.OrdinalIgnoreCase));

    private bool IsOriginAllowed(string origin, HttpRequest request) =>
        options.CorsOrigins.Contains("*", StringComparer.Ordinal) ||
        options.CorsOrigins.Contains(origin, StringComparer.Ordinal) ||
        string.Equals(origin, $"{request.Scheme}://{request.Host}", StringComparison.OrdinalIgnoreCase);

    private static void AnswerOrigin(HttpContext context, string origin)
    {
        var headers = context.Response.Headers;
        headers.AccessControlAllowOrigin = origin;
        headers.Vary = "Origin";
        headers.AccessControlExposeHeaders = ExposedHeaders;
        headers.AccessControlAllowMethods = "GET, HEAD, POST, PUT, PATCH, DELETE";
        headers.AccessControlAllowHeaders = "Authorization, Content-Type, If-Match, Last-Event-ID, MCP-Protocol-Version, Mcp-Method, Mcp-Name, X-Volant-API-Key";
        headers.AccessControlMaxAge = "600";
    }

    private static string? OfferedKey(HttpRequest request) =>
        request.Headers["X-Volant-API-Key"] is [{ Length: > 0 } header] ? header
        : request.Headers.Authorization is [{ } bearer] && bearer.StartsWith("Bearer ", StringComparison.OrdinalIgnoreCase) ? bearer["Bearer ".Length..].Trim()
        : FromSubprotocol(request);

    private bool IsKey(string? offered) => offered is not null && CryptographicOperations.FixedTimeEquals(SHA256.HashData(Encoding.UTF8.GetBytes(offered)), _keyDigest);

    private static string? FromSubprotocol(HttpRequest request)
    {
        var protocol = request.Headers.SecWebSocketProtocol
            .SelectMany(value => (value ?? string.Empty).Split(',', StringSplitOptions.TrimEntries))
            .FirstOrDefault(value => value.StartsWith(WebSocketKeyPrefix, StringComparison.Ordinal));
        if (protocol is null || !Base64Url.IsValid(protocol.AsSpan(WebSocketKeyPrefix.Length)))
        {
            return null;
        }

        return Encoding.UTF8.GetString(Base64Url.DecodeFromChars(protocol.AsSpan(WebSocketKeyPrefix.Length)));
    }

    [LoggerMessage(EventId = 5101, Level = LogLevel.Warning, Message = "Refused by {Rule}: {Peer} {Method} {Path}")]
    private partial void LogRefused(string rule, string peer, string method, string path);
}
