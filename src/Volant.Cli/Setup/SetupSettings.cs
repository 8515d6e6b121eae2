using System.Net;
using System.Net.Sockets;
using Volant.Linux.Networking;

namespace Volant.Cli.Setup;

/// <summary>What <c>volar setup</c> is told: contract §8, checked.</summary>
internal sealed record SetupSettings
{
    /// <summary>User and group that the service runs as.</summary>
    public const string User = "volant";

    /// <summary>Where the service's settings are.</summary>
    public const string EnvironmentPath = "/etc/volant/volantd.env";

    /// <summary>Where the kernel's settings are.</summary>
    public const string SysctlPath = "/etc/sysctl.d/60-volant.conf";

    /// <summary>Where a system service's data are.</summary>
    public const string DefaultStateDirectory = "/var/lib/volant";

    /// <summary>Where the sockets of its VMs are.</summary>
    public const string DefaultRuntimeDirectory = "/run/volant";

    /// <summary>Where the logs of its VMs are.</summary>
    public const string DefaultLogDirectory = "/var/log/volant";

    /// <summary>Where the unit is, unless told otherwise.</summary>
    public const string DefaultServiceFile = "/etc/systemd/system/volantd.service";

    /// <summary>Directories that the sandbox of the service hides, or that do not outlive a boot.</summary>
    private static readonly string[] Unusable = ["/home", "/root", "/run/user", "/tmp", "/var/tmp", "/proc", "/sys", "/dev"];

    /// <summary>The program <c>volantd</c>.</summary>
    public required string Daemon { get; init; }

    /// <summary>The bridge of bridged VMs; null to leave what is set.</summary>
    public string? Bridge { get; init; }

    /// <summary>Their subnet; null to leave what is set.</summary>
    public string? Subnet { get; init; }

    /// <summary>Address of the host in it; null to leave what is set.</summary>
    public string? HostIp { get; init; }

    /// <summary>Guest kernel; null to leave what is set.</summary>
    public string? BzImage { get; init; }

    /// <summary>Guest kernel as ELF; null to leave what is set.</summary>
    public string? Vmlinux { get; init; }

    /// <summary>Database, disks, volumes and images.</summary>
    public string StateDirectory { get; init; } = DefaultStateDirectory;

    /// <summary>Sockets of running VMs.</summary>
    public string RuntimeDirectory { get; init; } = DefaultRuntimeDirectory;

    /// <summary>Logs of VMs.</summary>
    public string LogDirectory { get; init; } = DefaultLogDirectory;

    /// <summary>The systemd unit.</summary>
    public string ServiceFile { get; init; } = DefaultServiceFile;

    /// <summary>Name of the unit.</summary>
    public string ServiceName => Path.GetFileName(ServiceFile);

    /// <summary>The same when nothing is wrong with it, with an address of the host that fits the subnet.</summary>
    /// <exception cref="CliException">A value cannot be used; nothing has been attempted.</exception>
    public SetupSettings Checked()
    {
        RequirePath("volantd", Daemon, "install the package, or unpack the tarball to /usr/local/lib/volant");
        RequirePath("--work-dir", StateDirectory, "choose one such as /var/lib/volant");
        RequirePath("--runtime-dir", RuntimeDirectory, "choose one such as /run/volant");
        RequirePath("--log-dir", LogDirectory, "choose one such as /var/log/volant");
        RequirePath("--service-file", ServiceFile, $"choose one such as {DefaultServiceFile}");
        RequirePath("--bzimage", BzImage, "choose one such as /var/lib/volant/kernel/bzImage");
        RequirePath("--vmlinux", Vmlinux, "choose one such as /var/lib/volant/kernel/vmlinux");
        if (!ServiceName.EndsWith(".service", StringComparison.Ordinal) || ServiceName.Contains('@', StringComparison.Ordinal))
        {
            throw CliException.Usage($"--service-file: '{ServiceFile}' is not valid; its name must end with .service and hold no '@'.");
        }

        if (Bridge is not null && !(InterfaceName.IsValid(Bridge) && Bridge.All(IsPlain)))
        {
            throw CliException.Usage($"--bridge: '{Bridge}' is not valid; expected 1 to {InterfaceName.MaxLength} letters, digits, '-', '_' or '.'.");
        }

        string[] directories = [StateDirectory, RuntimeDirectory, LogDirectory];
        return directories.Distinct(StringComparer.Ordinal).Count() == directories.Length
            ? this with { HostIp = HostIp is null ? FirstAddress(Subnet) : RequireAddress(HostIp) }
            : throw CliException.Usage("--work-dir, --runtime-dir and --log-dir must be three directories, because each has rights of its own.");
    }

    /// <summary>Whether a path goes into a unit, an environment file and a message as it is, without a quotation.</summary>
    private static bool IsPlain(char c) => char.IsAsciiLetterOrDigit(c) || c is '-' or '_' or '.';

    private static void RequirePath(string option, string? path, string remedy)
    {
        if (path is null)
        {
            return;
        }

        if (!Path.IsPathRooted(path) || path != Path.GetFullPath(path) || path.EndsWith('/') || !path.All(c => IsPlain(c) || c is '/' or '+'))
        {
            throw CliException.Usage($"{option}: '{path}' is not valid; expected an absolute path of letters, digits and '/', '.', '-', '_', '+', without '..'.");
        }

        if (Unusable.FirstOrDefault(each => path == each || path.StartsWith(each + "/", StringComparison.Ordinal)) is { } hidden)
        {
            throw CliException.Usage($"{option}: '{path}' cannot be used: the service does not see {hidden}; {remedy}.");
        }
    }

    private static string RequireAddress(string text) => IPAddress.TryParse(text, out var address) && address.AddressFamily == AddressFamily.InterNetwork && address.ToString() == text
        ? text
        : throw CliException.Usage($"--host-ip: '{text}' is not valid; expected an IPv4 address such as 192.168.127.1.");

    /// <summary>The first address of a subnet; null without one. What else a subnet must be, <c>volantd --check</c> says.</summary>
    private static string? FirstAddress(string? subnet)
    {
        if (subnet is null)
        {
            return null;
        }

        if (!IPNetwork.TryParse(subnet, out var network) || network.BaseAddress.AddressFamily != AddressFamily.InterNetwork || network.PrefixLength is < 8 or > 30)
        {
            throw CliException.Usage($"--subnet: '{subnet}' is not valid; expected an IPv4 subnet without host bits, such as 192.168.127.0/24.");
        }

        var bytes = network.BaseAddress.GetAddressBytes();
        bytes[3]++;
        return new IPAddress(bytes).ToString();
    }
}
