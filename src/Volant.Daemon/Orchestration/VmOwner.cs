using System.Collections.Concurrent;
using Volant.Contracts.Api;
using Volant.Daemon.Guests;
using Volant.Daemon.Hypervisors;
using Volant.Daemon.Logs;
using Volant.Daemon.Store;

namespace Volant.Daemon.Orchestration;

/// <summary>The one owner of a VM: runs its operations one after another.</summary>
internal sealed class VmOwner(long id, string name, string? deployment) : IDisposable
{
    /// <summary>Most operations that may wait for one VM.</summary>
    public const int MaxOperations = 64;

    /// <summary>Number of the VM.</summary>
    public long Id { get; } = id;

    /// <summary>Name of the VM.</summary>
    public string Name { get; } = name;

    /// <summary>The deployment that it belongs to.</summary>
    public string? Deployment { get; } = deployment;

    /// <summary>The daemon has started and does not know yet whether the VM runs.</summary>
    public bool Recovering { get; set; }

    /// <summary>Held by whoever changes the VM; at first by whoever made the owner.</summary>
    public SemaphoreSlim Lane { get; } = new(0, 1);

    /// <summary>Operations that wait for the lane or hold it, at most <see cref="MaxOperations"/>.</summary>
    public int Operations;

    /// <summary>The hypervisor that is alive; written while <see cref="Lane"/> is held.</summary>
    public VmRun? Run { get; set; }

    /// <inheritdoc/>
    public void Dispose() => Lane.Dispose();
}

/// <summary>One life of a VM's hypervisor, from launch or adoption to exit.</summary>
internal sealed class VmRun : IAsyncDisposable
{
    private readonly CancellationTokenSource _ended = new();
    private readonly TaskCompletionSource _outOfTime = new(TaskCreationOptions.RunContinuationsAsynchronously);

    private volatile bool _isReady;

    /// <param name="vm">See <see cref="Vm"/>.</param>
    /// <param name="process">The hypervisor.</param>
    /// <param name="guest">The agent inside.</param>
    /// <param name="launchedAt">See <see cref="LaunchedAt"/>.</param>
    public VmRun(Vm vm, VmProcess process, GuestClient guest, long launchedAt)
    {
        Vm = vm;
        _isReady = vm.Ready;
        Process = process;
        Guest = guest;
        LaunchedAt = launchedAt;
        Ended = _ended.Token;
    }

    /// <summary>The VM as it was when the run began.</summary>
    public Vm Vm { get; }

    /// <summary>The hypervisor.</summary>
    public VmProcess Process { get; }

    /// <summary>The agent inside.</summary>
    public GuestClient Guest { get; }

    /// <summary>What brings the workload's lines to the host.</summary>
    public RunLog? Log { get; set; }

    /// <summary>Monotonic time of the launch, as <see cref="TimeProvider.GetTimestamp"/> gives it; 0 for an adopted one.</summary>
    public long LaunchedAt { get; }

    /// <summary>Who asked for a stop, so that the exit is no crash; null when nobody did.</summary>
    public string? StopAskedBy { get; set; }

    /// <summary>Whether the agent has answered in this run.</summary>
    public bool AgentSeen { get; set; }

    /// <summary>Whether the workload serves, as far as is known at this moment.</summary>
    public bool IsReady
    {
        get => _isReady;
        set => _isReady = value;
    }

    /// <summary>Why the guest cannot be reached by its network until it is started again; null while it can.</summary>
    public string? NetworkFault { get; set; }

    /// <summary>Ports that the configuration of a replica publishes.</summary>
    public IReadOnlyList<ExposedPort> Exposed { get; init; } = [];

    /// <summary>Why the daemon itself ended the hypervisor, if it did.</summary>
    public string? KilledBecause { get; set; }

    /// <summary>Completes when the VM became ready; faults when the run ended before.</summary>
    public TaskCompletionSource Ready { get; } = new(TaskCreationOptions.RunContinuationsAsynchronously);

    /// <summary>Cancelled when the run is over.</summary>
    public CancellationToken Ended { get; }

    /// <summary>Completes when the guest has had all the time to power off that somebody gave it.</summary>
    public Task OutOfTime => _outOfTime.Task;

    /// <summary>Gives the guest some time to power off; of several who do the least patient one counts.</summary>
    public void EndWithin(TimeSpan time, TimeProvider clock)
    {
        if (time <= TimeSpan.Zero)
        {
            _outOfTime.TrySetResult();
        }
        else
        {
            _ = WaitAsync();
        }

        async Task WaitAsync()
        {
            await Task.Delay(time, clock, Ended).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
            _outOfTime.TrySetResult();
        }
    }

    /// <summary>Lets go of process and agent; ends neither.</summary>
    public async ValueTask DisposeAsync()
    {
        await _ended.CancelAsync();
        await Guest.DisposeAsync();
        await Process.DisposeAsync();
        _ended.Dispose();
    }
}

/// <summary>The owners of all VMs by name. Disposing it lets go of every hypervisor and ends none.</summary>
internal sealed class VmOwners : IAsyncDisposable
{
    private readonly ConcurrentDictionary<string, VmOwner> _owners = new(StringComparer.Ordinal);

    /// <summary>Registers the owner of a VM that is in the store. The caller holds its lane from the first moment.</summary>
    public VmOwner Add(VmRecord vm) => _owners[vm.Name] = new VmOwner(vm.Id, vm.Name, vm.Vm.Deployment);

    /// <summary>The owner of a VM.</summary>
    /// <exception cref="VolantException"><c>vm_not_found</c>.</exception>
    public VmOwner Get(string name) => Find(name) ?? throw NotFound(name);

    /// <summary>The owner of a VM; null when there is none of that name.</summary>
    public VmOwner? Find(string name) => _owners.GetValueOrDefault(name);

    /// <summary>The run of a VM; null when it does not run.</summary>
    public VmRun? FindRun(string name) => Find(name)?.Run;

    /// <summary>The runs of a deployment's VMs that serve.</summary>
    public IEnumerable<VmRun> ReadyRuns(string deployment) => from owner in _owners.Values where owner.Deployment == deployment && owner.Run is { IsReady: true } select owner.Run;

    /// <summary>Removes the owner of a VM that is gone; another VM may have taken the name since.</summary>
    public void Remove(VmOwner owner) => _owners.TryRemove(KeyValuePair.Create(owner.Name, owner));

    /// <summary>The running agent of a VM.</summary>
    /// <inheritdoc cref="GetRun"/>
    public GuestClient GetGuest(string name) => GetRun(name).Guest;

    /// <summary>The hypervisor of a VM that runs.</summary>
    /// <exception cref="VolantException"><c>vm_not_found</c>, <c>vm_not_running</c>, or <c>unavailable</c> while the daemon takes it over.</exception>
    public VmRun GetRun(string name)
    {
        var owner = Get(name);
        return owner.Run ?? throw (owner.Recovering
            ? new VolantException(ErrorCodes.Unavailable, $"The daemon has just started and takes over VM '{name}'; try again shortly.")
            : new VolantException(ErrorCodes.VmNotRunning, $"VM '{name}' is not running; start it with 'volar vms start {name}'."));
    }

    /// <inheritdoc/>
    public async ValueTask DisposeAsync()
    {
        await Parallel.ForEachAsync(_owners.Values, async (owner, _) =>
        {
            if (owner.Run is { } run)
            {
                owner.Run = null;
                await run.DisposeAsync();
            }
        });
    }

    /// <summary>The failure of every look-up.</summary>
    public static VolantException NotFound(string name) => VolantStore.NoVm(name);
}
