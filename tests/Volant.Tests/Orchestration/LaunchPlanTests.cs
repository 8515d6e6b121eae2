using System.Text;
using Volant.Contracts.Api;
using Volant.Contracts.Manifests;
using Volant.Daemon;
using Volant.Daemon.Orchestration;

namespace Volant.Tests.Orchestration;

public sealed class LaunchPlanTests
{
    private static readonly PluginManifest Manifest = ManifestReader.Read(Encoding.UTF8.GetBytes("""
        { "schema_version": "1.0", "name": "hello", "version": "1", "runtime": "from-manifest", "resources": { "cpu_cores": 3, "memory_mb": 300 },
          "workload": { "type": "http", "entrypoint": ["/bin/x"], "base_url": "http://127.0.0.1:8080" },
          "initramfs": { "url": "/images/manifest" }, "network": { "mode": "vsock" } }
        """));

    [Fact]
    public void The_manifest_is_used_when_nothing_else_is_said()
    {
        var plan = Resolve(new CreateVmRequest { Name = "a", Plugin = "hello" });

        Assert.Equal(("from-manifest", 3, 300, "vsock", "/images/manifest"), (plan.Runtime, plan.CpuCores, plan.MemoryMib, plan.NetworkMode, plan.Initramfs!.Url));
    }

    [Fact]
    public void The_configuration_goes_before_the_manifest() =>
        Assert.Equal(
            ("from-config", 2, 256, "bridged", "/images/config"),
            Values(new CreateVmRequest
            {
                Name = "a",
                Config = new VmConfig
                {
                    Runtime = "from-config",
                    Resources = new ManifestResources { CpuCores = 2, MemoryMb = 256 },
                    Network = new NetworkConfig { Mode = "BRIDGED" },
                    Initramfs = new BootMedia { Url = "/images/config" },
                },
            }));

    [Fact]
    public void An_explicit_field_goes_before_the_configuration_and_only_for_itself() =>
        Assert.Equal(
            ("from-request", 1, 256),
            Resolve(new CreateVmRequest
            {
                Name = "a",
                Runtime = "from-request",
                CpuCores = 1,
                Config = new VmConfig { Runtime = "from-config", Resources = new ManifestResources { CpuCores = 2, MemoryMb = 256 } },
            }) is var plan ? (plan.Runtime, plan.CpuCores, plan.MemoryMib) : default);

    [Fact]
    public void The_default_is_two_cores_two_gib_bridged()
    {
        var plan = LaunchPlan.Resolve(new VmConfig(), Manifest with { Resources = null, Network = null }, hostMemoryMib: 4096);

        Assert.Equal((2, 2048, "bridged"), (plan.CpuCores, plan.MemoryMib, plan.NetworkMode));
    }

    [Fact]
    public void Every_fault_of_a_configuration_is_reported_at_once()
    {
        var failure = Assert.Throws<VolantException>(() => Resolve(new CreateVmRequest
        {
            Name = "a",
            Config = new VmConfig { KernelCmdline = "a\nb", Resources = new ManifestResources { CpuCores = 0 }, Api = new ApiEndpoint { Host = "name", Port = 0 } },
        }));

        Assert.Equal(ErrorCodes.InvalidRequest, failure.Code);
        Assert.Equal(
            ["config.api.host", "config.api.port", "config.kernel_cmdline", "config.resources.cpu_cores"],
            failure.Fields.Select(field => field.Path).Order(StringComparer.Ordinal));
    }

    [Theory]
    [InlineData(127, ErrorCodes.Unsupported)]
    [InlineData(4097, ErrorCodes.InsufficientCapacity)]
    public void Memory_must_suffice_for_the_guest_and_fit_the_host(int memory, string code) =>
        Assert.Equal(code, Assert.Throws<VolantException>(() => Resolve(new CreateVmRequest { Name = "a", MemoryMb = memory })).Code);

    [Fact]
    public void Devices_come_from_the_configuration_or_the_manifest_as_a_whole()
    {
        var manifest = Manifest with { Devices = new DeviceConfig { PciPassthrough = ["0000:01:00.0"], Allowlist = ["10de:*"] } };
        var config = new VmConfig { Devices = new DeviceConfig { PciPassthrough = ["0000:02:00.0"] } };

        var (fromManifest, fromConfig) = (LaunchPlan.Resolve(new VmConfig(), manifest, hostMemoryMib: 4096), LaunchPlan.Resolve(config, manifest, hostMemoryMib: 4096));

        Assert.Equal(["0000:01:00.0", "10de:*"], fromManifest.Devices.Concat(fromManifest.DeviceAllowlist));
        Assert.Equal(["0000:02:00.0"], fromConfig.Devices.Concat(fromConfig.DeviceAllowlist));
    }

    [Theory]
    [InlineData("01:00.0", "8086:*", "config.devices.pci_passthrough[0]")]
    [InlineData("0000:0A:00.0", "8086:*", "config.devices.pci_passthrough[0]")]
    [InlineData("0000:01:00.0", "8086", "config.devices.allowlist[0]")]
    [InlineData("0000:01:00.0", "*:*", "config.devices.allowlist[0]")]
    public void A_malformed_device_is_named(string address, string pattern, string path)
    {
        var failure = Assert.Throws<VolantException>(() => LaunchPlan.Resolve(new VmConfig { Devices = new DeviceConfig { PciPassthrough = [address], Allowlist = [pattern] } }, Manifest, hostMemoryMib: 4096));

        Assert.Equal((ErrorCodes.InvalidRequest, path), (failure.Code, Assert.Single(failure.Fields).Path));
    }

    [Fact]
    public void What_this_version_cannot_do_is_refused_not_ignored()
    {
        VmConfig[] configs =
        [
            new() { Expose = [new ExposedPort { Protocol = "tcp", Port = 80, Mode = "dhcp" }] },
        ];

        Assert.All(configs, config => Assert.Equal(ErrorCodes.Unsupported, Assert.Throws<VolantException>(() => LaunchPlan.Resolve(config, Manifest, hostMemoryMib: 4096)).Code));
    }

    private static LaunchPlan Resolve(CreateVmRequest request) => LaunchPlan.Resolve(LaunchPlan.Merge(request), Manifest, hostMemoryMib: 4096);

    private static (string Runtime, int Cpus, int Memory, string Mode, string? Url) Values(CreateVmRequest request)
    {
        var plan = Resolve(request);
        return (plan.Runtime, plan.CpuCores, plan.MemoryMib, plan.NetworkMode, plan.Initramfs!.Url);
    }
}
