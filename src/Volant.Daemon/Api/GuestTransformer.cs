using System.Diagnostics;
using Yarp.ReverseProxy.Forwarder;

namespace Volant.Daemon.Api;

/// <summary>What changes on the way into a guest and back: the path, what is the caller's secret, and what would give the guest power over a browser.</summary>
internal sealed class GuestTransformer(GuestTarget target, HeadDeadline deadline) : HttpTransformer
{
    private static readonly string[] Credentials = ["Authorization", "Cookie", "X-Volant-API-Key", "Proxy-Authorization"];
    private static readonly string[] OriginPowers = ["Set-Cookie", "Clear-Site-Data", "Strict-Transport-Security", "Service-Worker-Allowed", "Public-Key-Pins", "NEL", "Report-To", "Reporting-Endpoints", "Alt-Svc"];

    /// <inheritdoc/>
    public override async ValueTask TransformRequestAsync(HttpContext httpContext, HttpRequestMessage proxyRequest, string destinationPrefix, CancellationToken cancellationToken)
    {
        await base.TransformRequestAsync(httpContext, proxyRequest, destinationPrefix, cancellationToken);
        foreach (var name in Credentials)
        {
            proxyRequest.Headers.Remove(name);
        }

        // RFC 9110, section 7.6.1: what Connection names is for this hop only.
        foreach (var name in httpContext.Request.Headers.Connection.SelectMany(Tokens))
        {
            proxyRequest.Headers.Remove(name);
            proxyRequest.Content?.Headers.Remove(name);
        }

        // W3C Trace Context: the guest continues the trace of this request, which may be the caller's.
        if (Activity.Current is { IdFormat: ActivityIdFormat.W3C } activity)
        {
            proxyRequest.Headers.Remove("traceparent");
            proxyRequest.Headers.Add("traceparent", activity.Id);
        }

        if (!target.KeepsOrigin)
        {
            proxyRequest.Headers.Remove("Origin");
        }

        if (proxyRequest.Headers.TryGetValues("Sec-WebSocket-Protocol", out var protocols))
        {
            var kept = string.Join(", ", protocols.SelectMany(Tokens).Where(IsForGuest));
            proxyRequest.Headers.Remove("Sec-WebSocket-Protocol");
            if (kept.Length > 0)
            {
                proxyRequest.Headers.TryAddWithoutValidation("Sec-WebSocket-Protocol", kept);
            }
        }

        if (target.Method is { } method)
        {
            proxyRequest.Method = method;
        }

        proxyRequest.Headers.Host = null;
        proxyRequest.RequestUri = RequestUtilities.MakeDestinationAddress(destinationPrefix, target.Path, httpContext.Request.QueryString);
    }

    /// <inheritdoc/>
    public override async ValueTask<bool> TransformResponseAsync(HttpContext httpContext, HttpResponseMessage? proxyResponse, CancellationToken cancellationToken)
    {
        if (proxyResponse is null)
        {
            return await base.TransformResponseAsync(httpContext, proxyResponse, cancellationToken);
        }

        deadline.Meet();
        foreach (var name in proxyResponse.Headers.NonValidated.Select(header => header.Key).Where(IsPower).ToArray())
        {
            proxyResponse.Headers.Remove(name);
        }

        var copyBody = await base.TransformResponseAsync(httpContext, proxyResponse, cancellationToken);
        var headers = httpContext.Response.Headers;
        headers.ContentSecurityPolicy = "sandbox allow-scripts allow-forms";
        headers.XContentTypeOptions = "nosniff";
        if (httpContext.WebSockets.IsWebSocketRequest && headers.SecWebSocketProtocol.Count == 0 &&
            httpContext.WebSockets.WebSocketRequestedProtocols.Contains(Sockets.Subprotocol, StringComparer.Ordinal))
        {
            // A browser that had to offer its key breaks off when none of its protocols is chosen.
            headers.SecWebSocketProtocol = Sockets.Subprotocol;
        }

        return copyBody;
    }

    private static bool IsForGuest(string protocol) => protocol != Sockets.Subprotocol && !protocol.StartsWith(Sockets.KeyPrefix, StringComparison.Ordinal);

    private static bool IsPower(string name) =>
        name.StartsWith("Access-Control-", StringComparison.OrdinalIgnoreCase) || OriginPowers.Contains(name, StringComparer.OrdinalIgnoreCase);

    private static string[] Tokens(string? value) => (value ?? string.Empty).Split(',', StringSplitOptions.TrimEntries | StringSplitOptions.RemoveEmptyEntries);
}
