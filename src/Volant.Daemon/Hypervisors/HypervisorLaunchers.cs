using Volant.Linux.Processes;

namespace Volant.Daemon.Hypervisors;

/// <summary>Launches with one kind of hypervisor and adopts those of every kind: a daemon that was told to use another one keeps its VMs.</summary>
/// <param name="chosen">Launches.</param>
/// <param name="others">Adopt.</param>
internal sealed class HypervisorLaunchers(IHypervisorLauncher chosen, params IReadOnlyList<IHypervisorLauncher> others) : IHypervisorLauncher
{
    private readonly IReadOnlyList<IHypervisorLauncher> _all = [chosen, .. others];

    /// <inheritdoc/>
    public HypervisorCapabilities Capabilities => chosen.Capabilities;

    /// <inheritdoc/>
    public string KernelCommandLine(LaunchSpec spec) => chosen.KernelCommandLine(spec);

    /// <inheritdoc/>
    public Task<VmProcess> LaunchAsync(LaunchSpec spec, Func<VmHandle, Task> started, CancellationToken cancellationToken) =>
        chosen.LaunchAsync(spec, started, cancellationToken);

    /// <inheritdoc/>
    public async Task<VmProcess?> TryAdoptAsync(VmHandle handle, CancellationToken cancellationToken)
    {
        foreach (var launcher in _all)
        {
            if (await launcher.TryAdoptAsync(handle, cancellationToken) is { } process)
            {
                return process;
            }
        }

        return null;
    }

    /// <inheritdoc/>
    public IReadOnlyList<(Guid Uid, ProcessIdentity Process)> Discover(string runtimeDirectory) => [.. _all.SelectMany(launcher => launcher.Discover(runtimeDirectory))];
}
