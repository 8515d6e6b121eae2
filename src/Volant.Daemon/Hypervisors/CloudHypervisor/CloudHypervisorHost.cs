namespace Volant.Daemon.Hypervisors.CloudHypervisor;

/// <summary>What matters of this host for Cloud Hypervisor.</summary>
/// <param name="Program">Absolute path of the program.</param>
/// <param name="Version">Its version, 52 or newer.</param>
/// <param name="Kvm">Whether <c>/dev/kvm</c> can be used; without it nothing but a stand-in works.</param>
/// <param name="Landlock">Whether the kernel can confine it to its files (<c>landlock</c> among the active security modules).</param>
internal sealed record CloudHypervisorHost(string Program, Version Version, bool Kvm, bool Landlock);
