using Volant.Linux.Processes;

namespace Volant.Daemon.Hypervisors;

/// <summary>What the hypervisor on this host can do; probed once.</summary>
/// <param name="Name">"qemu" or "cloud-hypervisor".</param>
/// <param name="Version">Version of the program.</param>
/// <param name="Kvm">Whether hardware virtualisation is used; software emulation otherwise.</param>
/// <param name="Vsock">Whether guests are reached over vsock.</param>
internal sealed record HypervisorCapabilities(string Name, string Version, bool Kvm, bool Vsock);

/// <summary>What the store keeps of a launched hypervisor, enough to find it again after a restart of the daemon.</summary>
/// <param name="Uid">Identity of the VM.</param>
/// <param name="Process">Identity of the process.</param>
/// <param name="Paths">Its files.</param>
internal sealed record VmHandle(Guid Uid, ProcessIdentity Process, VmPaths Paths);

/// <summary>Starts and adopts hypervisors of one kind.</summary>
internal interface IHypervisorLauncher
{
    /// <summary>What this hypervisor can do on this host.</summary>
    /// <exception cref="VolantException"><c>hypervisor_unavailable</c>: the program is missing or too old.</exception>
    HypervisorCapabilities Capabilities { get; }

    /// <summary>The whole kernel command line that <see cref="LaunchAsync"/> would use.</summary>
    /// <exception cref="VolantException"><c>unsupported</c>: it is longer than kernels read.</exception>
    string KernelCommandLine(LaunchSpec spec);

    /// <summary>Starts the hypervisor and returns once the process exists and is recorded.</summary>
    /// <param name="spec">What to start.</param>
    /// <param name="started">Called with the identity as soon as the process exists, before anything else can fail.</param>
    /// <param name="cancellationToken">Gives up and leaves nothing behind.</param>
    /// <exception cref="VolantException"><c>hypervisor_unavailable</c> with the hypervisor's own words; nothing is left behind.</exception>
    Task<VmProcess> LaunchAsync(LaunchSpec spec, Func<VmHandle, Task> started, CancellationToken cancellationToken);

    /// <summary>Takes over a hypervisor that an earlier daemon launched; null when it is gone. Never signals what does not match.</summary>
    Task<VmProcess?> TryAdoptAsync(VmHandle handle, CancellationToken cancellationToken);

    /// <summary>Every live hypervisor on this host that was launched with sockets below <paramref name="runtimeDirectory"/>.</summary>
    /// <remarks>Finds what was launched and never recorded. Looks at processes, not at files.</remarks>
    IReadOnlyList<(Guid Uid, ProcessIdentity Process)> Discover(string runtimeDirectory);
}
