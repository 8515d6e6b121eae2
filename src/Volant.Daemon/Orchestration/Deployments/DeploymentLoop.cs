using System.Collections.Concurrent;
using System.Globalization;
using System.Threading.Channels;
using Volant.Contracts.Api;
using Volant.Daemon.Store;

namespace Volant.Daemon.Orchestration.Deployments;

/// <summary>Makes the replicas of one deployment follow what is wanted, for as long as the deployment exists.</summary>
/// <remarks>Everything is decided from what is observed at that moment; what it remembers are delays, and those are lost with the daemon.</remarks>
internal sealed partial class DeploymentLoop(string name, VolantStore store, VmOrchestrator orchestrator, PublishedPorts ports, TimeProvider clock, ILogger logger)
{
    /// <summary>Replicas that are made or deleted at a time.</summary>
    public const int Concurrency = 4;

    /// <summary>How long a running replica may be without being ready before it is replaced.</summary>
    public static readonly TimeSpan UnhealthyAfter = TimeSpan.FromSeconds(150);

    private static readonly TimeSpan LongestSleep = TimeSpan.FromSeconds(30);

    private readonly Channel<bool> _wake = Channel.CreateBounded<bool>(new BoundedChannelOptions(1) { FullMode = BoundedChannelFullMode.DropWrite });
    private readonly ReplicaBackoff _backoff = new(clock);
    private readonly Dictionary<Guid, long> _notReadySince = [];
    private (int Version, int Updated, long At) _progress = (0, 0, 0);
    private int _version;

    /// <summary>Completes when a pass has ended in which nothing of a deployment that is being deleted was left.</summary>
    public TaskCompletionSource Gone { get; } = new(TaskCreationOptions.RunContinuationsAsynchronously);

    /// <summary>What kept replicas from being deleted in the last pass.</summary>
    public string? DeleteFailure { get; private set; }

    /// <summary>Something has changed: look again.</summary>
    public void Wake() => _wake.Writer.TryWrite(true);

    /// <summary>Runs until the deployment is gone or the daemon stops.</summary>
    public async Task RunAsync(CancellationToken stopping)
    {
        while (!stopping.IsCancellationRequested)
        {
            var pause = LongestSleep;
            try
            {
                if (store.FindDeployment(name) is not { } deployment)
                {
                    Gone.TrySetResult();
                    return;
                }

                pause = await PassAsync(deployment, stopping);
            }
            catch (OperationCanceledException) when (stopping.IsCancellationRequested)
            {
                return;
            }
            catch (Exception e)
            {
                LogPassFailed(e, name);
                pause = TimeSpan.FromSeconds(1);
            }

            await SleepAsync(pause, stopping);
        }
    }

    /// <summary>Observes, plans and acts once; returns the time until the next look.</summary>
    private async Task<TimeSpan> PassAsync(DeploymentRecord deployment, CancellationToken stopping)
    {
        if (_version != deployment.Version)
        {
            _version = deployment.Version;
            _backoff.Clear();
        }

        var observed = Observe(deployment);
        if (deployment.Deleting && observed.Count == 0 && await store.DeleteDeploymentAsync(deployment.Id, CancellationToken.None))
        {
            await ports.SyncAsync();
            return TimeSpan.Zero;
        }

        if (await SettleRolloutAsync(deployment, observed))
        {
            return TimeSpan.Zero;
        }

        var plan = RolloutPlan.Make(RolloutGoal.Of(deployment), observed);
        foreach (var broken in observed.Where(replica => replica.Broken))
        {
            _backoff.Fail(broken.Index);
        }

        var due = plan.Create.Where(index => _backoff.Remaining(index) == TimeSpan.Zero).ToList();
        var failures = await ActAsync(deployment, plan.Delete, due, stopping);
        DeleteFailure = deployment.Deleting && failures.Count > 0 ? string.Join("; ", failures.Values) : null;
        await SettleMessageAsync(deployment, observed, plan, failures);
        if (plan.Delete.Count > 0 || due.Count > failures.Count)
        {
            return failures.Count == 0 ? TimeSpan.Zero : TimeSpan.FromSeconds(1);
        }

        // What became due since this pass began is due at once: passed over, it would wait for the longest sleep.
        var waits = plan.Create.Select(_backoff.Remaining).DefaultIfEmpty(LongestSleep).Min();
        return waits < LongestSleep ? waits : LongestSleep;
    }

    private List<Replica> Observe(DeploymentRecord deployment)
    {
        var replicas = new List<Replica>();
        var seen = new HashSet<Guid>();
        foreach (var (vm, revision) in store.ListReplicas(deployment.Id))
        {
            var index = int.Parse(vm.Name.AsSpan(name.Length + 1), NumberStyles.None, CultureInfo.InvariantCulture);
            var ready = vm.Vm is { Status: VmStatus.Running, Ready: true } && !vm.Deleting;
            _backoff.Observe(index, ready);
            seen.Add(vm.Vm.Uid);
            replicas.Add(new Replica(index, revision, ready, IsBroken(vm, ready)));
        }

        foreach (var uid in _notReadySince.Keys.Where(uid => !seen.Contains(uid)).ToList())
        {
            _notReadySince.Remove(uid);
        }

        return replicas;
    }

    private bool IsBroken(VmRecord vm, bool ready)
    {
        if (ready || vm.Vm.Status != VmStatus.Running)
        {
            _notReadySince.Remove(vm.Vm.Uid);
            return vm.Deleting || (vm.Vm.Status is VmStatus.Crashed or VmStatus.Stopped && vm.Vm.RestartAt is null);
        }

        _notReadySince.TryAdd(vm.Vm.Uid, clock.GetTimestamp());
        return clock.GetElapsedTime(_notReadySince[vm.Vm.Uid]) > UnhealthyAfter;
    }

    /// <summary>Notes that a roll-out is complete, or ends one that has come to nothing; true when the deployment has changed.</summary>
    private async Task<bool> SettleRolloutAsync(DeploymentRecord deployment, List<Replica> observed)
    {
        var wanted = deployment.Deployment;
        if (deployment.Deleting || deployment.GoodRevision == wanted.Revision)
        {
            return false;
        }

        var updated = observed.Count(replica => replica.Ready && replica.Revision == wanted.Revision && replica.Index <= wanted.DesiredReplicas);
        if (updated == wanted.DesiredReplicas)
        {
            await store.SetGoodRevisionAsync(deployment.Id, wanted.Revision, CancellationToken.None);
            await ports.SyncAsync();
            return true;
        }

        if (_progress.Version != deployment.Version || updated > _progress.Updated || _progress.At == 0)
        {
            _progress = (deployment.Version, updated, clock.GetTimestamp());
            return false;
        }

        var deadline = TimeSpan.FromSeconds(wanted.Strategy.ProgressDeadlineSeconds ?? 600);
        if (deployment.GoodRevision is not { } good || clock.GetElapsedTime(_progress.At) <= deadline)
        {
            return false;
        }

        var message = string.Create(
            CultureInfo.InvariantCulture,
            $"revision {wanted.Revision} was rolled back to revision {good}: {updated} of {wanted.DesiredReplicas} replicas were ready and no other became so within {deadline.TotalSeconds:0} s{Because(wanted.Message)}");
        LogRolledBack(name, message);
        var rolledBack = await store.RollBackAsync(deployment.Id, wanted.Revision, message, CancellationToken.None);
        await ports.SyncAsync();
        return rolledBack;
    }

    private static string Because(string? message) => message is null ? string.Empty : $" ({message})";

    /// <summary>Deletes and makes replicas, a few at a time; returns what failed by index.</summary>
    private async Task<IReadOnlyDictionary<int, string>> ActAsync(DeploymentRecord deployment, IReadOnlyList<int> delete, IReadOnlyList<int> create, CancellationToken stopping)
    {
        var failures = new ConcurrentDictionary<int, string>();
        var failedToCreate = new ConcurrentBag<int>();
        var bound = new ParallelOptions { MaxDegreeOfParallelism = Concurrency, CancellationToken = stopping };
        await Parallel.ForEachAsync(delete, bound, async (index, _) =>
        {
            try
            {
                await orchestrator.DeleteAsync(NameOf(index), CancellationToken.None, OwnOnly(deployment));
            }
            catch (VolantException e) when (e.Code == ErrorCodes.VmNotFound)
            {
                // Somebody else was quicker.
            }
            catch (Exception e)
            {
                failures[index] = $"{NameOf(index)} could not be deleted: {e.Message}";
            }
        });
        await Parallel.ForEachAsync(create, bound, async (index, _) =>
        {
            try
            {
                // A hundred replicas take a while; the wish may have changed meanwhile.
                if (store.FindDeployment(name)?.Version == deployment.Version)
                {
                    await orchestrator.CreateAsync(
                        new CreateVmRequest { Name = NameOf(index), Config = deployment.Deployment.Config }, CancellationToken.None, spawned: null,
                        new ReplicaOf(deployment.Id, name, deployment.Deployment.Revision));
                }
            }
            catch (Exception e)
            {
                failedToCreate.Add(index);
                failures[index] = e is VolantException { Code: ErrorCodes.VmExists }
                    ? $"{NameOf(index)} cannot be made: a VM of that name exists that does not belong to the deployment"
                    : $"{NameOf(index)} cannot be made: {e.Message}";
            }
        });
        foreach (var index in failedToCreate)
        {
            _backoff.Fail(index);
        }

        return failures;
    }

    private async Task SettleMessageAsync(DeploymentRecord deployment, List<Replica> observed, RolloutPlan plan, IReadOnlyDictionary<int, string> failures)
    {
        var wanted = deployment.Deployment;
        var message = failures.Count > 0 ? string.Join("; ", failures.OrderBy(failure => failure.Key).Take(3).Select(failure => failure.Value)) + (failures.Count > 3 ? $"; and {failures.Count - 3} more" : string.Empty)
            : observed.FirstOrDefault(replica => replica.Broken) is { } broken ? Explain(broken.Index)
            : plan.Create.Any(index => _backoff.Remaining(index) > TimeSpan.Zero) ? wanted.Message

            // A roll-back stays to be read until somebody changes the deployment.
            : wanted.Message?.Contains(" was rolled back to ", StringComparison.Ordinal) == true ? wanted.Message
            : observed.Count(replica => replica.Ready) < wanted.DesiredReplicas && wanted.Message is not null && observed.Any(replica => !replica.Ready) ? wanted.Message
            : null;
        if (message != wanted.Message)
        {
            await store.SetDeploymentMessageAsync(deployment.Id, message, CancellationToken.None);
        }
    }

    private string Explain(int index)
    {
        var vm = store.FindVm(NameOf(index))?.Vm;
        return $"{NameOf(index)} is replaced: {vm?.LastError ?? vm?.Exit?.Reason ?? "it was not ready for too long"}";
    }

    private static Action<VmRecord> OwnOnly(DeploymentRecord deployment) => vm =>
    {
        if (vm.Vm.Deployment != deployment.Name)
        {
            throw new VolantException(ErrorCodes.VmStatusConflict, $"VM '{vm.Name}' does not belong to deployment '{deployment.Name}'.");
        }
    };

    private string NameOf(int index) => string.Create(CultureInfo.InvariantCulture, $"{name}-{index}");

    private async Task SleepAsync(TimeSpan pause, CancellationToken stopping)
    {
        using var sleep = CancellationTokenSource.CreateLinkedTokenSource(stopping);
        var wake = _wake.Reader.WaitToReadAsync(sleep.Token).AsTask();
        await Task.WhenAny(wake, Task.Delay(pause, clock, sleep.Token));
        _wake.Reader.TryRead(out _);
        await sleep.CancelAsync();
    }

    [LoggerMessage(EventId = 1401, Level = LogLevel.Error, Message = "Deployment {Deployment} could not be looked after; trying again")]
    private partial void LogPassFailed(Exception exception, string deployment);

    [LoggerMessage(EventId = 1402, Level = LogLevel.Warning, Message = "Deployment {Deployment}: {What}")]
    private partial void LogRolledBack(string deployment, string what);
}
