using Volant.Agent.Workloads;
using Volant.Contracts;
using Volant.Contracts.Api;

namespace Volant.Agent.Http;

/// <summary><c>GET /v1/metrics</c>: see <see cref="GuestMetrics"/>.</summary>
/// <param name="measurements">Reads the kernel's counters.</param>
/// <param name="commands">How many commands run.</param>
internal sealed class MetricsRoutes(Measurements measurements, Func<int> commands)
{
    /// <summary>The routes.</summary>
    public IEnumerable<AgentRoute> Routes =>
        [new("GET", "/v1/metrics", context => Json.WriteAsync(context, 200, measurements.Read(commands()), ContractsJson.Readable.GuestMetrics))];
}
