using System.Text.Json;
using System.Text.Json.Nodes;
using NJsonSchema;
using Volant.Contracts.Api;
using Volant.Daemon;
using Volant.Daemon.Hypervisors;
using Volant.Daemon.Hypervisors.CloudHypervisor;
using YamlDotNet.Serialization;

namespace Volant.Tests.Hypervisors;

/// <summary>What Cloud Hypervisor is told.</summary>
public sealed class CloudHypervisorConfigTests
{
    private static readonly CloudHypervisorHost Host = new("/usr/bin/cloud-hypervisor", new Version(53, 0), Kvm: true, Landlock: true);

    private static readonly LaunchSpec Full = Specs.Plain with
    {
        VsockCid = 77,
        Nic = new NicSpec("vabc", "02:00:00:00:00:01"),
        Disks =
        [
            new DiskSpec("/d/root, \"1\".qcow2", "qcow2", ReadOnly: false, "root", new DiskBacking("/c/base", "raw")),
            new DiskSpec("/d/data.img", "raw", ReadOnly: false, "data"),
            new DiskSpec("/c/seed.img", "raw", ReadOnly: true, "seed"),
        ],
    };

    [Fact]
    public void A_whole_VM_is_golden() => Assert.Equal(
        Pretty("""
        {
          "payload": {
            "kernel": "/var/lib/volant/kernel/vmlinux",
            "cmdline": "console=ttyS0 reboot=t panic=-1 quiet",
            "initramfs": "/var/lib/volant/media/agent.cpio.gz"
          },
          "cpus": { "boot_vcpus": 2, "max_vcpus": 2 },
          "memory": { "size": 536870912, "mergeable": false, "shared": false, "hugepages": false, "prefault": false, "thp": true },
          "disks": [
            { "path": "/d/root, \"1\".qcow2", "readonly": false, "image_type": "Qcow2", "backing_files": true, "id": "disk0", "serial": "root" },
            { "path": "/d/data.img", "readonly": false, "image_type": "Raw", "backing_files": false, "id": "disk1", "serial": "data" },
            { "path": "/c/seed.img", "readonly": true, "image_type": "Raw", "backing_files": false, "id": "disk2", "serial": "seed" }
          ],
          "vsock": { "cid": 77, "socket": "/run/volant/vms/vaaaa/agent.sock", "id": "vsock0" },
          "serial": { "mode": "Socket", "socket": "/run/volant/vms/vaaaa/uart.sock" },
          "console": { "mode": "Off" },
          "rng": { "src": "/dev/urandom" },
          "balloon": { "size": 0, "deflate_on_oom": true, "free_page_reporting": true },
          "platform": { "system_uuid": "01997a5e-1c00-7000-8000-0123456789ab" },
          "iommu": false,
          "watchdog": false,
          "pvpanic": true,
          "landlock_enable": true,
          "landlock_rules": [
            { "path": "/run/volant/vms/vaaaa", "access": "rw" },
            { "path": "/dev/kvm", "access": "rw" },
            { "path": "/dev/urandom", "access": "r" },
            { "path": "/var/lib/volant/kernel/vmlinux", "access": "r" },
            { "path": "/var/lib/volant/media/agent.cpio.gz", "access": "r" },
            { "path": "/d/root, \"1\".qcow2", "access": "rw" },
            { "path": "/c/base", "access": "r" },
            { "path": "/d/data.img", "access": "rw" },
            { "path": "/c/seed.img", "access": "r" }
          ]
        }
        """),
        Pretty(Json(VmConfigBuilder.Build(Full, Host))));

    [Fact]
    public void A_card_comes_after_that_and_names_no_tap() => Assert.Equal(
        Pretty("""{ "mac": "02:00:00:00:00:01", "id": "net0", "num_queues": 2, "queue_size": 256 }"""), Pretty(Json(VmConfigBuilder.Net(Full.Nic!))));

    [Fact]
    public void Devices_of_the_host_are_named_by_their_directory_and_confine_nothing()
    {
        var body = VmConfigBuilder.Build(Full with { PciDevices = ["0000:01:00.0", "0000:01:00.1"] }, Host);

        Assert.Equal(["/sys/bus/pci/devices/0000:01:00.0", "/sys/bus/pci/devices/0000:01:00.1"], body.Devices!.Select(device => device.Path));
        Assert.False(body.LandlockEnable);
        Assert.Null(body.LandlockRules);
    }

    [Fact]
    public void An_older_version_knows_the_identity_by_its_older_name()
    {
        Assert.Equal(new PlatformBody(null, Specs.Plain.Uid.ToString()), VmConfigBuilder.Build(Full, Host with { Version = new Version(52, 1) }).Platform);
        Assert.Equal(new PlatformBody(Specs.Plain.Uid.ToString(), null), VmConfigBuilder.Build(Full, Host).Platform);
    }

    [Fact]
    public async Task Every_body_is_as_the_published_description_wants_it()
    {
        var description = Repository.PathOf("../shared/reference/cloud-hypervisor.yaml");
        Assert.SkipUnless(File.Exists(description), "Cloud Hypervisor's API description (vmm/src/api/openapi/cloud-hypervisor.yaml) is not at ../shared/reference/cloud-hypervisor.yaml");
        var yaml = await File.ReadAllTextAsync(description, TestContext.Current.CancellationToken);
        var schema = await ReadAsync(yaml, "VmConfig");
        Assert.Empty((await ReadAsync(yaml, "NetConfig")).Validate(Json(VmConfigBuilder.Net(Full.Nic!))));

        foreach (var spec in new[] { Full, Specs.Plain, Full with { PciDevices = ["0000:01:00.0"] } })
        {
            foreach (var host in new[] { Host, Host with { Version = new Version(52, 0), Landlock = false } })
            {
                Assert.Empty(schema.Validate(Json(VmConfigBuilder.Build(spec, host))));
            }
        }

        // It does see faults: a misspelt member, a wrong type, one that is missing.
        var good = Json(VmConfigBuilder.Build(Full, Host));
        foreach (var (from, to) in new[] { ("\"image_type\"", "\"imagetype\""), ("\"boot_vcpus\":2", "\"boot_vcpus\":\"2\""), ("\"cid\":77,", ""), ("\"Qcow2\"", "\"qcow2\"") })
        {
            Assert.Contains(from, good, StringComparison.Ordinal);
            Assert.NotEmpty(schema.Validate(good.Replace(from, to, StringComparison.Ordinal)));
        }
    }

    [Fact]
    public void The_monitor_is_started_empty_and_found_again_by_its_command_line()
    {
        var paths = new VmPaths("/run/a,b/01997a5e-1c00-7000-8000-0123456789ab", "/var/log/x");
        var arguments = CloudHypervisorArguments.Build(paths, Host);

        Assert.Equal(
            ["/usr/bin/cloud-hypervisor", "--api-socket", "path=\"/run/a,b/01997a5e-1c00-7000-8000-0123456789ab/control.sock\"",
             "--event-monitor", "path=\"/run/a,b/01997a5e-1c00-7000-8000-0123456789ab/events.json\"", "--seccomp", "true"],
            arguments);
        Assert.Equal((Specs.Plain.Uid, paths.ControlSocket), CloudHypervisorArguments.Read(arguments));
        Assert.Null(CloudHypervisorArguments.Read(["cloud-hypervisor", "--api-socket", "path=/run/other/control.sock"]));
        Assert.Null(CloudHypervisorArguments.Read(["cloud-hypervisor", "--api-socket"]));
    }

    [Fact]
    public void A_path_that_cannot_be_told_is_refused()
    {
        var refusal = Assert.Throws<VolantException>(() => CloudHypervisorArguments.Build(new VmPaths("/run/\"x", "/var/log/x"), Host));

        Assert.Equal(ErrorCodes.Unsupported, refusal.Code);
        Assert.Contains("VOLANT_RUNTIME_DIR", refusal.Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("disk", ErrorCodes.Unsupported, "has the format 'vmdk'")]
    [InlineData("serial", ErrorCodes.Unsupported, "longer than 20 bytes")]
    [InlineData("line", ErrorCodes.Unsupported, "kernels read at most")]
    [InlineData("nul", ErrorCodes.InvalidRequest, "NUL character")]
    [InlineData("path", ErrorCodes.Unsupported, "VOLANT_RUNTIME_DIR")]
    public void What_breaks_a_limit_is_refused_before_anything_starts(string what, string code, string words)
    {
        var spec = what switch
        {
            "disk" => Full with { Disks = [new DiskSpec("/d", "vmdk", ReadOnly: false, "x")] },
            "serial" => Full with { Disks = [new DiskSpec("/d", "raw", ReadOnly: false, new string('x', 21))] },
            "line" => Full with { KernelArguments = new string('x', 2048) },
            "nul" => Full with { Initramfs = "/a\0b" },
            _ => Full with { Paths = new VmPaths("/" + new string('x', 100), "/l") },
        };

        var refusal = Assert.Throws<VolantException>(() => VmConfigBuilder.Build(spec, Host));

        Assert.Equal(code, refusal.Code);
        Assert.Contains(words, refusal.Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("cloud-hypervisor v52.0\n", "52.0")]
    [InlineData("cloud-hypervisor v53.0.0", "53.0.0")]
    [InlineData("cloud-hypervisor v53.0-246-gae44c29", "53.0")]
    public void ParseVersion_reads_releases_and_builds(string output, string expected) =>
        Assert.Equal(Version.Parse(expected), CloudHypervisorProbe.ParseVersion("c", output));

    [Theory]
    [InlineData("cloud-hypervisor v51.1.0", "52.0 or newer is needed")]
    [InlineData("QEMU emulator version 9.0", "does not say that it is Cloud Hypervisor")]
    [InlineData("", "does not say that it is Cloud Hypervisor")]
    public void ParseVersion_refuses_the_old_and_the_strange(string output, string words)
    {
        var refusal = Assert.Throws<VolantException>(() => CloudHypervisorProbe.ParseVersion("/opt/c", output));

        Assert.Equal(ErrorCodes.HypervisorUnavailable, refusal.Code);
        Assert.Contains(words, refusal.Message, StringComparison.Ordinal);
        Assert.Contains("VOLANT_HYPERVISOR=qemu", refusal.Message, StringComparison.Ordinal);
    }

    private static string Json(VmConfigBody body) => JsonSerializer.Serialize(body, CloudHypervisorJson.Default.VmConfigBody);

    private static string Json(NetBody body) => JsonSerializer.Serialize(body, CloudHypervisorJson.Default.NetBody);

    private static string Pretty(string json) => JsonNode.Parse(json)!.ToJsonString(new JsonSerializerOptions { WriteIndented = true, Encoder = System.Text.Encodings.Web.JavaScriptEncoder.UnsafeRelaxedJsonEscaping });

    /// <summary>The schema of a body out of the description; objects with named members may have no others.</summary>
    private static async Task<JsonSchema> ReadAsync(string yaml, string name)
    {
        var document = new DeserializerBuilder().WithAttemptingUnquotedStringTypeDeserialization().Build().Deserialize(new StringReader(yaml));
        var json = JsonNode.Parse(new SerializerBuilder().JsonCompatible().Build().Serialize(document))!;
        var schemas = json["components"]!["schemas"]!.AsObject();
        foreach (var (_, schema) in schemas)
        {
            if (schema!["properties"] is not null)
            {
                schema["additionalProperties"] = false;
            }
        }

        var root = new JsonObject { ["allOf"] = new JsonArray(new JsonObject { ["$ref"] = $"#/definitions/{name}" }), ["definitions"] = schemas.DeepClone() };
        return await JsonSchema.FromJsonAsync(root.ToJsonString().Replace("#/components/schemas/", "#/definitions/", StringComparison.Ordinal), TestContext.Current.CancellationToken);
    }
}
