namespace Volant.Daemon.Hypervisors;

/// <summary>How a hypervisor ended.</summary>
/// <param name="Code">Exit code; null when a signal ended it, or when it was adopted and nobody could wait for it.</param>
/// <param name="Signal">Signal that ended it.</param>
/// <param name="Reason">What the hypervisor said last: <c>guest-shutdown</c>, <c>guest-panic</c>, <c>host-signal</c>; null when it said nothing.</param>
internal sealed record HypervisorExit(int? Code, int? Signal, string? Reason);

/// <summary>How a hypervisor leads to the agent of its guest.</summary>
internal enum AgentLink
{
    /// <summary>A virtio-serial port behind <see cref="VmPaths.AgentSocket"/>.</summary>
    SerialPort,

    /// <summary>The kernel's vsock.</summary>
    Vsock,

    /// <summary>Vsock behind <see cref="VmPaths.AgentSocket"/>.</summary>
    VsockSocket,
}

/// <summary>A live hypervisor process and its controls.</summary>
/// <remarks>Safe for concurrent use. Disposing it lets go of the process; it never ends it.</remarks>
internal abstract class VmProcess : IAsyncDisposable
{
    /// <summary>What the store keeps of it.</summary>
    public abstract VmHandle Handle { get; }

    /// <summary>How the agent is reached.</summary>
    public abstract AgentLink AgentLink { get; }

    /// <summary>Completes when the process has ended and was reaped; never faults.</summary>
    public abstract Task<HypervisorExit> Exited { get; }

    /// <summary>Asks the guest to power off (ACPI), without waiting for it to happen.</summary>
    /// <exception cref="IOException">The hypervisor does not answer.</exception>
    public abstract Task RequestPowerOffAsync(CancellationToken cancellationToken);

    /// <summary>Ends the process (SIGTERM, then SIGKILL after a second) and completes when it is gone.</summary>
    public abstract Task KillAsync();

    /// <summary>Stops the virtual CPUs.</summary>
    public abstract Task PauseAsync(CancellationToken cancellationToken);

    /// <summary>Lets the virtual CPUs go on.</summary>
    public abstract Task ResumeAsync(CancellationToken cancellationToken);

    /// <inheritdoc/>
    public abstract ValueTask DisposeAsync();
}
