namespace Volant.Daemon.Hypervisors.Qemu;

/// <summary>What matters of this host for a QEMU command line.</summary>
/// <param name="Program">Absolute path of the emulator.</param>
/// <param name="Version">Version of the emulator.</param>
/// <param name="Kvm">Whether <c>/dev/kvm</c> can be used and has a processor's virtualisation behind it; software emulation otherwise.</param>
/// <param name="Vsock">Whether <c>/dev/vhost-vsock</c> can be used.</param>
/// <param name="VhostNet">Whether <c>/dev/vhost-net</c> can be used.</param>
/// <param name="TscKhz">Frequency of the processor's time stamp counter in kHz; null when unknown.</param>
internal sealed record QemuHost(string Program, Version Version, bool Kvm, bool Vsock, bool VhostNet, long? TscKhz);
