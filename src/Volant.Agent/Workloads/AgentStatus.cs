using Volant.Contracts.Api;
using Volant.Contracts;

namespace Volant.Agent.Workloads;

/// <summary>Values of <see cref="WorkloadState.Status"/>.</summary>
internal static class WorkloadStatus
{
    public const string Starting = "starting";
    public const string Running = "running";
    public const string Backoff = "backoff";
    public const string Failed = "failed";
    public const string Stopped = "stopped";
}

/// <summary>What the agent says of itself, with a version that rises with every change, so that readers can wait for the next one.</summary>
/// <remarks>Thread-safe: changes swap an immutable record.</remarks>
internal sealed class AgentStatus(TimeProvider clock)
{
    private readonly Lock _gate = new();
    private readonly List<string> _notes = [];
    private Entry _entry = new(1, new WorkloadState { Status = WorkloadStatus.Starting }, "It has not been started yet.");
    private TaskCompletionSource _changed = NewSignal();
    private bool _isGated;

    /// <summary>The state now.</summary>
    public AgentState Current
    {
        get
        {
            lock (_gate)
            {
                return Describe_NeedsLock();
            }
        }
    }

    /// <summary>Adds a sentence about the boot that readers should see for as long as the guest runs.</summary>
    public void Note(string sentence)
    {
        lock (_gate)
        {
            _notes.Add(sentence);
            Change_NeedsLock(_entry);
        }
    }

    /// <summary>Tells whether the guest waits for its identity.</summary>
    public void SetGated(bool isGated)
    {
        lock (_gate)
        {
            _isGated = isGated;
            Change_NeedsLock(_entry);
        }
    }

    /// <summary>Something that readers see beside the workload has changed, such as the guest's address.</summary>
    public void Refresh()
    {
        lock (_gate)
        {
            Change_NeedsLock(_entry);
        }
    }

    /// <summary>Tells what became of the workload; <c>Message</c> of <paramref name="workload"/> says why it does not run.</summary>
    public void SetWorkload(WorkloadState workload)
    {
        lock (_gate)
        {
            var unhealthy = workload.Status == WorkloadStatus.Running ? "The health check has not passed yet." : workload.Message ?? "It does not run.";
            Change_NeedsLock(new Entry(0, workload, unhealthy));
        }
    }

    /// <summary>Tells the outcome of a health check of the running workload: null when it is healthy, else why not.</summary>
    public void SetHealth(string? problem)
    {
        lock (_gate)
        {
            if (_entry.Workload.Status == WorkloadStatus.Running && _entry.Problem != problem)
            {
                Change_NeedsLock(_entry with { Problem = problem });
            }
        }
    }

    /// <summary>Waits until the version exceeds <paramref name="since"/>, at most for <paramref name="timeout"/>, and returns the state then.</summary>
    public async Task<AgentState> WaitAsync(long since, TimeSpan timeout, CancellationToken cancellationToken)
    {
        using var limit = new CancellationTokenSource(timeout, clock);
        using var either = CancellationTokenSource.CreateLinkedTokenSource(limit.Token, cancellationToken);
        while (true)
        {
            Task changed;
            lock (_gate)
            {
                if (_entry.Version > since || limit.IsCancellationRequested)
                {
                    return Describe_NeedsLock();
                }

                changed = _changed.Task;
            }

            try
            {
                await changed.WaitAsync(either.Token);
            }
            catch (OperationCanceledException) when (!cancellationToken.IsCancellationRequested)
            {
                // Time is up: the next round returns what is.
            }
        }
    }

    private static TaskCompletionSource NewSignal() => new(TaskCreationOptions.RunContinuationsAsynchronously);

    private void Change_NeedsLock(Entry entry)
    {
        _entry = entry with { Version = _entry.Version + 1 };
        _changed.SetResult();
        _changed = NewSignal();
    }

    private AgentState Describe_NeedsLock()
    {
        var problem = _isGated ? "The guest waits for its identity." : _entry.Problem;
        var isReady = _entry.Workload.Status == WorkloadStatus.Running && problem is null;
        var message = string.Join(' ', problem is not null && !isReady ? [.. _notes, problem] : _notes);
        return new AgentState
        {
            Revision = _entry.Version,
            Status = "ok",
            Ready = isReady,
            Gated = _isGated ? true : null,
            Version = ProductVersion.Text,
            Hostname = GuestFacts.Hostname,
            Kernel = GuestFacts.Kernel,
            Uptime = GuestFacts.UptimeMs / 1000.0,
            Addresses = GuestFacts.Addresses,
            Workload = _entry.Workload with { Message = message.Length > 0 ? message : null },
        };
    }

    private sealed record Entry(long Version, WorkloadState Workload, string? Problem);
}
