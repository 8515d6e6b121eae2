using System.Text;
using Volant.Contracts.Manifests;
using Volant.Fledge;
using Volant.Fledge.Manifests;

namespace Volant.Tests.Fledge;

public sealed class ManifestTomlTests
{
    private const string Sum = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";

    [Fact]
    public void Every_section_is_carried_over()
    {
        var manifest = Convert(
            BuildCommandTests.Manifest + """
            env = { A = "1", "B.C" = "2" }
            [network]
            mode = "vsock"
            auto_assign = false
            [health_check]
            endpoint = "/healthz"
            timeout_ms = 500
            [labels]
            team = "x"
            [devices]
            pci_passthrough = ["0000:01:00.0"]
            [actions.greet]
            method = "post"
            path = "/greet"
            [[disks]]
            name = "data"
            source = "/srv/data.img"
            readonly = true

            """);

        Assert.Equal(["1", "2"], [manifest.Workload!.Env!["A"], manifest.Workload.Env["B.C"]]);
        Assert.Equal(("vsock", false, 500, "x"), (manifest.Network!.Mode!, manifest.Network.AutoAssign!.Value, manifest.HealthCheck!.TimeoutMs!.Value, manifest.Labels!["team"]));
        Assert.Equal(("POST", "/greet", "data", true), (manifest.Actions!["greet"].Method!, manifest.Actions["greet"].Path!, manifest.Disks![0].Name!, manifest.Disks[0].Readonly!.Value));
        Assert.Equal("0000:01:00.0", manifest.Devices!.PciPassthrough![0]);
    }

    [Fact]
    public void An_entrypoint_may_be_an_array() =>
        Assert.Equal(["/a", "b", "--port", "80"], Convert(BuildCommandTests.Manifest.Replace("\"/srv/app\"", "[\"/a\", \"b\"]", StringComparison.Ordinal)).Workload!.Entrypoint!);

    [Fact]
    public void A_given_URL_is_kept_and_the_checksum_filled_in()
    {
        var manifest = Convert(BuildCommandTests.Manifest + "[initramfs]\nurl = \"https://example.org/h.cpio.gz\"\n");

        Assert.Equal(("https://example.org/h.cpio.gz", Sum), (manifest.Initramfs!.Url, manifest.Initramfs.Checksum));
    }

    [Fact]
    public void Cloud_init_files_are_taken_in()
    {
        using var tree = new TempTree();
        tree.Write("user-data", "#cloud-config\n");
        var file = tree.Write("manifest.toml", BuildCommandTests.Manifest + "[cloud_init.user_data]\npath = \"user-data\"\n");

        var document = ManifestReader.Read(ManifestToml.Read(file).ToJson("/x", Sum)).CloudInit!.UserData!;

        Assert.Equal((true, "#cloud-config\n", null), (document.Inline, document.Content, document.Path));
    }

    [Fact]
    public void A_cloud_init_file_that_is_no_text_travels_as_base64()
    {
        using var tree = new TempTree();
        tree.Write("user-data", [0x1f, 0x8b, 0xff]);
        var file = tree.Write("manifest.toml", BuildCommandTests.Manifest + "[cloud_init.user_data]\npath = \"user-data\"\n");

        var document = ManifestReader.Read(ManifestToml.Read(file).ToJson("/x", Sum)).CloudInit!.UserData!;

        Assert.Equal(("H4v/", CloudInitDocument.Base64), (document.Content, document.Encoding));
    }

    [Theory]
    [InlineData("/a/b.cpio")]
    [InlineData("/a b/ä#?%20.cpio")]
    public void A_file_URL_leads_back_to_the_path(string path)
    {
        Assert.True(MediaReference.TryParse(ManifestToml.FileUrl(path), out var reference));
        Assert.Equal((MediaScheme.File, path), (reference.Scheme, reference.Value));
    }

    [Theory]
    [InlineData("[[network.expose]]\nport = 80\n", ":12:", "'network.expose' has no place in a manifest")]
    [InlineData("[initramfs]\nchecksum = \"x\"\n", ":13:1", "'initramfs.checksum' is filled in by the build")]
    [InlineData("[cloud_init.user_data]\npath = \"gone\"\n", ":13:1", "which cannot be read")]
    [InlineData("[cloud_init.user_data]\npath = \"a\"\ncontent = \"b\"\n", ":12:", "must have either 'content' or 'path'")]
    [InlineData("[network]\nmode = 5\n", ":13:1", "'network.mode' must be a string, not an integer")]
    [InlineData("[network]\nmode = 2001-01-01\n", ":13:1", "'network.mode' must be a string, not a date or time")]
    [InlineData("[network]\nmode = \"token\"\n", ":13:1", "'network.mode' must be one of vsock, bridged, dhcp")]
    [InlineData("[network]\nspeed = 5\n", ":13:1", "'network.speed' is not a known key of a manifest")]
    [InlineData("[health_check]\nendpoint = \"/\"\ntimeout_ms = 5000000000\n", "", "'health_check")]
    [InlineData("[[disks]]\nname = \"ok\"\nsource = \"/x\"\n[[disks]]\nname = \"Bad\"\nsource = \"/x\"\n", ":16:1", "'disks[1].name' must be 1 to 20 lower-case letters")]
    [InlineData("[devices]\nallowlist = \"x\"\n", ":13:1", "'devices.allowlist' must be an array, not a string")]
    public void A_broken_rule_is_refused_with_its_place(string text, string place, string expected)
    {
        var failure = Assert.Throws<FledgeException>(() => Convert(BuildCommandTests.Manifest + text));

        var fault = Assert.Single(failure.Faults);
        Assert.Contains(place, fault, StringComparison.Ordinal);
        Assert.Contains(expected, fault, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("args = [\"--port\", \"80\"]", "args = \"x\"", "'workload.args' must be an array of strings")]
    [InlineData("entrypoint = \"/srv/app\"", "", "'workload.args' needs 'workload.entrypoint'")]
    [InlineData("args = [\"--port\", \"80\"]", "args = [80]", "'workload.entrypoint[1]' must be a string, not an integer")]
    [InlineData("name = \"hello\"", "name = \"Hello\"", ":2:1: 'name' must be 1 to 63 lower-case letters")]
    [InlineData("name = \"hello\"", "name = 7", ":2:1: 'name' must be a string, not an integer")]
    public void A_broken_member_is_refused(string old, string replacement, string expected) =>
        Assert.Contains(
            expected,
            Assert.Throws<FledgeException>(() => Convert(BuildCommandTests.Manifest.Replace(old, replacement, StringComparison.Ordinal))).Message,
            StringComparison.Ordinal);

    private static PluginManifest Convert(string toml)
    {
        using var tree = new TempTree();
        var file = tree.Write("manifest.toml", toml);
        var json = ManifestToml.Read(file).ToJson("/srv/x.cpio.gz", Sum);
        Assert.EndsWith("}\n", Encoding.UTF8.GetString(json), StringComparison.Ordinal);
        return ManifestReader.Read(json);
    }
}
