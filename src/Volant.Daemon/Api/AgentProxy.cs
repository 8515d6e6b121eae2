using Microsoft.AspNetCore.Http.Timeouts;

namespace Volant.Daemon.Api;

/// <summary><c>/api/v1/vms/{name}/agent/…</c>: streaming reverse proxy into the guest.</summary>
internal static class AgentProxy
{
    private const int SegmentsBefore = 5;

    public static void MapAgentProxy(this IEndpointRouteBuilder routes) =>
        routes.Map("/api/v1/vms/{name}/agent/{**path}", (HttpContext context, string name, GuestForwarder forwarder) => forwarder.ForwardAsync(context, name, new GuestTarget(PathAfterAgent(context.Request.Path))))
            .WithTags("agent").WithMetadata(new RequestLimit(null)).WithMetadata(new DisableRequestTimeoutAttribute()).ExcludeFromDescription();

    /// <summary>What follows <c>/api/v1/vms/NAME/agent</c>, as it was written: the route's own value has lost empty segments.</summary>
    private static PathString PathAfterAgent(PathString path)
    {
        var text = path.Value!;
        var at = 0;
        for (var i = 0; i < SegmentsBefore; i++)
        {
            at = text.IndexOf('/', at + 1);
            if (at < 0)
            {
                return "/";
            }
        }

        return text[at..];
    }
}
