using System.Diagnostics;
using Volant.Daemon.Guests;
using Yarp.ReverseProxy.Forwarder;

namespace Volant.Daemon.Api;

/// <summary>What changes on the way into a guest and back: the path, what is the caller's secret, and what would give the guest power over a browser.</summary>
internal sealed class GuestTransformer(string name, GuestTarget target, HeadDeadline deadline) : HttpTransformer
{
    private static readonly string[] Credentials = ["Authorization", "Cookie", "X-Volant-API-Key", "Proxy-Authorization"];
    private static readonly string[] OriginPowers = ["Set-Cookie", "Clear-Site-Data", "Strict-Transport-Security", "Service-Worker-Allowed", "Public-Key-Pins", "NEL", "Report-To", "Reporting-Endpoints", "Alt-Svc"];

    /// <inheritdoc/>
    public override async ValueTask TransformRequestAsync(HttpContext httpContext, HttpRequestMessage proxyRequest, string destinationPrefix, CancellationToken cancellationToken)
    {
        await base.TransformRequestAsync(httpContext, proxyRequest, destinationPrefix, cancellationToken);
        foreach (var credential in Credentials)
        {
            proxyRequest.Headers.Remove(credential);
        }

        // RFC 9110, section 7.6.1: what Connection names is for this hop only.
        foreach (var named in httpContext.Request.Headers.Connection.SelectMany(Tokens))
        {
            proxyRequest.Headers.Remove(named);
            proxyRequest.Content?.Headers.Remove(named);
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

        if (target.Answer is { } answer)
        {
            return await AnswerAsync(httpContext, proxyResponse, answer, cancellationToken);
        }

        deadline.Meet();
        foreach (var power in proxyResponse.Headers.NonValidated.Select(header => header.Key).Where(IsPower).ToArray())
        {
            proxyResponse.Headers.Remove(power);
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

    /// <summary>Passes an answer of the agent on when it is one that the route knows; a problem is told in our own words of it.</summary>
    private async Task<bool> AnswerAsync(HttpContext context, HttpResponseMessage response, AgentAnswer answer, CancellationToken cancellationToken)
    {
        var status = (int)response.StatusCode;
        var type = response.Content.Headers.ContentType?.MediaType;
        if (answer.Statuses.Contains(status) && (type is null ? status != StatusCodes.Status200OK : answer.Types.Contains(type, StringComparer.Ordinal)))
        {
            deadline.Meet();
            context.Response.StatusCode = status;
            context.Response.ContentType = type;
            context.Response.ContentLength = response.Content.Headers.ContentLength;
            if (response.Content.Headers.LastModified is { } modified)
            {
                context.Response.Headers.LastModified = modified.ToString("R");
            }

            context.Response.Headers.ContentSecurityPolicy = "sandbox";
            context.Response.Headers.XContentTypeOptions = "nosniff";
            return true;
        }

        var problem = await GuestProblem.ReadAsync(response, name, cancellationToken);
        deadline.Meet();
        await Problems.WriteAsync(context, Problems.StatusOf(problem.Code), problem.Code, problem.Message);
        return false;
    }

    private static bool IsForGuest(string protocol) => protocol != Sockets.Subprotocol && !protocol.StartsWith(Sockets.KeyPrefix, StringComparison.Ordinal);

    private static bool IsPower(string name) =>
        name.StartsWith("Access-Control-", StringComparison.OrdinalIgnoreCase) || OriginPowers.Contains(name, StringComparer.OrdinalIgnoreCase);

    private static string[] Tokens(string? value) => (value ?? string.Empty).Split(',', StringSplitOptions.TrimEntries | StringSplitOptions.RemoveEmptyEntries);
}
