using System.Globalization;

namespace Volant.Contracts.Manifests;

/// <summary>Normalisation and rules of a manifest (contract §4). Pure; reports every fault at once.</summary>
public static class ManifestRules
{
    /// <summary>Most virtual CPUs of a VM.</summary>
    public const int MaxCpuCores = 255;

    /// <summary>Most memory of a VM in MiB (4 TiB).</summary>
    public const int MaxMemoryMib = 4 * 1024 * 1024;

    /// <summary>Label that names the plugin.</summary>
    public const string PluginLabel = "volant.plugin";

    /// <summary>Label that names the runtime.</summary>
    public const string RuntimeLabel = "volant.runtime";

    /// <summary>Most disks of a VM besides its root disk.</summary>
    public const int MaxDisks = 16;

    /// <summary>Longest name of a disk: a guest sees it as the serial number, which virtio limits (struct virtio_blk_req, VIRTIO_BLK_ID_BYTES).</summary>
    public const int MaxDiskName = 20;

    /// <summary>What <see cref="IsDiskName"/> asks for.</summary>
    internal static readonly string DiskNameRule = string.Create(CultureInfo.InvariantCulture, $"must be 1 to {MaxDiskName} lower-case letters, digits or inner hyphens, and not 'root' or 'cidata'");

    private const string Twice = "is the same as another name but for the spaces around it";

    private static readonly Dictionary<string, string> NoText = new(StringComparer.Ordinal);
    private static readonly string[] SchemaVersions = ["1.0", "v1"];
    private static readonly string[] Methods = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];

    /// <summary>Trims strings, lower-cases enumerations, drops empty entrypoint words, fills defaults and sets the labels.</summary>
    public static PluginManifest Normalise(PluginManifest manifest)
    {
        ArgumentNullException.ThrowIfNull(manifest);
        var name = Trim(manifest.Name);
        var runtime = Trim(manifest.Runtime) ?? name;
        return manifest with
        {
            SchemaVersion = Trim(manifest.SchemaVersion)?.ToLowerInvariant(),
            Name = name,
            Version = Trim(manifest.Version),
            Runtime = runtime,
            Enabled = manifest.Enabled ?? true,
            Image = Trim(manifest.Image),
            ImageDigest = Trim(manifest.ImageDigest),
            OpenApi = Trim(manifest.OpenApi),
            Labels = NormaliseLabels(manifest.Labels, name, runtime),
            Workload = manifest.Workload is not { } workload ? null : workload with
            {
                Type = Trim(workload.Type)?.ToLowerInvariant(),
                Entrypoint = workload.Entrypoint?.Select(word => word?.Trim()!).Where(word => word is not { Length: 0 }).ToArray(),
                BaseUrl = Trim(workload.BaseUrl),
                Workdir = Trim(workload.Workdir),
                User = Trim(workload.User),
            },
            Initramfs = NormaliseMedia(manifest.Initramfs),
            Rootfs = NormaliseRootfs(manifest.Rootfs),
            Disks = manifest.Disks?.Select(NormaliseDisk).ToArray(),
            CloudInit = CloudInitRules.Normalise(manifest.CloudInit),
            Network = NormaliseNetwork(manifest.Network),
            Devices = DeviceRules.Normalise(manifest.Devices),
            Actions = manifest.Actions is null ? null : TrimKeys(manifest.Actions, action => action is null ? null! : action with { Method = Trim(action.Method)?.ToUpperInvariant(), Path = Trim(action.Path) }),
            HealthCheck = manifest.HealthCheck is not { } check ? null : check with { Endpoint = Trim(check.Endpoint) },
        };
    }

    private static SortedDictionary<string, string> NormaliseLabels(IReadOnlyDictionary<string, string>? given, string? name, string? runtime)
    {
        var labels = new SortedDictionary<string, string>(TrimKeys(given ?? NoText, value => value?.Trim()!), StringComparer.Ordinal);

        if (name is not null)
        {
            labels[PluginLabel] = name;
        }

        if (runtime is not null)
        {
            labels[RuntimeLabel] = runtime;
        }

        return labels;
    }

    /// <summary>Lower-cases and trims a network section.</summary>
    public static NetworkConfig? NormaliseNetwork(NetworkConfig? network) => network is null ? null : network with
    {
        Mode = Trim(network.Mode)?.ToLowerInvariant(),
        Subnet = Trim(network.Subnet),
        Gateway = Trim(network.Gateway),
    };

    /// <summary>Trims a medium and writes its checksum as bare lower-case hex.</summary>
    public static BootMedia? NormaliseMedia(BootMedia? media) => media is null ? null : media with
    {
        Url = Trim(media.Url),
        Checksum = NormaliseChecksum(media.Checksum),
    };

    /// <summary>The same for a root image, whose format is raw when it has none.</summary>
    public static RootfsMedia? NormaliseRootfs(RootfsMedia? rootfs) => rootfs is null ? null : rootfs with
    {
        Url = Trim(rootfs.Url),
        Checksum = NormaliseChecksum(rootfs.Checksum),
        Format = Trim(rootfs.Format)?.ToLowerInvariant() ?? DiskFormats.Raw,
    };

    private static ManifestDisk NormaliseDisk(ManifestDisk? disk) => disk is null ? null! : disk with
    {
        Name = Trim(disk.Name),
        Source = Trim(disk.Source),
        Checksum = NormaliseChecksum(disk.Checksum),
        Format = Trim(disk.Format)?.ToLowerInvariant() ?? DiskFormats.Raw,
        Target = Trim(disk.Target)?.ToLowerInvariant(),
    };

    /// <summary>Returns every broken rule of a normalised manifest; empty when it is valid.</summary>
    public static IReadOnlyList<FieldError> Validate(PluginManifest manifest)
    {
        ArgumentNullException.ThrowIfNull(manifest);
        var faults = new FaultList();
        faults.OneOf("schema_version", manifest.SchemaVersion, SchemaVersions);
        faults.Require(Names.IsPluginName(manifest.Name), "name", "must be 1 to 63 lower-case letters, digits, '-', '_' or '.', starting and ending with a letter or digit");
        faults.Text("version", manifest.Version, 128);
        faults.Word("runtime", manifest.Runtime, 128);
        foreach (var (key, value) in manifest.Labels ?? NoText)
        {
            faults.Require(value is not null, $"labels.{key}", "must be a text");
            faults.Require(IsTrimmed(key), $"labels.{key}", Twice);
        }

        ValidateResources(faults, "resources", manifest.Resources, required: true);
        ValidateWorkload(faults, manifest.Workload);
        faults.Require(manifest.Initramfs is not null || manifest.Rootfs is not null, "$", "needs at least one of 'initramfs' and 'rootfs'");
        ValidateMedia(faults, "initramfs", manifest.Initramfs);
        ValidateRootfs(faults, "rootfs", manifest.Rootfs);
        ValidateDisks(faults, manifest.Disks ?? []);
        CloudInitRules.Validate(faults, "cloud_init", manifest.CloudInit);
        ValidateNetwork(faults, "network", manifest.Network);
        DeviceRules.Validate(faults, "devices", manifest.Devices);
        ValidateActions(faults, manifest.Actions);
        if (manifest.HealthCheck is { } check)
        {
            ValidateHealthCheck(faults, check, manifest.Workload);
        }

        return faults.All;
    }

    /// <summary>Checks a size; members may be absent unless <paramref name="required"/>.</summary>
    internal static void ValidateResources(FaultList faults, string path, ManifestResources? resources, bool required)
    {
        if (resources is null)
        {
            faults.Require(!required, path, "is required: {\"cpu_cores\": 1, \"memory_mb\": 256}");
            return;
        }

        if (required || resources.CpuCores is not null)
        {
            faults.Range($"{path}.cpu_cores", resources.CpuCores, 1, MaxCpuCores);
        }

        if (required || resources.MemoryMb is not null)
        {
            faults.Range($"{path}.memory_mb", resources.MemoryMb, 1, MaxMemoryMib);
        }
    }

    /// <summary>Checks a network section.</summary>
    internal static void ValidateNetwork(FaultList faults, string path, NetworkConfig? network)
    {
        if (network is null)
        {
            return;
        }

        if (network.Mode is not null)
        {
            faults.OneOf($"{path}.mode", network.Mode, [.. NetworkModes.All]);
        }

        faults.Require(network.Subnet is null || System.Net.IPNetwork.TryParse(network.Subnet, out _), $"{path}.subnet", "must be an IPv4 subnet such as '10.1.0.0/24'");
        faults.Require(network.Gateway is null || System.Net.IPAddress.TryParse(network.Gateway, out _), $"{path}.gateway", "must be an IPv4 address");
    }

    /// <summary>Checks a boot medium.</summary>
    internal static void ValidateMedia(FaultList faults, string path, BootMedia? media)
    {
        if (media is null)
        {
            return;
        }

        faults.Require(MediaReference.TryParse(media.Url, out _), $"{path}.url", "must be http(s)://…, volant://sha256/<64 hex>, file:///… or an absolute path");
        faults.Require(media.Checksum is null || Sha256Text.IsValid(media.Checksum), $"{path}.checksum", "must be 'sha256:' and 64 hex digits, or 64 hex digits");
    }

    /// <summary>Checks a root image.</summary>
    internal static void ValidateRootfs(FaultList faults, string path, RootfsMedia? rootfs)
    {
        ValidateMedia(faults, path, rootfs);
        if (rootfs is not null)
        {
            faults.OneOf($"{path}.format", rootfs.Format, DiskFormats.All);
        }
    }

    private static void ValidateWorkload(FaultList faults, Workload? workload)
    {
        if (workload is null)
        {
            faults.Add("workload", "is required");
            return;
        }

        faults.OneOf("workload.type", workload.Type, WorkloadTypes.All);
        faults.Require(workload.Entrypoint is { Count: > 0 and <= 256 }, "workload.entrypoint", "must name a program and at most 255 arguments");
        faults.Require(workload.Entrypoint is not [var program, ..] || program?.StartsWith('/') == true, "workload.entrypoint[0]", "must be an absolute path in the guest");
        faults.Require(workload.Entrypoint?.All(word => word?.Contains('\0', StringComparison.Ordinal) == false) ?? true, "workload.entrypoint", "must be words without a NUL character");
        faults.Require(
            (workload.BaseUrl is null && workload.Type == WorkloadTypes.Process) || (Uri.TryCreate(workload.BaseUrl, UriKind.Absolute, out var url) && url.Scheme == Uri.UriSchemeHttp && System.Net.IPAddress.TryParse(url.Host.Trim('[', ']'), out _)),
            "workload.base_url",
            "must be http://<IP address>:<port>, as seen inside the guest");
        faults.Require(workload.Workdir is null || workload.Workdir.StartsWith('/'), "workload.workdir", "must be an absolute path");
        faults.Require(workload.User is null || Api.UserText.IsValid(workload.User), "workload.user", Api.UserText.Rule);
        foreach (var (key, value) in workload.Env ?? NoText)
        {
            faults.Require(key.Length > 0 && !key.AsSpan().ContainsAny('=', '\0') && value is not null && !value.Contains('\0', StringComparison.Ordinal),
                $"workload.env.{key}", "must be a name without '=' and a value without NUL");
        }
    }

    private static void ValidateHealthCheck(FaultList faults, HealthCheck check, Workload? workload)
    {
        faults.Require(new object?[] { check.Endpoint, check.Port, check.Command }.Count(kind => kind is not null) == 1, "health_check", "must have exactly one of 'endpoint', 'port' and 'command'");
        faults.Require(check.Endpoint is null || IsPath(check.Endpoint), "health_check.endpoint", "must be an absolute path such as '/healthz'");
        faults.Require(check.Endpoint is null || workload is not { Type: WorkloadTypes.Process, BaseUrl: null }, "health_check.endpoint", "needs 'workload.base_url'; use 'port' or 'command'");
        faults.Range("health_check.port", check.Port ?? 1, 1, ushort.MaxValue);
        faults.Require(check.Command is null or [['/', ..], ..] && (check.Command?.Count ?? 0) <= 256, "health_check.command", "must be a program, an absolute path in the guest, and at most 255 arguments");
        faults.Require(check.Command?.All(word => word?.Contains('\0', StringComparison.Ordinal) == false) ?? true, "health_check.command", "must be words without a NUL character");
        faults.Range("health_check.timeout_ms", check.TimeoutMs ?? 2000, 1, 60_000);
    }

    private static void ValidateDisks(FaultList faults, IReadOnlyList<ManifestDisk> disks)
    {
        faults.Require(disks.Count <= MaxDisks, "disks", string.Create(CultureInfo.InvariantCulture, $"must be at most {MaxDisks}"));
        var names = new HashSet<string>(StringComparer.Ordinal);
        for (var i = 0; i < disks.Count; i++)
        {
            var path = string.Create(CultureInfo.InvariantCulture, $"disks[{i}]");
            if (disks[i] is null)
            {
                faults.Add(path, "must be an object");
                continue;
            }

            faults.Require(IsDiskName(disks[i].Name), $"{path}.name", DiskNameRule);
            faults.Require(disks[i].Name is not { } name || names.Add(name), $"{path}.name", "is used twice");
            faults.Require(MediaReference.TryParse(disks[i].Source, out _), $"{path}.source", "must be http(s)://…, volant://sha256/<64 hex>, file:///… or an absolute path");
            faults.Require(disks[i].Checksum is not { } sum || Sha256Text.IsValid(sum), $"{path}.checksum", "must be a SHA-256");
            faults.OneOf($"{path}.format", disks[i].Format, DiskFormats.All);
            faults.Require(disks[i].Target is null || IsDiskDevice(disks[i].Target!), $"{path}.target", "must be a device such as 'vdb'");
        }
    }

    private static void ValidateActions(FaultList faults, IReadOnlyDictionary<string, ManifestAction>? actions)
    {
        if (actions is null)
        {
            return;
        }

        faults.Require(actions.Count <= 256, "actions", "must be at most 256");
        foreach (var (name, action) in actions)
        {
            if (action is null)
            {
                faults.Add($"actions.{name}", "must be an object");
                continue;
            }

            faults.Require(name.Length is > 0 and <= 64, $"actions.{name}", "must have a name of 1 to 64 characters");
            faults.Require(IsTrimmed(name), $"actions.{name}", Twice);
            faults.OneOf($"actions.{name}.method", action.Method, Methods);
            faults.Require(IsPath(action.Path), $"actions.{name}.path", "must be an absolute path");
            faults.Range($"actions.{name}.timeout_ms", action.TimeoutMs ?? 1, 1, 3_600_000);
        }
    }

    /// <summary>Whether a disk may have that name.</summary>
    internal static bool IsDiskName(string? name) => Names.IsDnsLabel(name) && name.Length <= MaxDiskName && name is not ("root" or "cidata");

    /// <summary>Whether a text names a disk of a guest.</summary>
    internal static bool IsDiskDevice(string device) => device is ['v', 'd', >= 'a' and <= 'z'];

    private static bool IsPath(string? path) =>
        path is ['/', ..] && !path.AsSpan().ContainsAnyInRange('\0', ' ') && !path.StartsWith("//", StringComparison.Ordinal);

    /// <summary>Trims keys. One that another has taken already keeps its spaces, so that <see cref="Validate"/> can refuse it.</summary>
    private static Dictionary<string, T> TrimKeys<T>(IReadOnlyDictionary<string, T> map, Func<T, T> normalise)
    {
        var trimmed = new Dictionary<string, T>(StringComparer.Ordinal);
        foreach (var (key, value) in map.OrderBy(entry => !IsTrimmed(entry.Key)))
        {
            trimmed.TryAdd(trimmed.ContainsKey(key.Trim()) ? key : key.Trim(), normalise(value));
        }

        return trimmed;
    }

    private static bool IsTrimmed(string key) => key.Length == key.AsSpan().Trim().Length;

    private static string? Trim(string? text) => text?.Trim() is { Length: > 0 } trimmed ? trimmed : null;

    private static string? NormaliseChecksum(string? text) => Trim(text) is { } sum ? Sha256Text.Normalise(sum) : null;
}
