using System.Globalization;
using System.Threading.RateLimiting;
using Microsoft.AspNetCore.RateLimiting;
using Volant.Contracts.Api;
using Volant.Daemon.Telemetry;

namespace Volant.Daemon.Api;

/// <summary>Bounds the expensive calls of each client: what launches, forwards or writes. <see cref="DaemonOptions.RateLimit"/> a second, and twice as many at once.</summary>
/// <remarks>One bucket for each client, whichever way the call comes: a route of its own, or a route that carries many kinds of call.</remarks>
internal sealed class RateLimits(DaemonOptions options) : IDisposable
{
    /// <summary>What expensive routes are marked with.</summary>
    public const string Expensive = "expensive";

    private readonly PartitionedRateLimiter<string> _buckets = PartitionedRateLimiter.Create<string, string>(client => options.RateLimit == 0
        ? RateLimitPartition.GetNoLimiter(string.Empty)
        : RateLimitPartition.GetTokenBucketLimiter(client, _ => new TokenBucketRateLimiterOptions
        {
            TokenLimit = 2 * options.RateLimit,
            TokensPerPeriod = options.RateLimit,
            ReplenishmentPeriod = TimeSpan.FromSeconds(1),
            QueueLimit = 0,
        }));

    /// <summary>The middleware: takes a call from the client's bucket when the route is marked as <see cref="Expensive"/>.</summary>
    public async Task InvokeAsync(HttpContext context, RequestDelegate next)
    {
        if (context.GetEndpoint()?.Metadata.GetMetadata<EnableRateLimitingAttribute>() is not null && Refusal(context) is { } refusal)
        {
            context.Response.Headers.RetryAfter = Math.Max(1, (int)Math.Ceiling(refusal.Wait.TotalSeconds)).ToString(CultureInfo.InvariantCulture);
            await Problems.WriteAsync(context, StatusCodes.Status429TooManyRequests, ErrorCodes.TooManyRequests, refusal.Message);
            return;
        }

        await next(context);
    }

    /// <summary>Takes a call from the bucket of the request's client.</summary>
    /// <exception cref="VolantException"><c>too_many_requests</c>.</exception>
    public void Take(HttpContext context)
    {
        if (Refusal(context) is { } refusal)
        {
            throw new VolantException(ErrorCodes.TooManyRequests, refusal.Message);
        }
    }

    /// <inheritdoc/>
    public void Dispose() => _buckets.Dispose();

    private (string Message, TimeSpan Wait)? Refusal(HttpContext context)
    {
        using var lease = _buckets.AttemptAcquire(Caller.Address(context));
        if (lease.IsAcquired)
        {
            return null;
        }

        Instruments.Refusals.Add(1, new KeyValuePair<string, object?>("rule", "rate"));
        return ($"More than {options.RateLimit} expensive calls a second; slow down, or raise VOLANT_RATE_LIMIT.",
            lease.TryGetMetadata(MetadataName.RetryAfter, out var after) ? after : TimeSpan.FromSeconds(1));
    }
}
