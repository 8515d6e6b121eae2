using System.Diagnostics;
using System.Net;
using Volant.Contracts.Api;
using Volant.Daemon.Guests;
using Volant.Daemon.Orchestration;
using Yarp.ReverseProxy.Forwarder;

namespace Volant.Daemon.Api;

/// <summary><c>/api/v1/vms/{name}/agent/…</c>: streaming reverse proxy into the guest, WebSockets included.</summary>
/// <remarks>The guest is hostile: it never sees the caller's credentials, its redirects are not followed, and its answer cannot act as this origin.</remarks>
internal static class AgentProxy
{
    private static readonly ForwarderRequestConfig Config = new()
    {
        Version = HttpVersion.Version20,
        VersionPolicy = HttpVersionPolicy.RequestVersionExact,
        ActivityTimeout = Timeout.InfiniteTimeSpan,
        AllowResponseBuffering = false,
    };
    private static readonly GuestTransformer Transformer = new();

    public static void MapAgentProxy(this IEndpointRouteBuilder routes) =>
        routes.Map("/api/v1/vms/{name}/agent/{**path}", ForwardAsync).WithTags("agent").WithMetadata(new RequestLimit(null)).ExcludeFromDescription();

    private static async Task ForwardAsync(HttpContext context, string name, VmOwners owners, IHttpForwarder forwarder)
    {
        var guest = owners.GetGuest(name);
        var error = await forwarder.SendAsync(context, GuestClient.BaseAddress.ToString(), guest.Invoker, Config, Transformer);
        if (error is ForwarderError.None || context.RequestAborted.IsCancellationRequested)
        {
            return;
        }

        await Problems.WriteAsync(
            context,
            error == ForwarderError.RequestTimedOut ? StatusCodes.Status504GatewayTimeout : StatusCodes.Status502BadGateway,
            error == ForwarderError.RequestTimedOut ? ErrorCodes.Timeout : ErrorCodes.AgentUnreachable,
            $"The agent of VM '{name}' did not answer ({error}); see 'volar vms get {name}' and 'volar vms logs {name}'.");
    }

    private sealed class GuestTransformer : HttpTransformer
    {
        private static readonly string[] Credentials = ["Authorization", "Cookie", "X-Volant-API-Key", "Proxy-Authorization"];
        private static readonly string[] OriginPowers =
            ["Set-Cookie", "Access-Control-Allow-Origin", "Access-Control-Allow-Credentials", "Clear-Site-Data", "Strict-Transport-Security", "Service-Worker-Allowed"];

        public override async ValueTask TransformRequestAsync(HttpContext httpContext, HttpRequestMessage proxyRequest, string destinationPrefix, CancellationToken cancellationToken)
        {
            await base.TransformRequestAsync(httpContext, proxyRequest, destinationPrefix, cancellationToken);
            foreach (var name in Credentials)
            {
                proxyRequest.Headers.Remove(name);
            }

            if (proxyRequest.Headers.TryGetValues("Sec-WebSocket-Protocol", out var protocols))
            {
                var kept = protocols.SelectMany(value => value.Split(',', StringSplitOptions.TrimEntries)).Where(value => !value.StartsWith("volant-key.", StringComparison.Ordinal)).ToArray();
                proxyRequest.Headers.Remove("Sec-WebSocket-Protocol");
                if (kept.Length > 0)
                {
                    proxyRequest.Headers.TryAddWithoutValidation("Sec-WebSocket-Protocol", string.Join(", ", kept));
                }
            }

            proxyRequest.Headers.Host = null;
            var path = PathAfterAgent(httpContext.Request.Path);
            proxyRequest.RequestUri = RequestUtilities.MakeDestinationAddress(destinationPrefix, path, httpContext.Request.QueryString);
        }

        public override async ValueTask<bool> TransformResponseAsync(HttpContext httpContext, HttpResponseMessage? proxyResponse, CancellationToken cancellationToken)
        {
            var copyBody = await base.TransformResponseAsync(httpContext, proxyResponse, cancellationToken);
            var headers = httpContext.Response.Headers;
            foreach (var name in OriginPowers)
            {
                headers.Remove(name);
            }

            headers.ContentSecurityPolicy = "sandbox allow-scripts allow-forms";
            headers.XContentTypeOptions = "nosniff";
            return copyBody;
        }

        /// <summary>What follows <c>/api/v1/vms/NAME/agent</c>.</summary>
        private static PathString PathAfterAgent(PathString path)
        {
            const int SegmentsBefore = 5;
            var text = path.Value!;
            var at = 0;
            for (var i = 0; i < SegmentsBefore; i++)
            {
                at = text.IndexOf('/', at + 1);
                Debug.Assert(at > 0 || i == SegmentsBefore - 1, "the route guarantees the prefix");
                if (at < 0)
                {
                    return "/";
                }
            }

            return text[at..];
        }
    }
}
