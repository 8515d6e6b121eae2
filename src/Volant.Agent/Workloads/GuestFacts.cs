using System.Globalization;
using Volant.Linux.Networking;

namespace Volant.Agent.Workloads;

/// <summary>What the kernel says of this guest.</summary>
internal static class GuestFacts
{
    /// <summary>Host name.</summary>
    public static string Hostname => Read("/proc/sys/kernel/hostname");

    /// <summary>Kernel release.</summary>
    public static string Kernel { get; } = Read("/proc/sys/kernel/osrelease");

    /// <summary>Milliseconds since the kernel started.</summary>
    public static long UptimeMs =>
        double.TryParse(Read("/proc/uptime").Split(' ')[0], NumberStyles.Float, CultureInfo.InvariantCulture, out var seconds) ? (long)(seconds * 1000) : 0;

    /// <summary>IPv4 addresses, loopback left out; empty when the kernel does not tell.</summary>
    public static IReadOnlyList<string> Addresses
    {
        get
        {
            try
            {
                using var netlink = Netlink.Open();
                return [.. netlink.ListAddresses().Select(a => a.Address).Where(a => !System.Net.IPAddress.IsLoopback(a)).Select(a => a.ToString())];
            }
            catch (Exception e) when (e is System.ComponentModel.Win32Exception or IOException)
            {
                return [];
            }
        }
    }

    private static string Read(string path)
    {
        try
        {
            return File.ReadAllText(path).Trim();
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return string.Empty;
        }
    }
}
