using System.Globalization;
using System.Text.RegularExpressions;

namespace Volant.Daemon.Hypervisors.Qemu;

/// <summary>Finds the emulator and finds out what it and this host can do.</summary>
internal static partial class QemuProbe
{
    /// <summary>Name of the program that is searched for when none is configured.</summary>
    public const string DefaultProgram = "qemu-system-x86_64";

    private static readonly Version Oldest = new(7, 2);
    private static readonly HypervisorProgram Program = new("Install it (Debian, Ubuntu: apt-get install qemu-system-x86) or set VOLANT_HYPERVISOR to its path.");

    /// <summary>Runs <c>--version</c> and tries the devices; takes some 20 ms, at most five seconds.</summary>
    /// <param name="program">Path or name of the emulator; null for <see cref="DefaultProgram"/>. A name is searched for in <c>PATH</c>.</param>
    /// <exception cref="VolantException"><c>hypervisor_unavailable</c>: missing, not QEMU, or older than 7.2.</exception>
    public static QemuHost Probe(string? program)
    {
        var path = Program.Find(program ?? DefaultProgram);
        var version = ParseVersion(path, Program.RunVersion(path));
        return new QemuHost(
            path, version, HypervisorProgram.HaveKvm(), HypervisorProgram.CanOpen("/dev/vhost-vsock"), HypervisorProgram.CanOpen("/dev/vhost-net"), ParseTscKhz(HypervisorProgram.ReadCpuInfo()));
    }

    /// <summary>Reads the first line of <c>qemu-system-x86_64 --version</c>.</summary>
    /// <exception cref="VolantException"><c>hypervisor_unavailable</c>: not QEMU, or older than 7.2.</exception>
    internal static Version ParseVersion(string path, string output)
    {
        var match = VersionLine().Match(output);
        if (!match.Success || !Version.TryParse(match.Groups["version"].ValueSpan, out var version))
        {
            throw Program.NotA("QEMU", path, output);
        }

        return version >= Oldest
            ? version
            : throw HypervisorProgram.Unavailable($"'{path}' is QEMU {version}; {Oldest} or newer is needed. Upgrade it (apt-get install qemu-system-x86).");
    }

    /// <summary>Frequency of the time stamp counter by <c>/proc/cpuinfo</c>: bogomips is twice the frequency in MHz.</summary>
    internal static long? ParseTscKhz(string cpuinfo)
    {
        var match = Bogomips().Match(cpuinfo);
        return match.Success && double.TryParse(match.Groups["value"].ValueSpan, NumberStyles.AllowDecimalPoint, CultureInfo.InvariantCulture, out var bogomips)
            ? (long)Math.Round(bogomips * 500)
            : null;
    }

    [GeneratedRegex(@"\AQEMU emulator version (?<version>[0-9]{1,4}\.[0-9]{1,4}(\.[0-9]{1,4})?)", RegexOptions.CultureInvariant | RegexOptions.ExplicitCapture, 1000)]
    private static partial Regex VersionLine();

    [GeneratedRegex(@"^bogomips\s*:\s*(?<value>[0-9]+(\.[0-9]+)?)\s*$", RegexOptions.CultureInvariant | RegexOptions.Multiline | RegexOptions.ExplicitCapture, 1000)]
    private static partial Regex Bogomips();
}
