using Microsoft.AspNetCore.Hosting.Server;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Http.Features;
using Volant.Agent.Identity;
using Volant.Agent.Transport;
using Volant.Agent.Workloads;
using Volant.Contracts.Api;

namespace Volant.Agent.Http;

/// <summary>Every request of the agent: its own routes, everything else is the workload's.</summary>
/// <remarks>It serves from the first moment: a request for anything but the first routes waits until <see cref="Complete"/> has told the rest.</remarks>
/// <param name="first">Routes that need nothing to be known of the manifest.</param>
/// <param name="gate">While it is closed, nothing but what may bring it to open is served.</param>
/// <param name="status">Says why there is no workload.</param>
internal sealed class AgentApplication(IEnumerable<AgentRoute> first, Gate gate, AgentStatus status) : IHttpApplication<HttpContext>
{
    private const string OwnPrefix = "/v1/agent/";

    private readonly Dictionary<string, AgentRoute[]> _first = Table(first);
    private readonly TaskCompletionSource<Rest> _rest = new(TaskCreationOptions.RunContinuationsAsynchronously);

    /// <inheritdoc/>
    public HttpContext CreateContext(IFeatureCollection contextFeatures) => new DefaultHttpContext(contextFeatures);

    /// <inheritdoc/>
    public void DisposeContext(HttpContext context, Exception? exception)
    {
    }

    /// <inheritdoc/>
    public Task ProcessRequestAsync(HttpContext context)
    {
        var path = context.Request.Path.Value ?? string.Empty;
        return _first.TryGetValue(path, out var own) ? ServeAsync(context, own) : ServeRestAsync(context, path);
    }

    /// <summary>Tells what else is served.</summary>
    /// <param name="routes">Further routes of the agent.</param>
    /// <param name="workload">Takes all others; null when there is no workload that serves HTTP.</param>
    public void Complete(IEnumerable<AgentRoute> routes, PassThrough? workload) => _rest.SetResult(new Rest(Table(routes), workload));

    private async Task ServeRestAsync(HttpContext context, string path)
    {
        try
        {
            await ServeRestAsync(context, path, await _rest.Task.WaitAsync(context.RequestAborted));
        }
        catch (OperationCanceledException) when (context.RequestAborted.IsCancellationRequested)
        {
            // The caller left.
        }
    }

    private Task ServeRestAsync(HttpContext context, string path, Rest rest)
    {
        if (rest.Routes.TryGetValue(path, out var own))
        {
            return ServeAsync(context, own);
        }

        if (!gate.IsOpen)
        {
            return RefuseGatedAsync(context);
        }

        return path switch
        {
            _ when path.StartsWith(OwnPrefix, StringComparison.Ordinal) =>
                Problems.WriteAsync(context, 404, ErrorCodes.NotFound, $"The agent has no route {path}; it may be older than the caller."),
            _ when rest.Workload is not null => rest.Workload.HandleAsync(context),
            _ when status.Current.Workload.Status is WorkloadStatus.Failed =>
                Problems.WriteAsync(context, 503, ErrorCodes.Unavailable, $"There is no workload. {status.Current.Workload.Message}".TrimEnd()),
            _ => Problems.WriteAsync(context, 404, ErrorCodes.NotFound, "The workload serves no HTTP: its manifest has no 'workload.base_url'."),
        };
    }

    private Task ServeAsync(HttpContext context, AgentRoute[] own)
    {
        var method = context.Request.Method;
        if (Array.Find(own, route => route.Method == method || (route.Method == "GET" && method == "HEAD")) is not { } found)
        {
            context.Response.Headers.Allow = string.Join(", ", own.Select(route => route.Method));
            return Problems.WriteAsync(context, 405, ErrorCodes.InvalidRequest, $"{context.Request.Path} takes {context.Response.Headers.Allow}, not {method}.");
        }

        if (found.Traits.HasFlag(RouteTraits.HostOnly) && context.Features.Get<HostChannel>() is null)
        {
            return Problems.WriteAsync(context, 403, ErrorCodes.Forbidden, $"{context.Request.Path} is for the host alone, over the guest channel.");
        }

        return gate.IsOpen || found.Traits.HasFlag(RouteTraits.Ungated) ? found.Handle(context) : RefuseGatedAsync(context);
    }

    private static Dictionary<string, AgentRoute[]> Table(IEnumerable<AgentRoute> routes) =>
        routes.GroupBy(route => route.Path, StringComparer.Ordinal).ToDictionary(path => path.Key, path => path.ToArray(), StringComparer.Ordinal);

    private static Task RefuseGatedAsync(HttpContext context) => Problems.WriteAsync(
        context, 503, ErrorCodes.Unavailable, "The guest waits for its identity: it was started to be copied, or is a copy. The host opens it with POST /v1/agent/identify.");

    private sealed record Rest(Dictionary<string, AgentRoute[]> Routes, PassThrough? Workload);
}
