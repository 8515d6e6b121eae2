using System.Globalization;
using System.Threading.RateLimiting;
using Volant.Contracts.Api;
using Volant.Daemon.Telemetry;

namespace Volant.Daemon.Api;

/// <summary>Bounds the expensive calls of each client: what launches, forwards or writes.</summary>
internal static class RateLimits
{
    /// <summary>Name of the policy of expensive routes.</summary>
    public const string Expensive = "expensive";

    /// <summary>Adds the policy: <see cref="DaemonOptions.RateLimit"/> calls a second, and twice as many at once.</summary>
    public static void AddRateLimits(this IServiceCollection services, DaemonOptions options) => services.AddRateLimiter(limiter =>
    {
        limiter.RejectionStatusCode = StatusCodes.Status429TooManyRequests;
        limiter.OnRejected = async (rejected, _) =>
        {
            Instruments.Refusals.Add(1, new KeyValuePair<string, object?>("rule", "rate"));
            var wait = rejected.Lease.TryGetMetadata(MetadataName.RetryAfter, out var after) ? after : TimeSpan.FromSeconds(1);
            rejected.HttpContext.Response.Headers.RetryAfter = Math.Max(1, (int)Math.Ceiling(wait.TotalSeconds)).ToString(CultureInfo.InvariantCulture);
            await Problems.WriteAsync(rejected.HttpContext, 429, ErrorCodes.TooManyRequests, $"More than {options.RateLimit} expensive calls a second; slow down, or raise VOLANT_RATE_LIMIT.");
        };
        limiter.AddPolicy(Expensive, context => options.RateLimit == 0
            ? RateLimitPartition.GetNoLimiter(string.Empty)
            : RateLimitPartition.GetTokenBucketLimiter(Caller.Address(context), _ => new TokenBucketRateLimiterOptions
            {
                TokenLimit = 2 * options.RateLimit,
                TokensPerPeriod = options.RateLimit,
                ReplenishmentPeriod = TimeSpan.FromSeconds(1),
                QueueLimit = 0,
            }));
    });
}
