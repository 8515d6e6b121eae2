using System.Net;
using CsCheck;
using Volant.Daemon.Networking;

namespace Volant.Tests.Networking;

public sealed class SubnetTests
{
    private static readonly Gen<Subnet> Subnets = Gen.Select(Gen.UInt, Gen.Int[Subnet.MinPrefixLength, Subnet.MaxPrefixLength], Gen.UInt)
        .Select((network, prefix, host) =>
        {
            var size = uint.MaxValue >> prefix;
            var address = (network & ~size) | (1 + (host % (size - 1)));
            return Subnet.Around(Address(address), prefix);
        });

    [Fact]
    public void The_default_subnet_has_253_addresses_for_VMs()
    {
        var subnet = new Subnet(IPNetwork.Parse("192.168.127.0/24"), IPAddress.Parse("192.168.127.1"));

        Assert.Equal(253, subnet.UsableCount);
        Assert.Equal("192.168.127.2", subnet.UsableAddresses.First().ToString());
        Assert.Equal("192.168.127.254", subnet.UsableAddresses.Last().ToString());
        Assert.Equal(("255.255.255.0", "192.168.127.255"), (subnet.Netmask.ToString(), subnet.BroadcastAddress.ToString()));
        Assert.Equal("192.168.127.0/24", subnet.ToString());
    }

    [Fact]
    public void The_smallest_subnet_has_one_address()
    {
        var subnet = Subnet.Around(IPAddress.Parse("10.0.0.2"), 30);

        Assert.Equal("10.0.0.1", Assert.Single(subnet.UsableAddresses).ToString());
        Assert.Equal(1, subnet.UsableCount);
    }

    [Fact]
    public void The_largest_subnet_is_counted_without_listing_it() =>
        Assert.Equal((1 << 24) - 3, Subnet.Around(IPAddress.Parse("10.0.0.1"), 8).UsableCount);

    [Fact]
    public void No_address_is_the_network_the_broadcast_or_the_host() => Subnets.Sample(subnet =>
        subnet.UsableAddresses.Take(2000).All(address =>
            subnet.IsUsable(address) && subnet.Contains(address) &&
            !address.Equals(subnet.NetworkAddress) && !address.Equals(subnet.BroadcastAddress) && !address.Equals(subnet.HostAddress)));

    [Fact]
    public void Addresses_ascend_and_are_as_many_as_counted() => Subnets.Where(subnet => subnet.PrefixLength >= 20).Sample(subnet =>
    {
        var numbers = subnet.UsableAddresses.Select(Subnet.ToNumber).ToList();

        Assert.Equal(subnet.UsableCount, numbers.Count);
        Assert.Equal(numbers.Order().Distinct(), numbers);
    });

    [Fact]
    public void What_is_contained_agrees_with_the_framework() => Gen.Select(Subnets, Gen.UInt, Gen.Bool).Sample((subnet, number, near) =>
    {
        var address = Address(near ? (Subnet.ToNumber(subnet.NetworkAddress) - 3) + (number % 600) : number);

        Assert.Equal(new IPNetwork(subnet.NetworkAddress, subnet.PrefixLength).Contains(address), subnet.Contains(address));
        Assert.Equal(
            subnet.Contains(address) && !address.Equals(subnet.NetworkAddress) && !address.Equals(subnet.BroadcastAddress) && !address.Equals(subnet.HostAddress),
            subnet.IsUsable(address));
    });

    [Theory]
    [InlineData("192.168.127.0/24", "192.168.127.0")]
    [InlineData("192.168.127.0/24", "192.168.127.255")]
    [InlineData("192.168.127.0/24", "192.168.128.1")]
    [InlineData("192.168.127.0/24", "::1")]
    [InlineData("192.168.127.0/31", "192.168.127.1")]
    [InlineData("0.0.0.0/0", "192.168.127.1")]
    [InlineData("fd00::/64", "fd00::1")]
    public void What_does_not_fit_is_refused(string network, string host) =>
        Assert.Throws<ArgumentException>(() => new Subnet(IPNetwork.Parse(network), IPAddress.Parse(host)));

    [Fact]
    public void An_address_of_the_other_family_is_not_contained() =>
        Assert.False(Subnet.Around(IPAddress.Parse("10.0.0.1"), 24).Contains(IPAddress.IPv6Loopback));

    [Fact]
    public void The_range_as_numbers_has_the_same_addresses() => Subnets.Where(subnet => subnet.PrefixLength >= 20).Sample(subnet =>
    {
        var (first, last, reserved) = subnet.Range();
        var numbers = new List<uint>();
        for (var number = first; number <= last; number++)
        {
            if (Assert.Single(reserved) != (number, number))
            {
                numbers.Add(number);
            }
        }

        Assert.Equal(subnet.UsableAddresses.Select(Subnet.ToNumber), numbers);
    });

    [Fact]
    public void Reserved_ranges_hold_the_hosts_address()
    {
        var subnet = new Subnet(IPNetwork.Parse("10.0.0.0/24"), IPAddress.Parse("10.0.0.9"))
        {
            Reserved = [(IPAddress.Parse("10.0.0.20"), IPAddress.Parse("10.0.0.29")), (IPAddress.Parse("10.0.0.1"), IPAddress.Parse("10.0.0.1"))],
        };

        Assert.Equal([(0x0a000001u, 0x0a000001u), (0x0a000009u, 0x0a000009u), (0x0a000014u, 0x0a00001du)], subnet.Range().Reserved.Order());
    }

    private static IPAddress Address(uint number) => new([(byte)(number >> 24), (byte)(number >> 16), (byte)(number >> 8), (byte)number]);
}
