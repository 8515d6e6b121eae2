using System.Net;
using Volant.Daemon.Networking;
using Volant.Linux.Processes;

namespace Volant.Daemon;

/// <summary>Settings of the daemon, read from the environment by <see cref="DaemonEnvironment"/> (contract §7).</summary>
internal sealed record DaemonOptions
{
    /// <summary>SQLite database.</summary>
    public required string DatabasePath { get; init; }

    /// <summary>Where the API listens: an address and port, or a unix socket.</summary>
    public required ListenAddress Listen { get; init; }

    /// <summary>URL that clients should use.</summary>
    public required string Advertise { get; init; }

    /// <summary>Name of the bridge of bridged VMs.</summary>
    public required string Bridge { get; init; }

    /// <summary>Subnet of bridged VMs.</summary>
    public required IPNetwork Subnet { get; init; }

    /// <summary>Address of the host in <see cref="Subnet"/>.</summary>
    public required IPAddress HostIp { get; init; }

    /// <summary>IPv6 network of the same VMs; null for none.</summary>
    public UniqueLocalPrefix? IPv6 { get; init; }

    /// <summary>Ranges of <see cref="Subnet"/> that no VM gets, first and last address each.</summary>
    public IReadOnlyList<(IPAddress First, IPAddress Last)> ReservedAddresses { get; init; } = [];

    /// <summary>Whether guests on the bridge are kept from posing as others and from reaching the host.</summary>
    public bool Firewall { get; init; } = true;

    /// <summary>Whether guests on the bridge are kept from reaching each other.</summary>
    public bool GuestIsolation { get; init; } = true;

    /// <summary>Program that answers guests' DHCP and DNS; null for the installed one, if there is one.</summary>
    public string? Dnsmasq { get; init; }

    /// <summary>Whether there may be such a program.</summary>
    public bool ServesGuests { get; init; } = true;

    /// <summary>Where guests' DNS asks for names of others; null for where this host asks, empty for nowhere.</summary>
    public IReadOnlyList<IPAddress>? DnsServers { get; init; }

    /// <summary>Sockets of running VMs, one directory each.</summary>
    public required string RuntimeDirectory { get; init; }

    /// <summary>Console and hypervisor logs, one directory per VM.</summary>
    public required string LogDirectory { get; init; }

    /// <summary>Kernel in bzImage format.</summary>
    public required string KernelBzImage { get; init; }

    /// <summary>Kernel as ELF with a PVH note; preferred, when it exists, for guests without a root disk: it needs no decompression.</summary>
    public required string KernelVmlinux { get; init; }

    /// <summary>The agent that VMs with a root disk and no initramfs boot with.</summary>
    public required string Agent { get; init; }

    /// <summary>"qemu", "cloud-hypervisor", a path, or null for the best that is there.</summary>
    public string? Hypervisor { get; init; }

    /// <summary>Directory of the control group (version 2) that the groups of hypervisors are made in; null to limit none.</summary>
    public string? ControlGroup { get; init; }

    /// <summary>How much of the disk below <see cref="StateDirectory"/> each hypervisor may use, in the words of <c>io.max</c>; null for no limit.</summary>
    public string? IoMax { get; init; }

    /// <summary>First and last of the user ids that hypervisors run as, one VM's as one; null to run them as the daemon's user.</summary>
    public (uint First, uint Last)? VmUids { get; init; }

    /// <summary>The user that the hypervisor of a VM runs as; null for the daemon's own.</summary>
    /// <param name="vmId">The VM's number in the store: two VMs of one user would have to be as many VMs apart as there are users.</param>
    public ProcessUser? VmUserOf(long vmId)
    {
        if (VmUids is not var (first, last))
        {
            return null;
        }

        var id = first + (uint)(vmId % (last - first + 1));
        return new ProcessUser(id, id, []);
    }

    /// <summary>Directories below which a manifest or configuration may name host files.</summary>
    public required IReadOnlyList<string> ImageDirectories { get; init; }

    /// <summary>PCI devices that may be passed through: <c>vendor:device</c>, <c>vendor:*</c> or an address; empty for none.</summary>
    public IReadOnlyList<string> VfioAllow { get; init; } = [];

    /// <summary>Key that every request but <c>/healthz</c> must carry; null for none.</summary>
    public string? ApiKey { get; init; }

    /// <summary>Peers that may connect; empty for all.</summary>
    public IReadOnlyList<IPNetwork> AllowCidr { get; init; } = [];

    /// <summary>Browser origins that may call, exact, or a single <c>*</c>.</summary>
    public IReadOnlyList<string> CorsOrigins { get; init; } = [];

    /// <summary>Largest artifact in bytes, uploaded, downloaded or copied.</summary>
    public required long MaxArtifactBytes { get; init; }

    /// <summary>How long an artifact that nobody names stays after its last use.</summary>
    public required TimeSpan KeepArtifacts { get; init; }

    /// <summary>Longest time of one download.</summary>
    public required TimeSpan DownloadTimeout { get; init; }

    /// <summary>Longest time of a download without a byte.</summary>
    public required TimeSpan DownloadSilence { get; init; }

    /// <summary>Networks that downloads may reach besides the public ones.</summary>
    public IReadOnlyList<IPNetwork> DownloadAllow { get; init; } = [];

    /// <summary>How long a guest may take from launch until its agent answers.</summary>
    public required TimeSpan BootTimeout { get; init; }

    /// <summary>How long a guest may take until it begins to answer a forwarded request.</summary>
    public required TimeSpan AgentTimeout { get; init; }

    /// <summary>Address of the host that published ports listen on.</summary>
    public required IPAddress PublishAddress { get; init; }

    /// <summary>Where a published port comes from when nobody names it.</summary>
    public required (int First, int Last) PublishPorts { get; init; }

    /// <summary>Expensive calls a second of one client; 0 for no limit.</summary>
    public required int RateLimit { get; init; }

    /// <summary>How the log is written.</summary>
    public LogFormat LogFormat { get; init; }

    /// <summary>What the log leaves out.</summary>
    public LogLevel LogLevel { get; init; } = LogLevel.Information;

    /// <summary>Variables whose names start with <c>OTEL_</c>, for the OpenTelemetry SDK.</summary>
    public IReadOnlyDictionary<string, string> OpenTelemetry { get; init; } = new Dictionary<string, string>(StringComparer.Ordinal);

    /// <summary>Where the service manager wants to be told that the daemon is ready (<c>NOTIFY_SOCKET</c>); null when nobody waits for that.</summary>
    public string? NotifySocket { get; init; }

    /// <summary>Whether traces have a destination.</summary>
    public bool ExportsTraces => OpenTelemetry.ContainsKey("OTEL_EXPORTER_OTLP_ENDPOINT") || OpenTelemetry.ContainsKey("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT");

    /// <summary>Where the database lies; the artifact cache is beside it.</summary>
    public string StateDirectory => Path.GetDirectoryName(DatabasePath)!;

    /// <summary>Disks of VMs, one directory each.</summary>
    public string DiskDirectory => Path.Combine(StateDirectory, "disks");

    /// <summary>Files of volumes.</summary>
    public string VolumeDirectory => Path.Combine(StateDirectory, "volumes");

    /// <summary>Content-addressed artifacts.</summary>
    public string CacheDirectory => Path.Combine(StateDirectory, "cache");
}

/// <summary>How the log is written.</summary>
internal enum LogFormat
{
    /// <summary>A line of text each, with its time.</summary>
    Text,

    /// <summary>A JSON object in a line each.</summary>
    Json,

    /// <summary>Text without a time but with the priority in front that journald reads (sd-daemon(3)).</summary>
    Journal,
}

/// <summary>Where the API listens.</summary>
/// <param name="EndPoint">Address and port; null for a unix socket.</param>
/// <param name="SocketPath">Unix socket; null for an address.</param>
internal sealed record ListenAddress(IPEndPoint? EndPoint, string? SocketPath)
{
    /// <summary>Whether only this host can connect.</summary>
    public bool IsLocal => EndPoint is null || IPAddress.IsLoopback(EndPoint.Address);

    /// <summary>The form that a user writes.</summary>
    public override string ToString() => EndPoint?.ToString() ?? $"unix:{SocketPath}";
}
