using System.Net;
using Volant.Contracts.Boot;
using Volant.Contracts.Manifests;

namespace Volant.Contracts.Api;

/// <summary>Values of <see cref="RestartConfig.Policy"/>.</summary>
public static class RestartPolicies
{
    /// <summary>Never.</summary>
    public const string No = "no";

    /// <summary>After a crash.</summary>
    public const string OnFailure = "on-failure";

    /// <summary>After every end that nobody asked for.</summary>
    public const string Always = "always";

    /// <summary>All of them.</summary>
    public static IReadOnlyList<string> All { get; } = [No, OnFailure, Always];
}

/// <summary>Rules of a VM's configuration and of a create request (contract §2, §5). Pure; reports every fault at once.</summary>
public static class VmConfigRules
{
    /// <summary>Most words of a user for the kernel, in characters.</summary>
    public const int MaxKernelWords = 1024;

    /// <summary>Faults of the members of a request that stand outside its configuration.</summary>
    public static IReadOnlyList<FieldError> ValidateRequest(CreateVmRequest request)
    {
        ArgumentNullException.ThrowIfNull(request);
        var faults = new FaultList();
        faults.Require(Names.IsDnsLabel(request.Name), "name", "must be 1 to 63 lower-case letters, digits or inner hyphens");
        faults.Require((request.Plugin ?? request.Config?.Plugin) is { Length: > 0 }, "plugin", "is required");
        if (request.CpuCores is { } cpus)
        {
            faults.Range("cpu_cores", cpus, 1, ManifestRules.MaxCpuCores);
        }

        if (request.MemoryMb is { } memory)
        {
            faults.Range("memory_mb", memory, 1, ManifestRules.MaxMemoryMib);
        }

        return faults.All;
    }

    /// <summary>Faults of a configuration, paths relative to it.</summary>
    public static IReadOnlyList<FieldError> Validate(VmConfig config)
    {
        ArgumentNullException.ThrowIfNull(config);
        var faults = new FaultList();
        if (config.Runtime is not null)
        {
            faults.Word("runtime", config.Runtime, 128);
        }

        ManifestRules.ValidateResources(faults, "resources", config.Resources, required: false);
        ManifestRules.ValidateNetwork(faults, "network", config.Network);
        DeviceRules.Validate(faults, "devices", config.Devices);
        ManifestRules.ValidateMedia(faults, "initramfs", config.Initramfs);
        ManifestRules.ValidateRootfs(faults, "rootfs", config.Rootfs);
        if (config.KernelCmdline is { } words)
        {
            faults.Require(
                words.Length <= MaxKernelWords && !words.Any(char.IsControl) && words.Count(c => c == '"') % 2 == 0,
                "kernel_cmdline", $"must be at most {MaxKernelWords} printable characters with closed quotes");
        }

        if (config.KernelOverride is { } kernel)
        {
            faults.Require(MediaReference.TryParse(kernel, out _), "kernel_override", "must be volant://sha256/<64 hex>, file:///… or an absolute path");
        }

        if (config.Restart is { } restart)
        {
            faults.OneOf("restart.policy", restart.Policy ?? RestartPolicies.No, RestartPolicies.All);
            faults.Range("restart.max_attempts", restart.MaxAttempts ?? 0, 0, 1000);
            faults.Range("restart.backoff_ms", restart.BackoffMs ?? 1000, 10, 60_000);
            faults.Range("restart.stable_after_ms", restart.StableAfterMs ?? 60_000, 1000, 86_400_000);
        }

        RouteRules.Validate(faults, "expose", config.Expose);
        CloudInitRules.Validate(faults, "cloud_init", config.CloudInit);
        VolumeRules.Validate(faults, "volumes", config.Volumes);
        if (config.Api is { } api)
        {
            faults.Require(api.Host is null || (KernelCommandLine.IsWord(api.Host) && IPAddress.TryParse(api.Host, out _)), "api.host", "must be an IP address");
            faults.Range("api.port", api.Port, 1, 65_535);
        }

        return faults.All;
    }
}
