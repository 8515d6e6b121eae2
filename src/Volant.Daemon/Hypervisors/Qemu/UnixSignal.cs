namespace Volant.Daemon.Hypervisors.Qemu;

/// <summary>Numbers of the signals that end a hypervisor (signal(7), x86-64).</summary>
internal static class UnixSignal
{
    /// <summary>SIGKILL: ends it at once.</summary>
    public const int Kill = 9;

    /// <summary>SIGTERM: QEMU stops the guest, flushes its disks and exits with 0.</summary>
    public const int Terminate = 15;
}
