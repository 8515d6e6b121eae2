using Volant.Daemon.Hypervisors.CloudHypervisor;
using Volant.Daemon.Hypervisors.Qemu;

namespace Volant.Daemon.Hypervisors;

/// <summary>Which hypervisor launches VMs (contract §7, <c>VOLANT_HYPERVISOR</c>).</summary>
internal static class HypervisorChoice
{
    /// <summary>QEMU, wherever it is.</summary>
    public const string Qemu = "qemu";

    /// <summary>Cloud Hypervisor, wherever it is.</summary>
    public const string CloudHypervisor = "cloud-hypervisor";

    /// <summary>The launcher for a configured value; adopts VMs of both kinds.</summary>
    /// <param name="configured">
    /// <see cref="Qemu"/>, <see cref="CloudHypervisor"/>, or the path of a program, which is QEMU's if its file name starts with
    /// <c>qemu</c>; null for Cloud Hypervisor when it and KVM are there, else QEMU.
    /// </param>
    /// <param name="clock">Measures their limits.</param>
    /// <param name="loggers">Makes their loggers.</param>
    public static IHypervisorLauncher Create(string? configured, TimeProvider clock, ILoggerFactory loggers)
    {
        var program = Path.IsPathRooted(configured) ? configured : null;
        var useQemu = configured is null ? !CloudHypervisorProbe.IsBest() : Path.GetFileName(configured).StartsWith(Qemu, StringComparison.Ordinal);
        var qemu = new QemuLauncher(useQemu ? program : null, clock, loggers.CreateLogger<QemuLauncher>());
        var cloudHypervisor = new CloudHypervisorLauncher(useQemu ? null : program, clock, loggers.CreateLogger<CloudHypervisorLauncher>());
        return useQemu ? new HypervisorLaunchers(qemu, cloudHypervisor) : new HypervisorLaunchers(cloudHypervisor, qemu);
    }
}
