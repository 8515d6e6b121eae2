using System.ComponentModel;
using System.Net;
using System.Runtime.CompilerServices;
using CsCheck;
using Volant.Linux;
using Volant.Linux.Networking;

namespace Volant.Tests.Linux;

public sealed class NetlinkTests
{
    private static readonly byte[] Mac = [0x02, 0, 0x5e, 0, 0x53, 1];

    [Fact]
    public void An_address_is_removed_once() => NetworkNamespace.Run(() =>
    {
        using var netlink = Netlink.Open();
        var link = netlink.CreateBridge("b0", [2, 0, 0, 0, 0, 1]);
        netlink.ReplaceAddress(link.Index, IPAddress.Parse("10.1.0.7"), 16);

        Assert.True(netlink.DeleteAddress(link.Index, IPAddress.Parse("10.1.0.7"), 16));
        Assert.False(netlink.DeleteAddress(link.Index, IPAddress.Parse("10.1.0.7"), 16));
        Assert.Empty(netlink.ListAddresses(link.Index));
    });

    [Fact]
    public void Structures_have_the_sizes_of_the_kernel()
    {
        Assert.Equal(16, Unsafe.SizeOf<NetlinkHeader>());
        Assert.Equal(16, Unsafe.SizeOf<Netlink.InterfaceMessage>());
        Assert.Equal(8, Unsafe.SizeOf<Netlink.AddressMessage>());
        Assert.Equal(12, Unsafe.SizeOf<Netlink.RouteMessage>());
        Assert.Equal(12, Unsafe.SizeOf<NetlinkSocket.NetlinkAddress>());
        Assert.Equal(16, Unsafe.SizeOf<NetlinkSocket.TimeValue>());
        Assert.Equal(40, Unsafe.SizeOf<TapDevice.InterfaceRequest>());
        Assert.Equal(16, Unsafe.SizeOf<VsockSocket.VsockAddress>());
    }

    [Fact]
    public void A_new_namespace_has_loopback_alone() => NetworkNamespace.Run(() =>
    {
        using var netlink = Netlink.Open();

        var link = Assert.Single(netlink.ListLinks());

        Assert.Equal(("lo", 1, true, false, (string?)null), (link.Name, link.Index, link.IsLoopback, link.IsUp, link.Kind));
        Assert.Empty(netlink.ListAddresses());
    });

    [Fact]
    public void A_bridge_is_created_with_its_address_and_deleted() => NetworkNamespace.Run(() =>
    {
        using var netlink = Netlink.Open();

        var bridge = netlink.CreateBridge("br-test", Mac);

        Assert.Equal(("br-test", true, false, "02:00:5e:00:53:01", 1500), (bridge.Name, bridge.IsBridge, bridge.IsUp, bridge.Mac, bridge.Mtu));
        Assert.Equal(bridge, netlink.FindLink("br-test"));
        Assert.Contains(bridge, netlink.ListLinks());
        Assert.True(netlink.DeleteLink("br-test"));
        Assert.False(netlink.DeleteLink("br-test"));
        Assert.False(netlink.DeleteLink(bridge));
        Assert.Null(netlink.FindLink("br-test"));
    });

    [Theory]
    [InlineData(false, false)]
    [InlineData(true, true)]
    public void A_bridge_speaks_the_protocols_that_it_is_told(bool spanningTree, bool multicastSnooping) => NetworkNamespace.RunWithSysfs(sys =>
    {
        using var netlink = Netlink.Open();

        netlink.CreateBridge("br-test", Mac, spanningTree, multicastSnooping);

        var directory = Path.Combine(sys, "class/net/br-test/bridge");
        Assert.Equal(spanningTree ? "1" : "0", File.ReadAllText(Path.Combine(directory, "stp_state")).Trim());
        var snooping = Path.Combine(directory, "multicast_snooping");
        Assert.True(!File.Exists(snooping) || File.ReadAllText(snooping).Trim() == (multicastSnooping ? "1" : "0"));
    });

    [Fact]
    public void A_name_that_is_taken_is_an_error_with_errno() => NetworkNamespace.Run(() =>
    {
        using var netlink = Netlink.Open();
        netlink.CreateBridge("br-test", Mac);

        var error = Assert.Throws<Win32Exception>(() => netlink.CreateBridge("br-test", Mac));

        Assert.Equal(Errno.Exists, error.NativeErrorCode);
        Assert.Contains("'br-test'", error.Message, StringComparison.Ordinal);
    });

    [Fact]
    public void The_text_of_the_kernel_is_part_of_the_error() => NetworkNamespace.Run(() =>
    {
        using var netlink = Netlink.Open();
        var bridge = netlink.CreateBridge("br-test", Mac);
        netlink.SetUp(bridge.Index);

        var error = Assert.Throws<Win32Exception>(
            () => netlink.ReplaceRoute(IPAddress.Parse("10.98.0.0"), 16, IPAddress.Parse("172.31.0.9"), bridge.Index));

        Assert.Equal(101, error.NativeErrorCode); // ENETUNREACH
        Assert.Contains("invalid gateway", error.Message, StringComparison.OrdinalIgnoreCase);
        Assert.Single(netlink.ListLinks(), link => link.IsBridge);
    });

    [Fact]
    public void Properties_of_a_link_can_be_changed() => NetworkNamespace.Run(() =>
    {
        using var netlink = Netlink.Open();
        var bridge = netlink.CreateBridge("br-test", Mac).Index;
        TapDevice.Create("tap-test");
        var tap = netlink.GetLink("tap-test").Index;

        netlink.SetMac(tap, [0xfe, 1, 2, 3, 4, 5]);
        netlink.SetMtu(tap, 1400);
        netlink.SetMaster(tap, bridge);
        netlink.SetUp(tap);

        var changed = netlink.GetLink("tap-test");
        Assert.Equal((1400, bridge, true, "fe:01:02:03:04:05"), (changed.Mtu, changed.Master, changed.IsUp, changed.Mac));

        netlink.SetMaster(tap, null);
        netlink.SetDown(tap);

        changed = netlink.GetLink("tap-test");
        Assert.Equal((null, false), (changed.Master, changed.IsUp));
    });

    [Fact]
    public void Addresses_and_routes_can_be_set_twice() => NetworkNamespace.Run(() =>
    {
        using var netlink = Netlink.Open();
        var bridge = netlink.CreateBridge("br-test", Mac).Index;
        netlink.SetUp(1);
        netlink.SetUp(bridge);
        for (var i = 0; i < 2; i++)
        {
            netlink.ReplaceAddress(bridge, IPAddress.Parse("10.77.0.1"), 24);
            netlink.ReplaceDefaultRoute(IPAddress.Parse("10.77.0.254"), bridge);
            netlink.ReplaceRoute(IPAddress.Parse("10.99.0.0"), 16, null, bridge);
        }

        Assert.Equal([new LinkAddress(bridge, IPAddress.Parse("10.77.0.1"), 24)], netlink.ListAddresses(bridge));
        Assert.Contains(new LinkAddress(1, IPAddress.Loopback, 8), netlink.ListAddresses());

        // /proc/net is that of the first thread; destination and gateway are the address's bytes as a little-endian number.
        var routes = File.ReadAllText("/proc/thread-self/net/route");
        Assert.Matches(@"br-test\s+00000000\s+FE004D0A", routes);
        Assert.Matches(@"br-test\s+0000630A\s+00000000", routes);
    });

    [Fact]
    public void A_thousand_links_are_listed_completely() => NetworkNamespace.Run(() =>
    {
        using var netlink = Netlink.Open();
        for (var i = 0; i < 1000; i++)
        {
            netlink.CreateBridge($"br{i}", Mac);
        }

        var names = netlink.ListLinks().Select(link => link.Name).ToHashSet(StringComparer.Ordinal);

        Assert.Equal(1001, names.Count);
        Assert.Contains("br999", names);
    });

    [Theory]
    [InlineData("")]
    [InlineData(".")]
    [InlineData("..")]
    [InlineData("a/b")]
    [InlineData("a b")]
    [InlineData("a:b")]
    [InlineData("tap%d")]
    [InlineData("tap\u00e9")]
    [InlineData("sixteen-letters-")]
    public void A_bad_name_is_refused_before_the_kernel_sees_it(string name)
    {
        using var netlink = Netlink.Open();

        Assert.Throws<ArgumentException>(() => netlink.FindLink(name));
        Assert.Throws<ArgumentException>(() => TapDevice.Create(name));
    }

    [Fact]
    public void A_broken_message_never_reads_out_of_bounds() => Gen.Byte.Array[0, 200].Sample(bytes =>
    {
        _ = Netlink.ReadLink(16, bytes);
        _ = NetlinkSocket.AckText(0x200, bytes);
        _ = NetlinkSocket.AckText(0x300, bytes);
    });

    [Fact]
    public void Attributes_are_read_as_they_were_written() =>
        Gen.Select(Gen.UShort[0, 0x3fff], Gen.Byte.Array[0, 40]).List[0, 8].Sample(attributes =>
        {
            var request = new NetlinkRequest(16);
            foreach (var (type, value) in attributes)
            {
                request.Attribute(type, value);
            }

            var message = request.Seal(5, 7);
            var reader = new NetlinkAttributes(message[NetlinkRequest.HeaderSize..]);
            foreach (var (type, value) in attributes)
            {
                Assert.True(reader.Read(out var readType, out var readValue));
                Assert.Equal(type, readType);
                Assert.Equal(value, readValue.ToArray());
            }

            Assert.False(reader.Read(out _, out _));
            Assert.Equal(message.Length, BitConverter.ToInt32(message));
        });
}
