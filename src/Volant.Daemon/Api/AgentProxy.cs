using System.Diagnostics;
using Microsoft.AspNetCore.Http.Timeouts;

namespace Volant.Daemon.Api;

/// <summary><c>/api/v1/vms/{name}/agent/…</c>: streaming reverse proxy into the guest, WebSockets included.</summary>
internal static class AgentProxy
{
    public static void MapAgentProxy(this IEndpointRouteBuilder routes) =>
        routes.Map("/api/v1/vms/{name}/agent/{**path}", ForwardAsync)
            .WithTags("agent").WithMetadata(new RequestLimit(null)).WithMetadata(new DisableRequestTimeoutAttribute()).ExcludeFromDescription();

    /// <summary>What follows a number of segments of a path, as it was written: a route's own value has lost empty segments. "/" when nothing does.</summary>
    internal static PathString PathAfter(PathString path, int segments)
    {
        var text = path.Value!;
        var at = 0;
        for (var i = 0; i < segments; i++)
        {
            at = text.IndexOf('/', at + 1);
            Debug.Assert(at > 0 || i == segments - 1, "the route guarantees the prefix");
            if (at < 0)
            {
                return "/";
            }
        }

        return text[at..];
    }

    private static Task ForwardAsync(HttpContext context, string name, GuestForwarder forwarder) =>
        forwarder.ForwardAsync(context, name, new GuestTarget(PathAfter(context.Request.Path, "/api/v1/vms/NAME/agent".Count('/'))));
}
