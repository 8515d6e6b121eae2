using Volant.Contracts.Boot;
using Volant.Linux.IO;

namespace Volant.Agent.Transport;

/// <summary>Finds the virtio-serial port of the agent. Without udev there are no links by name, so sysfs is asked.</summary>
internal static class VirtioPort
{
    private const string Ports = "/sys/class/virtio-ports";

    /// <summary>Device of the port named <see cref="GuestLink.PortName"/>; null when there is none (yet).</summary>
    public static string? Find(string ports = Ports, string devices = "/dev")
    {
        try
        {
            foreach (var port in Directory.EnumerateDirectories(ports))
            {
                var name = Path.Combine(port, "name");
                var device = Path.Combine(devices, Path.GetFileName(port));
                if (File.Exists(name) && File.ReadAllText(name).Trim() == GuestLink.PortName && File.Exists(device))
                {
                    return device;
                }
            }
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            // No virtio console driver, or a port that has just gone.
        }

        return null;
    }

    /// <summary>Opens the port.</summary>
    /// <exception cref="System.ComponentModel.Win32Exception">EBUSY: another process holds it.</exception>
    public static FdStream Open(string device) => FdStream.OpenDevice(device);
}
