using System.Collections.Concurrent;
using Volant.Contracts.Api;
using Volant.Daemon.Events;
using Volant.Daemon.Store;

namespace Volant.Daemon.Orchestration.Deployments;

/// <summary>Every deployment with its loop; wakes a loop when one of its VMs changes.</summary>
internal sealed class DeploymentController(
    VolantStore store, VmOrchestrator orchestrator, PublishedPorts ports, Recovery recovery, EventBus events, TimeProvider clock, ILogger<DeploymentController> logger) : BackgroundService
{
    /// <summary>How long a request to delete waits for the VMs to go.</summary>
    public static readonly TimeSpan DeletePatience = TimeSpan.FromSeconds(30);

    private readonly ConcurrentDictionary<string, (DeploymentLoop Loop, Task Running)> _loops = new(StringComparer.Ordinal);
    private readonly Lock _gate = new();
    private CancellationToken _stopping;

    /// <summary>Records a deployment; its replicas are made from now on.</summary>
    /// <exception cref="VolantException">The request is wrong, or no VM could be started from its configuration.</exception>
    public async Task<DeploymentRecord> CreateAsync(CreateDeploymentRequest request, CancellationToken cancellationToken)
    {
        Reject(DeploymentRules.Validate(request));
        var (config, plan) = orchestrator.CheckConfig(request.Config!);
        using var held = new PortReservation();
        ports.Reserve(held, plan.Expose, plan.NetworkMode, static _ => false);
        var created = await store.InsertDeploymentAsync(request.Name!, request.Replicas ?? 1, config, WithDefaults(request.Strategy), held.Leases, cancellationToken);
        Wake(created.Name);
        await ports.SyncAsync();
        return created;
    }

    /// <summary>Changes what is wanted of a deployment.</summary>
    /// <exception cref="VolantException">The request is wrong, or <c>version_conflict</c>.</exception>
    public async Task<DeploymentRecord> ChangeAsync(string name, Func<int, bool> expected, UpdateDeploymentRequest request, CancellationToken cancellationToken)
    {
        Reject(DeploymentRules.Validate(request));
        using var held = new PortReservation();
        VmConfig? config = null;
        if (request.Config is { } wanted)
        {
            (config, var plan) = orchestrator.CheckConfig(wanted);
            ports.Reserve(held, plan.Expose, plan.NetworkMode, route => route.Deployment == name);
        }

        var changed = await store.ChangeDeploymentAsync(
            name, expected, request.Replicas, config, request.Strategy is { } strategy ? WithDefaults(strategy) : null, held.Leases, cancellationToken);
        Wake(name);
        await ports.SyncAsync();
        return changed;
    }

    /// <summary>Deletes a deployment with its VMs.</summary>
    /// <exception cref="VolantException"><c>deployment_not_found</c>, or <c>deployment_incomplete</c> with the VMs that could not be deleted yet.</exception>
    public async Task DeleteAsync(string name, CancellationToken cancellationToken)
    {
        await store.BeginDeleteDeploymentAsync(name, cancellationToken);
        var loop = Wake(name);
        try
        {
            await loop.Gone.Task.WaitAsync(DeletePatience, clock, cancellationToken);
        }
        catch (TimeoutException e)
        {
            var left = store.FindDeployment(name) is { } deployment ? store.ListReplicas(deployment.Id).Select(replica => replica.Vm.Name).Order(StringComparer.Ordinal).ToList() : [];
            throw new VolantException(
                ErrorCodes.DeploymentIncomplete,
                $"Deployment '{name}' still has {left.Count} VMs ({string.Join(", ", left.Take(10))}){(loop.DeleteFailure is { } why ? $": {why.TrimEnd('.')}" : string.Empty)}. It is tried again until they are gone.",
                e);
        }
    }

    /// <inheritdoc/>
    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        _stopping = stoppingToken;
        try
        {
            await recovery.Completed.WaitAsync(stoppingToken);
            while (true)
            {
                var subscription = events.Open(after: null, stoppingToken);
                foreach (var deployment in store.ListDeployments(int.MaxValue, 0).Deployments)
                {
                    Wake(deployment.Name);
                }

                // Ends when it fell behind; then everything is looked at again.
                await foreach (var next in subscription.Events.WithCancellation(stoppingToken))
                {
                    if (next.Event.Name.LastIndexOf('-') is > 0 and var dash && _loops.TryGetValue(next.Event.Name[..dash], out var entry))
                    {
                        entry.Loop.Wake();
                    }
                }
            }
        }
        catch (OperationCanceledException) when (stoppingToken.IsCancellationRequested)
        {
            await Task.WhenAll(_loops.Values.Select(entry => entry.Running));
        }
    }

    /// <summary>The loop of a deployment, started when there is none, told to look again.</summary>
    private DeploymentLoop Wake(string name)
    {
        lock (_gate)
        {
            if (!_loops.TryGetValue(name, out var entry) || entry.Running.IsCompleted)
            {
                var loop = new DeploymentLoop(name, store, orchestrator, ports, clock, logger);
                entry = (loop, Task.Run(() => RunAsync(loop), CancellationToken.None));
                _loops[name] = entry;
            }

            entry.Loop.Wake();
            return entry.Loop;
        }
    }

    private async Task RunAsync(DeploymentLoop loop)
    {
        // VMs that are not known to live would be replaced.
        await recovery.Completed;
        await loop.RunAsync(_stopping);
    }

    private static RolloutStrategy WithDefaults(RolloutStrategy? strategy) => new()
    {
        MaxSurge = strategy?.MaxSurge ?? 1,
        MaxUnavailable = strategy?.MaxUnavailable ?? 0,
        ProgressDeadlineSeconds = strategy?.ProgressDeadlineSeconds ?? 600,
    };

    private static void Reject(IReadOnlyList<Contracts.FieldError> faults)
    {
        if (faults.Count > 0)
        {
            throw new VolantException(ErrorCodes.InvalidRequest, $"The request is not valid: {string.Join("; ", faults.Select(fault => $"{fault.Path} {fault.Message}"))}.") { Fields = faults };
        }
    }
}
