using System.ComponentModel;
using System.Diagnostics.CodeAnalysis;
using Microsoft.AspNetCore.Http;
using Volant.Agent.Http;
using Volant.Agent.Workloads;
using Volant.Contracts;
using Volant.Contracts.Api;

namespace Volant.Agent.Identity;

/// <summary><c>POST /v1/agent/identify</c> opens the gate, <c>POST /v1/agent/prepare-snapshot</c> closes it.</summary>
/// <param name="gate">The gate.</param>
/// <param name="status">The answer of both.</param>
/// <param name="apply">Takes a valid identity over.</param>
/// <param name="prepare">Brings everything into a state that may be copied.</param>
[SuppressMessage("Reliability", "CA1001", Justification = "It lives as long as the agent, and a semaphore without a wait handle has nothing to free.")]
internal sealed class IdentityRoutes(Gate gate, AgentStatus status, Func<IdentifyRequest, CancellationToken, Task> apply, Action prepare)
{
    private const int MaxBytes = 16 * 1024;
    private const RouteTraits Traits = RouteTraits.HostOnly | RouteTraits.Ungated;

    private readonly SemaphoreSlim _turn = new(1, 1);

    /// <summary>The routes.</summary>
    public IEnumerable<AgentRoute> Routes =>
    [
        new("POST", "/v1/agent/identify", IdentifyAsync, Traits),
        new("POST", "/v1/agent/prepare-snapshot", PrepareAsync, Traits),
    ];

    private async Task IdentifyAsync(HttpContext context)
    {
        try
        {
            var request = await Json.ReadAsync(context, ContractsJson.Strict.IdentifyRequest, MaxBytes);
            var faults = GuestIdentity.FaultsOf(request).ToList();
            if (faults.Count > 0)
            {
                throw new FormatException($"The identity is not valid: {string.Join("; ", faults.Select(fault => $"{fault.Path} {fault.Message}"))}.");
            }

            await _turn.WaitAsync(context.RequestAborted);
            try
            {
                if (gate.IsOpen)
                {
                    await Problems.WriteAsync(context, 409, ErrorCodes.AlreadyIdentified, "The guest has its identity; only one that was made for a snapshot or restored from one takes another.");
                    return;
                }

                await apply(request, context.RequestAborted);
                gate.Open();
            }
            finally
            {
                _turn.Release();
            }

            await Json.WriteAsync(context, 200, status.Current, ContractsJson.Readable.AgentState);
        }
        catch (FormatException e)
        {
            await Problems.WriteAsync(context, 400, ErrorCodes.InvalidRequest, e.Message);
        }
        catch (Exception e) when (e is Win32Exception or IOException)
        {
            await Problems.WriteAsync(context, 502, ErrorCodes.GuestError, $"The guest could not take its identity over: {e.Message.TrimEnd('.')}.");
        }
    }

    private async Task PrepareAsync(HttpContext context)
    {
        gate.Close();
        prepare();
        await Json.WriteAsync(context, 200, status.Current, ContractsJson.Readable.AgentState);
    }
}
