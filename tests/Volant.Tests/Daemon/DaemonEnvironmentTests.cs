using System.Net;
using System.Text;
using CsCheck;
using Volant.Daemon;
using Volant.Daemon.Hypervisors;

namespace Volant.Tests.Daemon;

public sealed class DaemonEnvironmentTests
{
    public static TheoryData<string, string> BadValues => new()
    {
        { "VOLANT_DB_PATH", "relative.db" },
        { "VOLANT_API_LISTEN", "nonsense" },
        { "VOLANT_API_LISTEN", "127.0.0.1" },
        { "VOLANT_API_LISTEN", "127.0.0.1:99999" },
        { "VOLANT_API_LISTEN", "unix:relative" },
        { "VOLANT_API_LISTEN", "0.0.0.0:7777" },
        { "VOLANT_BRIDGE", "a-name-that-is-too-long" },
        { "VOLANT_BRIDGE", "a/b" },
        { "VOLANT_SUBNET", "10.0.0.1/24" },
        { "VOLANT_SUBNET", "10.0.0.0/8" },
        { "VOLANT_SUBNET", "fd00::/64" },
        { "VOLANT_HOST_IP", "10.9.9.9" },
        { "VOLANT_HOST_IP", "192.168.127.0" },
        { "VOLANT_HOST_IP", "192.168.127.255" },
        { "VOLANT_IO_MAX", "rbps" },
        { "VOLANT_IO_MAX", "rbps=0" },
        { "VOLANT_IO_MAX", "rbps=1T" },
        { "VOLANT_IO_MAX", "rbps=1,rbps=2" },
        { "VOLANT_IO_MAX", "bps=1" },
        { "VOLANT_IO_MAX", "rbps=9999999999G" },
        { "VOLANT_SUBNET6", "2001:db8::/64" },
        { "VOLANT_SUBNET6", "fd77::/48" },
        { "VOLANT_SUBNET6", "fd77::1/64" },
        { "VOLANT_SUBNET6", "on" },
        { "VOLANT_RESERVED_ADDRESSES", "192.168.128.1" },
        { "VOLANT_RESERVED_ADDRESSES", "192.168.127.9-192.168.127.8" },
        { "VOLANT_RESERVED_ADDRESSES", "192.168.127.9-192.168.128.8" },
        { "VOLANT_RESERVED_ADDRESSES", "10-20" },
        { "VOLANT_FIREWALL", "auto" },
        { "VOLANT_GUEST_ISOLATION", "0" },
        { "VOLANT_RUNTIME_DIR", "run" },
        { "VOLANT_RUNTIME_DIR", "/" + new string('a', 57) },
        { "VOLANT_RUNTIME_DIR", "/" + new string('é', 29) },
        { "VOLANT_API_LISTEN", "unix:/" + new string('é', 54) },
        { "VOLANT_LOG_DIR", "logs" },
        { "VOLANT_KERNEL_BZIMAGE", "bzImage" },
        { "VOLANT_KERNEL_VMLINUX", "vmlinux" },
        { "VOLANT_HYPERVISOR", "xen" },
        { "VOLANT_IMAGE_DIRS", "/a:b" },
        { "VOLANT_VFIO_ALLOW", "10de:2204,nonsense" },
        { "VOLANT_VFIO_ALLOW", "*:*" },
        { "VOLANT_VFIO_ALLOW", "01:00.0" },
        { "VOLANT_API_KEY", "short" },
        { "VOLANT_API_ALLOW_CIDR", "10.0.0.0/8,nonsense" },
        { "VOLANT_CORS_ORIGINS", "example.org" },
        { "VOLANT_CORS_ORIGINS", "https://example.org/path" },
        { "VOLANT_MAX_ARTIFACT_MB", "0" },
        { "VOLANT_KEEP_ARTIFACTS", "0" },
        { "VOLANT_DOWNLOAD_TIMEOUT", "0" },
        { "VOLANT_DOWNLOAD_SILENCE", "never" },
        { "VOLANT_DOWNLOAD_ALLOW", "10.0.0.0/99" },
        { "VOLANT_AGENT", "kestrel" },
        { "VOLANT_BOOT_TIMEOUT", "1" },
        { "VOLANT_PUBLISH_ADDRESS", "eth0" },
        { "VOLANT_PUBLISH_PORTS", "30000" },
        { "VOLANT_PUBLISH_PORTS", "0-10" },
        { "VOLANT_PUBLISH_PORTS", "200-100" },
        { "VOLANT_INSECURE", "yes" },
    };

    [Theory]
    [MemberData(nameof(BadValues))]
    public void A_bad_value_is_named_with_what_was_expected_on_one_line(string name, string value)
    {
        var failure = Assert.Throws<ConfigurationException>(() => Read((name, value)));

        Assert.StartsWith($"{name}: ", failure.Message, StringComparison.Ordinal);
        Assert.Contains("expected", failure.Message, StringComparison.Ordinal);
        Assert.DoesNotContain('\n', failure.Message);
    }

    [Fact]
    public void Every_runtime_directory_leaves_room_for_the_sockets_of_VMs_or_is_refused_at_the_start() => Gen.Char["a-/é€."].Array[1, 70].Sample(
        chars =>
        {
            try
            {
                var directory = Read(("VOLANT_RUNTIME_DIR", "/" + new string(chars))).RuntimeDirectory;
                Assert.All(
                    new VmPaths(Path.Combine(directory, Guid.NewGuid().ToString("D")), "/log").Sockets,
                    socket => Assert.InRange(Encoding.UTF8.GetByteCount(socket), 1, VmPaths.MaxSocketPath));
            }
            catch (ConfigurationException e)
            {
                Assert.Contains("because the sockets of VMs lie below it", e.Message, StringComparison.Ordinal);
                Assert.True(Encoding.UTF8.GetByteCount(chars) > 50);
            }
        },
        iter: Soak.Times(10_000, 1_000_000));

    [Fact]
    public void The_defaults_are_those_of_the_contract()
    {
        var options = Read();

        Assert.Equal("/home/u/.volant/state.db", options.DatabasePath);
        Assert.Equal("127.0.0.1:7777", options.Listen.ToString());
        Assert.Equal("http://127.0.0.1:7777", options.Advertise);
        Assert.Equal("vbr0", options.Bridge);
        Assert.Equal((IPAddress.Loopback, (30_000, 32_767)), (options.PublishAddress, options.PublishPorts));
        Assert.Equal(IPNetwork.Parse("192.168.127.0/24"), options.Subnet);
        Assert.Equal(["/home/u/.volant/images"], options.ImageDirectories);
    }

    [Fact]
    public void Listening_beyond_loopback_needs_a_key_or_a_clear_wish()
    {
        Assert.NotNull(Read(("VOLANT_API_LISTEN", "0.0.0.0:1"), ("VOLANT_API_KEY", "long-enough-key")));
        Assert.NotNull(Read(("VOLANT_API_LISTEN", ":1"), ("VOLANT_INSECURE", "1")));
        Assert.NotNull(Read(("VOLANT_API_LISTEN", "unix:///run/volant/api.sock")));
    }

    [Fact]
    public void Devices_may_be_allowed_by_id_vendor_or_address()
    {
        Assert.Empty(Read().VfioAllow);
        Assert.Equal(["10de:22aa", "8086:*", "0000:01:00.0"], Read(("VOLANT_VFIO_ALLOW", " 10DE:22AA, 8086:*,0000:01:00.0,")).VfioAllow);
    }

    [Fact]
    public void Limits_of_the_disk_are_written_as_the_kernel_wants_them()
    {
        Assert.Null(Read().IoMax);
        Assert.Contains("hypervisors are in no control group", Assert.Throws<ConfigurationException>(() => Read(("VOLANT_IO_MAX", "rbps=1"), ("VOLANT_CGROUP", "off"))).Message, StringComparison.Ordinal);
        var directory = Directory.CreateTempSubdirectory("vt-env-").FullName;
        try
        {
            File.WriteAllText(Path.Combine(directory, "cgroup.controllers"), "io");
            Assert.Equal("rbps=209715200 wiops=5000", Read(("VOLANT_IO_MAX", "rbps=200M, wiops=5000"), ("VOLANT_CGROUP", Path.Combine(directory, "volant"))).IoMax);
        }
        finally
        {
            Directory.Delete(directory, recursive: true);
        }
    }

    [Fact]
    public void Addresses_may_be_reserved_one_by_one_and_as_ranges() => Assert.Equal(
        [(IPAddress.Parse("192.168.127.9"), IPAddress.Parse("192.168.127.9")), (IPAddress.Parse("192.168.127.20"), IPAddress.Parse("192.168.127.29"))],
        Read(("VOLANT_RESERVED_ADDRESSES", "192.168.127.9, 192.168.127.20-192.168.127.29")).ReservedAddresses);

    [Fact]
    public void The_key_is_never_in_a_message()
    {
        var failure = Assert.Throws<ConfigurationException>(() => Read(("VOLANT_API_KEY", "abc def ghi jkl")));

        Assert.DoesNotContain("abc", failure.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Every_variable_of_the_contract_is_in_the_help() =>
        Assert.All(BadValues.Select(row => row.Data.Item1).Distinct(StringComparer.Ordinal), name => Assert.Contains(name, DaemonHelp.Text, StringComparison.Ordinal));

    private static DaemonOptions Read(params (string Name, string Value)[] variables) =>
        DaemonEnvironment.Read(variables.Append(("HOME", "/home/u")).ToDictionary(pair => pair.Item1, pair => pair.Item2, StringComparer.Ordinal));
}
