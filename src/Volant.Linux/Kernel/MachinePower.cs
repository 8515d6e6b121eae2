using System.ComponentModel;
using System.Runtime.InteropServices;

namespace Volant.Linux.Kernel;

/// <summary>Ends the machine (<c>man 2 reboot</c>). The caller has stopped the processes and flushed the file systems.</summary>
/// <remarks>Needs CAP_SYS_BOOT. In a PID namespace other than the first one it ends only that namespace.</remarks>
public static partial class MachinePower
{
    internal const uint RestartCommand = 0x01234567; // LINUX_REBOOT_CMD_RESTART
    internal const uint PowerOffCommand = 0x4321fedc; // LINUX_REBOOT_CMD_POWER_OFF
    internal const uint CtrlAltDelOff = 0; // LINUX_REBOOT_CMD_CAD_OFF

    /// <summary>Switches the machine off; returns only by exception.</summary>
    /// <exception cref="Win32Exception">EPERM: needs CAP_SYS_BOOT.</exception>
    public static void PowerOff() => Reboot(PowerOffCommand, "Switching the machine off");

    /// <summary>Restarts the machine; returns only by exception.</summary>
    /// <exception cref="Win32Exception">EPERM: needs CAP_SYS_BOOT.</exception>
    public static void Restart() => Reboot(RestartCommand, "Restarting the machine");

    /// <summary>Makes Ctrl-Alt-Del send SIGINT to PID 1 instead of restarting the machine at once.</summary>
    /// <exception cref="Win32Exception">EPERM: needs CAP_SYS_BOOT; EINVAL: in a PID namespace.</exception>
    public static void DisableCtrlAltDel() => Reboot(CtrlAltDelOff, "Disabling Ctrl-Alt-Del");

    private static void Reboot(uint command, string what) => LinuxError.Check(RebootCall(unchecked((int)command)), what);

    // The C library adds the two magic numbers.
    [LibraryImport("libc", EntryPoint = "reboot", SetLastError = true)]
    private static partial int RebootCall(int command);
}
