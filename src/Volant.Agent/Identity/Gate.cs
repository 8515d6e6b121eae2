namespace Volant.Agent.Identity;

/// <summary>Whether this guest is somebody yet. While the gate is closed the agent serves nothing and the workload is not started (see <see cref="Contracts.Api.IdentifyRequest"/>).</summary>
/// <remarks>Thread-safe.</remarks>
internal sealed class Gate
{
    private readonly Lock _lock = new();
    private TaskCompletionSource? _closed;

    /// <summary>Makes a gate.</summary>
    /// <param name="isClosed">Whether it is closed at first.</param>
    /// <param name="changed">Is told of every change, <c>true</c> for closed.</param>
    public Gate(bool isClosed, Action<bool>? changed = null)
    {
        Changed = changed;
        if (isClosed)
        {
            Close();
        }
    }

    /// <summary>Whether it is open.</summary>
    public bool IsOpen
    {
        get
        {
            lock (_lock)
            {
                return _closed is null;
            }
        }
    }

    private Action<bool>? Changed { get; }

    /// <summary>Closes it.</summary>
    public void Close()
    {
        lock (_lock)
        {
            _closed ??= new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        }

        Changed?.Invoke(true);
    }

    /// <summary>Opens it.</summary>
    public void Open()
    {
        TaskCompletionSource? closed;
        lock (_lock)
        {
            (closed, _closed) = (_closed, null);
        }

        Changed?.Invoke(false);
        closed?.SetResult();
    }

    /// <summary>Waits until it is open.</summary>
    public Task WaitAsync(CancellationToken cancellationToken)
    {
        lock (_lock)
        {
            return _closed?.Task.WaitAsync(cancellationToken) ?? Task.CompletedTask;
        }
    }
}
