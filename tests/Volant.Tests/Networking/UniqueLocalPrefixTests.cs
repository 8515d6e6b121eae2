using System.Net;
using Volant.Daemon.Networking;

namespace Volant.Tests.Networking;

public sealed class UniqueLocalPrefixTests
{
    [Fact]
    public void An_address_ends_in_its_IPv4_address() =>
        Assert.Equal("fd3c:51a0:77ee::c0a8:7f02", new UniqueLocalPrefix(IPNetwork.Parse("fd3c:51a0:77ee::/64")).AddressOf(IPAddress.Parse("192.168.127.2")).ToString());

    [Fact]
    public void A_machine_has_one_prefix_for_each_bridge_that_does_not_tell_its_identity()
    {
        const string Machine = "0123456789abcdef0123456789abcdef";
        var prefix = UniqueLocalPrefix.Of(Machine, "vbr0");

        Assert.Equal(prefix, UniqueLocalPrefix.Of(Machine, "vbr0"));
        Assert.NotEqual(prefix, UniqueLocalPrefix.Of(Machine, "vbr1"));
        Assert.NotEqual(prefix, UniqueLocalPrefix.Of(Machine.Replace('0', '1'), "vbr0"));
        Assert.Matches("^fd[0-9a-f]{2}:[0-9a-f]{1,4}:[0-9a-f]{1,4}::/64$", prefix.ToString());
    }

    [Theory]
    [InlineData("2001:db8::/64")]
    [InlineData("fd77::/48")]
    [InlineData("fd77::/96")]
    [InlineData("fe80::/64")]
    [InlineData("10.0.0.0/8")]
    public void Only_a_64_bit_prefix_of_unique_local_addresses_will_do(string network) =>
        Assert.Contains("is not a /64 of unique local addresses", Assert.Throws<ArgumentException>(() => new UniqueLocalPrefix(IPNetwork.Parse(network))).Message, StringComparison.Ordinal);
}
