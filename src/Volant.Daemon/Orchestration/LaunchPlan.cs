using Volant.Contracts;
using Volant.Contracts.Api;
using Volant.Contracts.Manifests;
using Volant.Daemon.Store;

namespace Volant.Daemon.Orchestration;

/// <summary>The effective values of a VM: explicit request field, then configuration, then manifest, then default (contract §5).</summary>
/// <remarks>The one place of that precedence, used by create, start and recovery alike. Pure; reports every fault at once.</remarks>
internal sealed record LaunchPlan
{
    /// <summary>Virtual CPUs when nothing says otherwise.</summary>
    public const int DefaultCpuCores = 2;

    /// <summary>Memory in MiB when nothing says otherwise.</summary>
    public const int DefaultMemoryMib = 2048;

    /// <summary>Least memory in MiB that the distribution's kernel and the agent boot with.</summary>
    public const int MinimumMemoryMib = 128;

    /// <summary>Installed plugin that it is made from.</summary>
    public required string Plugin { get; init; }

    /// <summary>What the guest is told.</summary>
    public required PluginManifest Manifest { get; init; }

    /// <summary>Runtime family.</summary>
    public required string Runtime { get; init; }

    /// <summary>Virtual CPUs.</summary>
    public required int CpuCores { get; init; }

    /// <summary>Memory in MiB.</summary>
    public required int MemoryMib { get; init; }

    /// <summary>See <see cref="NetworkModes"/>.</summary>
    public required string NetworkMode { get; init; }

    /// <summary>What is asked of the network besides its mode.</summary>
    public NetworkConfig? Network { get; init; }

    /// <summary>Boot medium; null for one that holds the agent alone, which then changes over to the root disk.</summary>
    public BootMedia? Initramfs { get; init; }

    /// <summary>Root image; null when the VM runs from its initramfs.</summary>
    public RootfsMedia? Rootfs { get; init; }

    /// <summary>Its disks, in the order that the guest sees them.</summary>
    public IReadOnlyList<PlannedDisk> Disks { get; init; } = [];

    /// <summary>Kernel in place of the configured one.</summary>
    public string? KernelOverride { get; init; }

    /// <summary>The user's words for the kernel.</summary>
    public string? KernelWords { get; init; }

    /// <summary>Where the agent's TCP listener binds, if it is wanted.</summary>
    public ApiEndpoint? Api { get; init; }

    /// <summary>Ports of the host that lead to it.</summary>
    public IReadOnlyList<ExposedPort> Expose { get; init; } = [];

    /// <summary>PCI devices to pass through, as addresses.</summary>
    public IReadOnlyList<string> Devices { get; init; } = [];

    /// <summary>Which devices the user allows, within what the operator does; empty for all of those.</summary>
    public IReadOnlyList<string> DeviceAllowlist { get; init; } = [];

    /// <summary>Documents of its cloud-init seed; null for no seed.</summary>
    public Contracts.Manifests.CloudInit? CloudInit { get; init; }

    /// <summary>Whether it has files that live as long as the VM: disks from images, or a seed.</summary>
    public bool HasDiskFiles => CloudInit is not null || Disks.Any(disk => disk.Image is not null);

    /// <summary>Volumes among them.</summary>
    public IReadOnlyList<VolumeLease> Volumes => [.. Disks.Where(disk => disk.Image is null).Select(disk => new VolumeLease(disk.Name, disk.ReadOnly))];

    /// <summary>Puts the explicit fields of a request on top of its configuration: what is stored as version 1.</summary>
    public static VmConfig Merge(CreateVmRequest request)
    {
        var config = request.Config ?? new VmConfig();
        return Normalise(config with
        {
            Plugin = request.Plugin ?? config.Plugin,
            Runtime = request.Runtime ?? config.Runtime,
            KernelCmdline = request.KernelCmdline ?? config.KernelCmdline,
            Resources = request.CpuCores is null && request.MemoryMb is null ? config.Resources : new ManifestResources
            {
                CpuCores = request.CpuCores ?? config.Resources?.CpuCores,
                MemoryMb = request.MemoryMb ?? config.Resources?.MemoryMb,
            },
            Api = request.ApiHost is null && request.ApiPort is null ? config.Api : new ApiEndpoint
            {
                Host = request.ApiHost ?? config.Api?.Host,
                Port = request.ApiPort ?? config.Api?.Port,
            },
        });
    }

    /// <summary>Trims and lower-cases what a manifest's normalising would.</summary>
    public static VmConfig Normalise(VmConfig config) => config with
    {
        Network = ManifestRules.NormaliseNetwork(config.Network),
        Devices = DeviceRules.Normalise(config.Devices),
        Initramfs = ManifestRules.NormaliseMedia(config.Initramfs),
        Rootfs = ManifestRules.NormaliseRootfs(config.Rootfs),
        Expose = RouteRules.Normalise(config.Expose),
        Volumes = VolumeRules.Normalise(config.Volumes),
        CloudInit = CloudInitRules.Normalise(config.CloudInit),
    };

    /// <summary>The plugin that a configuration names.</summary>
    /// <exception cref="VolantException"><c>invalid_request</c>: none.</exception>
    public static string PluginOf(VmConfig config) => config.Plugin ?? throw new VolantException(ErrorCodes.InvalidRequest, "The configuration names no plugin.")
    {
        Fields = [new("config.plugin", "is required")],
    };

    /// <summary>Resolves the effective values.</summary>
    /// <param name="config">Configuration of the VM, see <see cref="Merge"/>.</param>
    /// <param name="installed">Manifest of its plugin.</param>
    /// <param name="hostMemoryMib">Memory of the host in MiB.</param>
    /// <exception cref="VolantException"><c>invalid_request</c>, <c>unsupported</c> or <c>insufficient_capacity</c>.</exception>
    public static LaunchPlan Resolve(VmConfig config, PluginManifest installed, long hostMemoryMib)
    {
        var manifest = config.Manifest is { } own ? ManifestRules.Normalise(own) : installed;
        RejectInvalid(config, manifest);
        var plan = new LaunchPlan
        {
            Plugin = config.Plugin ?? manifest.Name!,
            Manifest = manifest,
            Runtime = config.Runtime ?? manifest.Runtime!,
            CpuCores = config.Resources?.CpuCores ?? manifest.Resources?.CpuCores ?? DefaultCpuCores,
            MemoryMib = config.Resources?.MemoryMb ?? manifest.Resources?.MemoryMb ?? DefaultMemoryMib,
            NetworkMode = config.Network?.Mode ?? manifest.Network?.Mode ?? NetworkModes.Bridged,
            Network = config.Network ?? manifest.Network,
            Initramfs = config.Initramfs ?? manifest.Initramfs,
            Rootfs = config.Rootfs ?? manifest.Rootfs,
            Disks = OrderDisks(config, manifest),
            CloudInit = CloudInitRules.Merge(manifest.CloudInit, config.CloudInit),
            KernelOverride = config.KernelOverride,
            KernelWords = config.KernelCmdline,
            Api = config.Api,
            Expose = config.Expose ?? [],
            Devices = (config.Devices ?? manifest.Devices)?.PciPassthrough ?? [],
            DeviceAllowlist = (config.Devices ?? manifest.Devices)?.Allowlist ?? [],
        };
        RejectUnreachable(plan);
        RejectPaths(plan.CloudInit);
        if (plan.MemoryMib < MinimumMemoryMib)
        {
            throw new VolantException(ErrorCodes.Unsupported, $"{plan.MemoryMib} MiB of memory is less than the kernel and the agent need; ask for at least {MinimumMemoryMib} MiB.")
            {
                Fields = [new("memory_mb", $"must be at least {MinimumMemoryMib}")],
            };
        }

        return plan.MemoryMib <= hostMemoryMib
            ? plan
            : throw new VolantException(ErrorCodes.InsufficientCapacity, $"The VM asks for {plan.MemoryMib} MiB of memory; this host has {hostMemoryMib} MiB.");
    }

    private static IReadOnlyList<PlannedDisk> OrderDisks(VmConfig config, PluginManifest manifest)
    {
        var faults = new List<FieldError>();
        var disks = PlannedDisk.Order(config.Rootfs ?? manifest.Rootfs, manifest.Disks ?? [], config.Volumes ?? [], faults);
        return faults.Count == 0 ? disks : throw Invalid(faults);
    }

    private static VolantException Invalid(IReadOnlyList<FieldError> faults) =>
        new(ErrorCodes.InvalidRequest, $"The configuration is not valid: {string.Join("; ", faults.Select(fault => $"{fault.Path} {fault.Message}"))}.")
        {
            Fields = [.. faults.Select(fault => fault with { Path = $"config.{fault.Path}" })],
        };

    private static void RejectInvalid(VmConfig config, PluginManifest manifest)
    {
        List<FieldError> faults = [.. VmConfigRules.Validate(config)];
        if (config.Manifest is not null)
        {
            faults.AddRange(ManifestRules.Validate(manifest).Select(fault => fault with { Path = $"manifest.{fault.Path}" }));
        }

        if (faults.Count > 0)
        {
            throw Invalid(faults);
        }
    }

    /// <summary>Refuses documents that are files of a client: this host's file of that name is another one.</summary>
    private static void RejectPaths(Contracts.Manifests.CloudInit? seed)
    {
        var faults = new[] { ("user_data", seed?.UserData), ("meta_data", seed?.MetaData), ("network_config", seed?.NetworkConfig) }
            .Where(document => document.Item2?.Path is not null)
            .Select(document => new FieldError($"config.cloud_init.{document.Item1}.path", "is read by volar and fledge, not by volantd; send 'content'")).ToList();
        if (faults.Count > 0)
        {
            throw new VolantException(ErrorCodes.InvalidRequest, $"The cloud-init seed cannot be made: {string.Join("; ", faults.Select(fault => $"{fault.Path} {fault.Message}"))}.") { Fields = faults };
        }
    }

    /// <summary>Refuses ports that lead to an address which the guest will not have.</summary>
    private static void RejectUnreachable(LaunchPlan plan)
    {
        var faults = plan.Expose.Index().Where(entry => entry.Item.Mode is { } mode && mode != NetworkModes.Vsock && mode != plan.NetworkMode)
            .Select(entry => new FieldError($"config.expose[{entry.Index}].mode", $"must be '{plan.NetworkMode}', the VM's network mode, or '{NetworkModes.Vsock}'")).ToList();
        if (faults.Count > 0)
        {
            throw new VolantException(ErrorCodes.Unsupported, $"The guest cannot be reached as its published ports say: {string.Join("; ", faults.Select(fault => $"{fault.Path} {fault.Message}"))}.") { Fields = faults };
        }
    }
}
