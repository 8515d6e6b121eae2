using System.Net;
using Volant.Agent.Boot;
using Volant.Contracts.Boot;
using Volant.Contracts.Manifests;

namespace Volant.Tests.Agent;

public sealed class BootTests
{
    private const string ManifestJson = """
        {"schema_version":"1.0","name":"hello","version":"1","runtime":"hello","resources":{"cpu_cores":1,"memory_mb":64},
         "workload":{"type":"http","entrypoint":["/bin/x"],"base_url":"http://127.0.0.1:8080"},"initramfs":{"url":"/x"}}
        """;

    [Fact]
    public void A_static_network_is_planned()
    {
        var plan = BootPlan.Read("quiet ip=10.1.0.2::10.1.0.1:255.255.0.0:web:eth0:off:10.1.0.1:0.0.0.0 volant.plugin=hello volant.manifest=@initrd");

        Assert.Empty(plan.Problems);
        Assert.Equal("10.1.0.2", plan.Network?.Address?.ToString());
        Assert.Equal(16, plan.Network?.PrefixLength);
        Assert.Equal("web", plan.Hostname);
        Assert.Equal("10.1.0.1", Assert.Single(plan.NameServers).ToString());
        Assert.Equal("@initrd", plan.Manifest);
        Assert.Null(plan.Api);
    }

    [Theory]
    [InlineData("hostname=a ip=10.1.0.2::10.1.0.1:255.255.0.0:b:eth0:off volant.plugin=c", "a")]
    [InlineData("volant.plugin=c", "c")]
    [InlineData("", "volant")]
    public void The_host_name_comes_from_the_best_source(string line, string name) => Assert.Equal(name, BootPlan.Read(line).Hostname);

    [Theory]
    [InlineData("ip=10.1.0.2", "not an IPv4 configuration")]
    [InlineData("ip=10.1.0.2::x:255.0.0.0", "not an IPv4 configuration")]
    [InlineData("volant.ip6=fd77::2", "not an IPv6 configuration")]
    [InlineData("volant.ip6=fd77::2/64,10.1.0.1", "not an IPv6 configuration")]
    [InlineData("volant.ip6=fd77::2/0,fd77::1", "not an IPv6 configuration")]
    [InlineData("volant.ip6=10.1.0.2/24,10.1.0.1", "not an IPv6 configuration")]
    [InlineData("hostname=a/b", "host name")]
    [InlineData("volant.api_host=0.0.0.0", "no TCP listener")]
    [InlineData("volant.api_host=example.org volant.api_port=80", "no TCP listener")]
    [InlineData("volant.api_host=0.0.0.0 volant.api_port=70000", "no TCP listener")]
    public void What_cannot_be_done_is_said_and_the_boot_goes_on(string line, string words)
    {
        var plan = BootPlan.Read(line);

        Assert.Contains(words, Assert.Single(plan.Problems), StringComparison.Ordinal);
        Assert.Null(plan.Network);
        Assert.Null(plan.NetworkV6);
        Assert.Null(plan.Api);
    }

    [Fact]
    public void An_IPv6_address_stands_beside_any_other_network() =>
        Assert.Equal(new Ip6Argument(IPAddress.Parse("fd77::2"), 64, IPAddress.Parse("fd77::1")), BootPlan.Read("ip=dhcp volant.ip6=fd77::2/64,fd77::1").NetworkV6);

    [Fact]
    public void A_tcp_listener_only_exists_when_it_is_asked_for() =>
        Assert.Equal("0.0.0.0:8080", BootPlan.Read("volant.api_host=0.0.0.0 volant.api_port=8080").Api?.ToString());

    [Fact]
    public void A_manifest_comes_from_the_line_or_from_the_file()
    {
        var manifest = ManifestReader.Read(System.Text.Encoding.UTF8.GetBytes(ManifestJson));
        var file = Path.GetTempFileName();
        try
        {
            File.WriteAllText(file, ManifestJson);

            Assert.Equal("hello", ManifestSource.Read(ManifestCodec.Encode(manifest)).Name);
            Assert.Equal("hello", ManifestSource.Read(BootKeys.InInitrd, file).Name);
        }
        finally
        {
            File.Delete(file);
        }
    }

    [Fact]
    public void Every_way_to_have_no_manifest_is_a_format_exception_with_words()
    {
        Assert.Contains("volant.manifest", Assert.ThrowsAny<FormatException>(() => ManifestSource.Read(null)).Message, StringComparison.Ordinal);
        Assert.ThrowsAny<FormatException>(() => ManifestSource.Read("!!!"));
        Assert.ThrowsAny<FormatException>(() => ManifestSource.Read("H4sIAAAA"));
        Assert.Contains("/nowhere", Assert.ThrowsAny<FormatException>(() => ManifestSource.Read(BootKeys.InInitrd, "/nowhere/x")).Message, StringComparison.Ordinal);
    }
}
