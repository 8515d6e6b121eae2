using System.Globalization;
using System.Net;
using System.Net.Sockets;
using System.Text;
using Volant.Contracts.Manifests;
using Volant.Daemon.Hypervisors;
using Volant.Daemon.Networking;
using Volant.Linux.Processes;

namespace Volant.Daemon;

/// <summary>A setting that stops the start: one line that names the variable, the value and what was expected.</summary>
internal sealed class ConfigurationException(string message) : Exception(message);

/// <summary>Reads <see cref="DaemonOptions"/> from environment variables; the only place that knows their names.</summary>
internal static class DaemonEnvironment
{
    private const int MaxInterfaceName = 15;
    private const string MachineId = "/etc/machine-id";

    /// <summary>Every variable with its default and meaning, for help and the reference page.</summary>
    public static IReadOnlyList<(string Name, string Default, string Meaning)> Variables { get; } =
    [
        ("VOLANT_DB_PATH", "~/.volant/state.db", "SQLite database; the artifact cache, the disks of VMs and volumes lie beside it"),
        ("VOLANT_API_LISTEN", "127.0.0.1:7777", "address:port, or unix:/path; beyond loopback only with VOLANT_API_KEY"),
        ("VOLANT_API_ADVERTISE", "the listen address", "URL that clients should use"),
        ("VOLANT_BRIDGE", "vbr0", "bridge of bridged VMs; created when absent"),
        ("VOLANT_SUBNET", "192.168.127.0/24", "IPv4 subnet of bridged VMs"),
        ("VOLANT_HOST_IP", "192.168.127.1", "address of the host in that subnet"),
        ("VOLANT_SUBNET6", "off", "IPv6 network of the same VMs: a /64 of unique local addresses such as fd3c:51a0:77ee::/64, auto for one that is this machine's own, or off"),
        ("VOLANT_RESERVED_ADDRESSES", "none", "comma list of addresses of that subnet, or ranges such as 192.168.127.10-192.168.127.19, that no VM gets"),
        ("VOLANT_FIREWALL", "on", "off: guests on the bridge may pose as others and reach the host"),
        ("VOLANT_GUEST_ISOLATION", "on", "off: guests on the bridge may reach each other"),
        ("VOLANT_DNSMASQ", "auto", "program that answers DHCP and DNS of guests on the bridge: auto for the installed dnsmasq if there is one, its path, or off"),
        ("VOLANT_DNS_SERVERS", "those of /etc/resolv.conf", "comma list of addresses that guests' DNS asks for other names, or none"),
        ("VOLANT_RUNTIME_DIR", "~/.volant/run", "sockets of running VMs"),
        ("VOLANT_LOG_DIR", "~/.volant/logs", "console and hypervisor logs"),
        ("VOLANT_KERNEL_BZIMAGE", "/var/lib/volant/kernel/bzImage", "guest kernel"),
        ("VOLANT_KERNEL_VMLINUX", "/var/lib/volant/kernel/vmlinux", "guest kernel as ELF; preferred, when it exists, for guests without a root disk"),
        ("VOLANT_AGENT", "kestrel beside volantd", "agent that VMs with a root disk and no initramfs boot with"),
        ("VOLANT_HYPERVISOR", "Cloud Hypervisor where it and KVM are there, else QEMU", "cloud-hypervisor, qemu, or the path of a program: QEMU's if its name starts with qemu, else Cloud Hypervisor's"),
        ("VOLANT_VM_UIDS", "200000-265535 for root and the service, else off", "user ids that hypervisors run as, each VM's as one of its own that sees nothing but its files; off for volantd's own user"),
        ("VOLANT_CGROUP", "/sys/fs/cgroup/volant for root and the service on a host with cgroup v2, else off", "directory of the control group whose children limit processor, memory and processes of each hypervisor; off for no limits"),
        ("VOLANT_IO_MAX", "none", "what each hypervisor may read and write of the disk with VOLANT_DB_PATH in a second, such as rbps=200M,wbps=100M,riops=5000,wiops=5000; needs VOLANT_CGROUP"),
        ("VOLANT_IMAGE_DIRS", "<state directory>/images", "colon list of directories that manifests may name files in"),
        ("VOLANT_VFIO_ALLOW", "none", "comma list of PCI devices that may be passed through: vendor:device, vendor:*, or an address"),
        ("VOLANT_API_KEY", "none", "key that every request must carry"),
        ("VOLANT_API_ALLOW_CIDR", "any", "comma list of networks that may connect"),
        ("VOLANT_CORS_ORIGINS", "none", "comma list of browser origins, or *"),
        ("VOLANT_MAX_ARTIFACT_MB", "8192", "largest artifact in MiB, uploaded, downloaded or copied"),
        ("VOLANT_KEEP_ARTIFACTS", "168", "hours that an artifact stays after its last use when nothing names it, 1 to 87600"),
        ("VOLANT_DOWNLOAD_TIMEOUT", "3600", "seconds that a download may take, 1 to 86400"),
        ("VOLANT_DOWNLOAD_SILENCE", "30", "seconds that a download may be without a byte, 1 to 3600"),
        ("VOLANT_DOWNLOAD_ALLOW", "none", "comma list of networks that downloads may reach besides public ones, such as 10.0.0.0/8"),
        ("VOLANT_BOOT_TIMEOUT", "90", "seconds from launch until the agent must answer, 5 to 3600"),
        ("VOLANT_AGENT_TIMEOUT", "30", "seconds until a guest must begin to answer a forwarded request, 1 to 3600"),
        ("VOLANT_PUBLISH_ADDRESS", "127.0.0.1", "address that published ports listen on; 0.0.0.0 or :: opens them to other hosts"),
        ("VOLANT_PUBLISH_PORTS", "30000-32767", "where a published port comes from when no host_port is named"),
        ("VOLANT_RATE_LIMIT", "500", "expensive calls a second of one client, 0 for no limit"),
        ("VOLANT_LOG_LEVEL", "information", "trace, debug, information, warning or error"),
        ("VOLANT_LOG_FORMAT", "automatic", "text, json or journal; automatic is journal below systemd, else text"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "none", "collector that traces are sent to; the other OTEL_ variables hold too"),
        ("VOLANT_INSECURE", "0", "1 allows listening beyond loopback without a key"),
    ];

    /// <summary>Reads and checks all settings.</summary>
    /// <param name="variables">The environment.</param>
    /// <exception cref="ConfigurationException">A value is bad; the message is the line to print.</exception>
    public static DaemonOptions Read(IReadOnlyDictionary<string, string> variables)
    {
        var home = variables.GetValueOrDefault("HOME") is { Length: > 0 } set ? set : "/root";
        var state = Path.Combine(home, ".volant");
        var database = AbsolutePath("VOLANT_DB_PATH", Path.Combine(state, "state.db"));
        var listen = ParseListen(Get("VOLANT_API_LISTEN") ?? "127.0.0.1:7777");
        var subnet = ParseSubnet(Get("VOLANT_SUBNET") ?? "192.168.127.0/24");
        var options = ReadConfinement(Get, ReadGuestNetwork(Get, new DaemonOptions
        {
            DatabasePath = database,
            Listen = listen,
            Advertise = Get("VOLANT_API_ADVERTISE") ?? (listen.EndPoint is { } endPoint ? $"http://{endPoint}" : $"unix://{listen.SocketPath}"),
            Bridge = ParseBridge(Get("VOLANT_BRIDGE") ?? "vbr0"),
            Subnet = subnet,
            HostIp = ParseHostIp(Get("VOLANT_HOST_IP") ?? "192.168.127.1", subnet),
            RuntimeDirectory = CheckRuntimeDirectory(AbsolutePath("VOLANT_RUNTIME_DIR", Path.Combine(state, "run"))),
            LogDirectory = AbsolutePath("VOLANT_LOG_DIR", Path.Combine(state, "logs")),
            KernelBzImage = AbsolutePath("VOLANT_KERNEL_BZIMAGE", "/var/lib/volant/kernel/bzImage"),
            KernelVmlinux = AbsolutePath("VOLANT_KERNEL_VMLINUX", "/var/lib/volant/kernel/vmlinux"),
            Agent = AbsolutePath("VOLANT_AGENT", Path.Combine(AppContext.BaseDirectory, "kestrel")),
            Hypervisor = ParseHypervisor(Get("VOLANT_HYPERVISOR")),
            ImageDirectories = ParseDirectories(Get("VOLANT_IMAGE_DIRS") ?? Path.Combine(Path.GetDirectoryName(database)!, "images")),
            VfioAllow = ParseDevices(Get("VOLANT_VFIO_ALLOW")),
            ApiKey = ParseKey(Get("VOLANT_API_KEY")),
            AllowCidr = ParseNetworks("VOLANT_API_ALLOW_CIDR", Get("VOLANT_API_ALLOW_CIDR")),
            CorsOrigins = ParseOrigins(Get("VOLANT_CORS_ORIGINS")),
            MaxArtifactBytes = ParseNumber("VOLANT_MAX_ARTIFACT_MB", 8192, 1, 1024 * 1024) * 1024L * 1024,
            KeepArtifacts = TimeSpan.FromHours(ParseNumber("VOLANT_KEEP_ARTIFACTS", 168, 1, 87_600)),
            DownloadTimeout = TimeSpan.FromSeconds(ParseNumber("VOLANT_DOWNLOAD_TIMEOUT", 3600, 1, 86_400)),
            DownloadSilence = TimeSpan.FromSeconds(ParseNumber("VOLANT_DOWNLOAD_SILENCE", 30, 1, 3600)),
            DownloadAllow = ParseNetworks("VOLANT_DOWNLOAD_ALLOW", Get("VOLANT_DOWNLOAD_ALLOW")),
            BootTimeout = TimeSpan.FromSeconds(ParseNumber("VOLANT_BOOT_TIMEOUT", 90, 5, 3600)),
            PublishAddress = IPAddress.TryParse(Get("VOLANT_PUBLISH_ADDRESS") ?? "127.0.0.1", out var publish) ? publish : throw Bad("VOLANT_PUBLISH_ADDRESS", Get("VOLANT_PUBLISH_ADDRESS")!, "an IP address of this host such as 127.0.0.1 or 0.0.0.0"),
            PublishPorts = ParsePorts(Get("VOLANT_PUBLISH_PORTS") ?? "30000-32767"),
            RateLimit = ParseNumber("VOLANT_RATE_LIMIT", 500, 0, 1_000_000),
            AgentTimeout = TimeSpan.FromSeconds(ParseNumber("VOLANT_AGENT_TIMEOUT", 30, 1, 3600)),
            LogLevel = ParseLevel(Get("VOLANT_LOG_LEVEL") ?? "information"),
            LogFormat = ParseFormat(Get("VOLANT_LOG_FORMAT") ?? "automatic", underSystemd: Get("JOURNAL_STREAM") is not null),
            NotifySocket = Get("NOTIFY_SOCKET"),
            OpenTelemetry = variables.Where(variable => variable.Key.StartsWith("OTEL_", StringComparison.Ordinal) && variable.Value.Length > 0).ToDictionary(StringComparer.Ordinal),
        }));
        return ParseInsecure(Get("VOLANT_INSECURE")) || options.Listen.IsLocal || options.ApiKey is not null
            ? options
            : throw Bad("VOLANT_API_LISTEN", options.Listen.ToString(), "a loopback address or unix:/path, or a VOLANT_API_KEY, or VOLANT_INSECURE=1");

        string? Get(string name) => variables.GetValueOrDefault(name)?.Trim() is { Length: > 0 } value ? value : null;

        string AbsolutePath(string name, string fallback)
        {
            var value = Get(name) ?? fallback;
            value = value.StartsWith("~/", StringComparison.Ordinal) ? Path.Combine(home, value[2..]) : value;
            return Path.IsPathRooted(value) && !value.Contains('\0', StringComparison.Ordinal) ? Path.GetFullPath(value) : throw Bad(name, value, "an absolute path");
        }

        int ParseNumber(string name, int fallback, int least, int most) =>
            Get(name) is not { } text ? fallback
            : int.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out var number) && number >= least && number <= most ? number
            : throw Bad(name, text, $"a whole number from {least} to {most}");
    }

    /// <summary>Adds what concerns guests on the bridge.</summary>
    private static DaemonOptions ReadGuestNetwork(Func<string, string?> get, DaemonOptions options)
    {
        var dnsmasq = get("VOLANT_DNSMASQ") ?? "auto";
        return options with
        {
            IPv6 = ParseSubnet6(get("VOLANT_SUBNET6"), options.Bridge),
            ReservedAddresses = ParseReserved(get("VOLANT_RESERVED_ADDRESSES"), options.Subnet),
            Firewall = ParseSwitch("VOLANT_FIREWALL", get("VOLANT_FIREWALL")),
            GuestIsolation = ParseSwitch("VOLANT_GUEST_ISOLATION", get("VOLANT_GUEST_ISOLATION")),
            Dnsmasq = dnsmasq is "auto" or "off" ? null : ParseProgram("VOLANT_DNSMASQ", dnsmasq),
            ServesGuests = dnsmasq != "off",
            DnsServers = ParseServers(get("VOLANT_DNS_SERVERS")),
        };
    }

    /// <summary>Adds what concerns the limits of hypervisors.</summary>
    private static DaemonOptions ReadConfinement(Func<string, string?> get, DaemonOptions options)
    {
        var group = ParseControlGroup(get("VOLANT_CGROUP"));
        var io = ParseIoMax(get("VOLANT_IO_MAX"));
        return io is null || group is not null
            ? options with { ControlGroup = group, IoMax = io, VmUids = ParseUids(get("VOLANT_VM_UIDS")) }
            : throw Bad("VOLANT_IO_MAX", get("VOLANT_IO_MAX")!, "none, because hypervisors are in no control group of version 2 (VOLANT_CGROUP)");
    }

    private static bool ParseSwitch(string name, string? text) => text switch
    {
        null or "on" => true,
        "off" => false,
        _ => throw Bad(name, text, "on or off"),
    };

    /// <summary>Refuses a directory below which no VM could have its sockets.</summary>
    private static string CheckRuntimeDirectory(string path)
    {
        var sockets = new VmPaths(Path.Combine(path, Guid.Empty.ToString("D")), path).Sockets;
        var excess = sockets.Max(Encoding.UTF8.GetByteCount) - VmPaths.MaxSocketPath;
        return excess <= 0 ? path : throw Bad("VOLANT_RUNTIME_DIR", path, string.Create(
            CultureInfo.InvariantCulture, $"a path of at most {Encoding.UTF8.GetByteCount(path) - excess} bytes, because the sockets of VMs lie below it"));
    }

    private static bool ParseInsecure(string? text) => text switch
    {
        null or "0" => false,
        "1" => true,
        _ => throw Bad("VOLANT_INSECURE", text, "0 or 1"),
    };

    private static (int First, int Last) ParsePorts(string text)
    {
        var parts = text.Split('-');
        return parts.Length == 2 && ushort.TryParse(parts[0], NumberStyles.None, CultureInfo.InvariantCulture, out var first) && first > 0
            && ushort.TryParse(parts[1], NumberStyles.None, CultureInfo.InvariantCulture, out var last) && first <= last
            ? (first, last)
            : throw Bad("VOLANT_PUBLISH_PORTS", text, "two ports, the lower one first, such as 30000-32767");
    }

    private static LogLevel ParseLevel(string text) => text switch
    {
        "trace" => LogLevel.Trace,
        "debug" => LogLevel.Debug,
        "information" or "info" => LogLevel.Information,
        "warning" or "warn" => LogLevel.Warning,
        "error" => LogLevel.Error,
        _ => throw Bad("VOLANT_LOG_LEVEL", text, "trace, debug, information, warning or error"),
    };

    private static LogFormat ParseFormat(string text, bool underSystemd) => text switch
    {
        "automatic" => underSystemd ? LogFormat.Journal : LogFormat.Text,
        "text" => LogFormat.Text,
        "json" => LogFormat.Json,
        "journal" => LogFormat.Journal,
        _ => throw Bad("VOLANT_LOG_FORMAT", text, "text, json, journal or automatic"),
    };

    private static ConfigurationException Bad(string name, string value, string expected) =>
        new($"{name}: '{value}' is not valid; expected {expected}.");

    private static ListenAddress ParseListen(string text)
    {
        const string Name = "VOLANT_API_LISTEN";
        if (text.StartsWith("unix:", StringComparison.Ordinal))
        {
            var path = text["unix:".Length..];
            path = path.StartsWith("//", StringComparison.Ordinal) ? path[2..] : path;
            return Path.IsPathRooted(path) && Encoding.UTF8.GetByteCount(path) <= VmPaths.MaxSocketPath ? new ListenAddress(null, path) : throw Bad(Name, text, "unix: and an absolute path of at most 107 bytes");
        }

        if (text.StartsWith(':'))
        {
            text = "0.0.0.0" + text;
        }

        var normal = text.StartsWith("localhost:", StringComparison.Ordinal) ? "127.0.0.1" + text["localhost".Length..] : text;
        return normal.Contains(':', StringComparison.Ordinal) && IPEndPoint.TryParse(normal, out var endPoint) && normal[^1] != ']'
            ? new ListenAddress(endPoint, null)
            : throw Bad(Name, text, "address:port such as 127.0.0.1:7777, or unix:/path");
    }

    private static IPNetwork ParseSubnet(string text) =>
        IPNetwork.TryParse(text, out var network) && text.StartsWith($"{network.BaseAddress}/", StringComparison.Ordinal) && network.BaseAddress.AddressFamily == AddressFamily.InterNetwork && network.PrefixLength is >= 16 and <= 30
            ? network
            : throw Bad("VOLANT_SUBNET", text, "an IPv4 subnet of /16 to /30 without host bits, such as 192.168.127.0/24");

    private static UniqueLocalPrefix? ParseSubnet6(string? text, string bridge)
    {
        if (text is null or "off")
        {
            return null;
        }

        if (text == "auto")
        {
            return File.Exists(MachineId) && File.ReadAllText(MachineId).Trim() is { Length: > 0 } id
                ? UniqueLocalPrefix.Of(id, bridge)
                : throw Bad("VOLANT_SUBNET6", text, $"a prefix, because this machine has no {MachineId}");
        }

        try
        {
            if (IPNetwork.TryParse(text, out var network) && new UniqueLocalPrefix(network) is var prefix && prefix.Network.BaseAddress.Equals(IPAddress.Parse(text.Split('/')[0])))
            {
                return prefix;
            }
        }
        catch (ArgumentException)
        {
            // Another length, or addresses that are not unique local ones.
        }

        throw Bad("VOLANT_SUBNET6", text, "a /64 of unique local addresses without host bits such as fd3c:51a0:77ee::/64, auto, or off");
    }

    private static IPAddress ParseHostIp(string text, IPNetwork subnet)
    {
        try
        {
            if (IPAddress.TryParse(text, out var address))
            {
                _ = new Subnet(subnet, address);
                return address;
            }
        }
        catch (ArgumentException)
        {
            // Outside of the subnet, or its first or last address, which nobody can have.
        }

        throw Bad("VOLANT_HOST_IP", text, $"an IPv4 address inside {subnet} that is neither its first nor its last");
    }

    private static (IPAddress First, IPAddress Last)[] ParseReserved(string? text, IPNetwork subnet) =>
    [
        .. from entry in (text ?? string.Empty).Split(',', StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries)
           let ends = entry.Split('-', StringSplitOptions.TrimEntries)
           select ends.Length <= 2 && IPAddress.TryParse(ends[0], out var first) && IPAddress.TryParse(ends[^1], out var last)
               && subnet.Contains(first) && subnet.Contains(last) && Subnet.ToNumber(first) <= Subnet.ToNumber(last)
               ? (first, last)
               : throw Bad("VOLANT_RESERVED_ADDRESSES", entry, $"addresses of {subnet}, or ranges of them such as {subnet.BaseAddress}-{subnet.BaseAddress}, separated by commas"),
    ];

    private static string ParseProgram(string name, string text) =>
        Path.IsPathRooted(text) && File.Exists(text) ? Path.GetFullPath(text) : throw Bad(name, text, "auto, off, or the absolute path of an installed program");

    private static IPAddress[]? ParseServers(string? text) => text switch
    {
        null => null,
        "none" => [],
        _ =>
        [
            .. from entry in text.Split(',', StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries)
               select IPAddress.TryParse(entry, out var address) ? address : throw Bad("VOLANT_DNS_SERVERS", entry, "IP addresses separated by commas, or none"),
        ],
    };

    private static string ParseBridge(string text) =>
        text.Length <= MaxInterfaceName && text is not ("." or "..") && text.All(c => char.IsAsciiLetterOrDigit(c) || c is '-' or '_' or '.')
            ? text
            : throw Bad("VOLANT_BRIDGE", text, "an interface name of 1 to 15 letters, digits, '-', '_' or '.'");

    private static string? ParseHypervisor(string? text) => text switch
    {
        null or HypervisorChoice.Qemu or HypervisorChoice.CloudHypervisor => text,
        _ when Path.IsPathRooted(text) && Path.GetFileName(text).Length > 0 => text,
        _ => throw Bad("VOLANT_HYPERVISOR", text, "qemu, cloud-hypervisor, or the absolute path of a program: QEMU's if its file name starts with qemu, otherwise Cloud Hypervisor's"),
    };

    private static string? ParseControlGroup(string? text)
    {
        const string Mount = "/sys/fs/cgroup";
        var there = File.Exists($"{Mount}/cgroup.controllers");
        return text switch
        {
            null => there && MayConfine() ? $"{Mount}/volant" : null,
            "off" => null,
            _ when Path.IsPathRooted(text) && File.Exists(Path.Combine(Path.GetDirectoryName(Path.TrimEndingDirectorySeparator(text)) ?? "/", "cgroup.controllers")) => Path.TrimEndingDirectorySeparator(text),
            _ => throw Bad("VOLANT_CGROUP", text, $"off, or a directory to be made in a control group of version 2, such as {Mount}/volant"),
        };
    }

    /// <summary>In the words of <c>io.max</c>, with numbers written out.</summary>
    private static string? ParseIoMax(string? text)
    {
        if (text is null or "none")
        {
            return null;
        }

        var words = text.Split(',', StringSplitOptions.TrimEntries).Select(word => word.Split('=')).ToList();
        return words.All(word => word is ["rbps" or "wbps" or "riops" or "wiops", _] && ParseAmount(word[1]) is > 0) && words.DistinctBy(word => word[0], StringComparer.Ordinal).Count() == words.Count
            ? string.Join(' ', words.Select(word => string.Create(CultureInfo.InvariantCulture, $"{word[0]}={ParseAmount(word[1])}")))
            : throw Bad("VOLANT_IO_MAX", text, "rbps, wbps, riops and wiops with a number each, K, M or G after it for powers of 1024, separated by commas; or none");

        static long? ParseAmount(string word)
        {
            var unit = word.Length > 0 ? "KMG".IndexOf(word[^1], StringComparison.Ordinal) + 1 : 0;
            return long.TryParse(unit > 0 ? word[..^1] : word, NumberStyles.None, CultureInfo.InvariantCulture, out var number) && number <= long.MaxValue >> (10 * unit) ? number << (10 * unit) : null;
        }
    }

    /// <summary>Whether hypervisors can have users, file views and control groups of their own: root can give them, and a service with these rights.</summary>
    private static bool MayConfine() =>
        EffectiveUser.Has(Capability.Chown, Capability.DacOverride, Capability.Kill, Capability.SetGid, Capability.SetUid, Capability.SysAdmin, Capability.Mknod) && FileView.IsPossible();

    private static (uint First, uint Last)? ParseUids(string? text)
    {
        const uint First = 200_000, Last = 265_535, LastUid = 4_294_967_293;
        if (text is null)
        {
            return MayConfine() ? (First, Last) : null;
        }

        if (text == "off")
        {
            return null;
        }

        var parts = text.Split('-');
        return parts.Length == 2 && uint.TryParse(parts[0], NumberStyles.None, CultureInfo.InvariantCulture, out var first) &&
            uint.TryParse(parts[1], NumberStyles.None, CultureInfo.InvariantCulture, out var last) && first > 0 && first < last && last <= LastUid
            ? MayConfine() ? (first, last) : throw Bad("VOLANT_VM_UIDS", text, "off, because running programs as other users, with files of their own, needs root, or the capabilities of the unit of 'volar setup'")
            : throw Bad("VOLANT_VM_UIDS", text, "off, or a range of user ids such as 200000-265535");
    }

    private static string[] ParseDirectories(string text)
    {
        var directories = text.Split(':', StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries);
        return directories.All(Path.IsPathRooted) ? directories : throw Bad("VOLANT_IMAGE_DIRS", text, "absolute paths separated by colons");
    }

    private static string[] ParseDevices(string? text)
    {
        var entries = (text ?? string.Empty).ToLowerInvariant().Split(',', StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries);
        return entries.FirstOrDefault(entry => !DeviceRules.IsId(entry) && !DeviceRules.IsAddress(entry)) is { } bad
            ? throw Bad("VOLANT_VFIO_ALLOW", bad, "devices such as 10de:2204, 10de:* or 0000:01:00.0, separated by commas")
            : entries;
    }

    private static string? ParseKey(string? text) =>
        text is null || (text.Length >= 8 && text.All(c => c is > ' ' and < '\x7f')) ? text : throw new ConfigurationException("VOLANT_API_KEY: the value is not shown; expected at least 8 printable ASCII characters without spaces.");

    private static IPNetwork[] ParseNetworks(string name, string? text) =>
    [
        .. from entry in (text ?? string.Empty).Split(',', StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries)
           select IPNetwork.TryParse(entry, out var network) ? network
               : IPAddress.TryParse(entry, out var address) ? new IPNetwork(address, address.AddressFamily == AddressFamily.InterNetwork ? 32 : 128)
               : throw Bad(name, entry, "networks such as 10.0.0.0/8, separated by commas"),
    ];

    private static string[] ParseOrigins(string? text)
    {
        var origins = (text ?? string.Empty).Split(',', StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries);
        foreach (var origin in origins)
        {
            var exact = Uri.TryCreate(origin, UriKind.Absolute, out var url) && url.Scheme is "http" or "https" && url.GetLeftPart(UriPartial.Authority) == origin;
            if (origin != "*" && !exact)
            {
                throw Bad("VOLANT_CORS_ORIGINS", origin, "origins such as https://console.example.org, or *");
            }
        }

        return origins;
    }
}
