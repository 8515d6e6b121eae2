using System.Text.RegularExpressions;

namespace Volant.Daemon.Hypervisors.CloudHypervisor;

/// <summary>Finds Cloud Hypervisor and finds out what it and this host can do.</summary>
internal static partial class CloudHypervisorProbe
{
    /// <summary>Name of the program that is searched for when none is configured.</summary>
    public const string DefaultProgram = "cloud-hypervisor";

    /// <summary>The security modules that are active, separated by commas.</summary>
    private const string SecurityModules = "/sys/kernel/security/lsm";

    /// <summary>Older ones let a guest's own qcow2 header name files of the host (GHSA-jmr4-g2hv-mjj6), and free memory twice (CVE-2026-45782).</summary>
    public static Version Oldest { get; } = new(52, 0);

    private static readonly HypervisorProgram Program =
        new("Install it from its releases (cloud-hypervisor-static), set VOLANT_HYPERVISOR to its path, or set VOLANT_HYPERVISOR=qemu.");

    /// <summary>Runs <c>--version</c> and looks at the devices; takes some 10 ms, at most five seconds.</summary>
    /// <param name="program">Path or name; null for <see cref="DefaultProgram"/>. A name is searched for in <c>PATH</c>.</param>
    /// <remarks>A program that was named by its path is taken at its word: what it lacks, it says itself.</remarks>
    /// <exception cref="VolantException"><c>hypervisor_unavailable</c>: missing, something else, too old, or no KVM.</exception>
    public static CloudHypervisorHost Probe(string? program)
    {
        var path = Program.Find(program ?? DefaultProgram);
        var version = ParseVersion(path, Program.RunVersion(path));
        var kvm = HypervisorProgram.HaveKvm();
        return kvm || Path.IsPathRooted(program)
            ? new CloudHypervisorHost(path, version, kvm, HaveLandlock())
            : throw HypervisorProgram.Unavailable(
                "Cloud Hypervisor needs KVM, and /dev/kvm cannot be used here: enable virtualisation in the firmware, load kvm_intel or kvm_amd and give volantd's user the group kvm; or set VOLANT_HYPERVISOR=qemu, which can do without.");
    }

    /// <summary>Whether Cloud Hypervisor is the best that this host has: it and KVM are there.</summary>
    public static bool IsBest() => HypervisorProgram.Search(DefaultProgram) is not null && HypervisorProgram.HaveKvm();

    /// <summary>Reads <c>cloud-hypervisor --version</c>: "cloud-hypervisor v52.0", or "… v52.0-12-g0123abc" when built from its sources.</summary>
    /// <exception cref="VolantException"><c>hypervisor_unavailable</c>: something else, or older than <see cref="Oldest"/>.</exception>
    internal static Version ParseVersion(string path, string output)
    {
        var match = VersionLine().Match(output);
        if (!match.Success || !Version.TryParse(match.Groups["version"].ValueSpan, out var version))
        {
            throw Program.NotA("Cloud Hypervisor", path, output);
        }

        return version >= Oldest
            ? version
            : throw HypervisorProgram.Unavailable($"'{path}' is Cloud Hypervisor {version}; {Oldest} or newer is needed. Upgrade it, or set VOLANT_HYPERVISOR=qemu.");
    }

    private static bool HaveLandlock()
    {
        try
        {
            return File.ReadAllText(SecurityModules).Trim().Split(',').Contains("landlock", StringComparer.Ordinal);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return false;
        }
    }

    [GeneratedRegex(@"\Acloud-hypervisor v?(?<version>[0-9]{1,4}\.[0-9]{1,4}(\.[0-9]{1,4})?)", RegexOptions.CultureInvariant | RegexOptions.ExplicitCapture, 1000)]
    private static partial Regex VersionLine();
}
