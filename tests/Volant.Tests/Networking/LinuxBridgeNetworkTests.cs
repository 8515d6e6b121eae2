using System.Net;
using Microsoft.Extensions.Logging.Abstractions;
using Volant.Contracts.Api;
using Volant.Daemon;
using Volant.Daemon.Networking;
using Volant.Linux.Networking;
using Volant.Tests.Linux;

namespace Volant.Tests.Networking;

public sealed class LinuxBridgeNetworkTests
{
    private const string Bridge = "vbr-test";
    private static readonly Guid Uid = Guid.Parse("01234567-89ab-7def-8123-456789abcdef");
    private static readonly IPAddress Host = IPAddress.Parse("10.77.0.1");

    [Fact]
    public void Attaching_makes_the_bridge_and_the_tap() => Run((network, netlink) =>
    {
        var name = network.Attach(new AttachedGuest(Uid, "web", []));

        var bridge = netlink.GetLink(Bridge);
        var tap = netlink.GetLink(name);
        Assert.Equal((true, true, "06:00:0a:4d:00:01"), (bridge.IsBridge, bridge.IsUp, bridge.Mac));
        Assert.Equal([new LinkAddress(bridge.Index, Host, 24)], netlink.ListAddresses());
        Assert.Equal((true, true, bridge.Index, MacAddress.ForTap(Uid).ToString()), (tap.IsTap, tap.IsUp, tap.Master, tap.Mac));
        Assert.Equal(LinuxBridgeNetwork.TapNameFor(Uid), name);
        foreach (var link in (string[])[Bridge, name])
        {
            var setting = $"/proc/sys/net/ipv6/conf/{link}/disable_ipv6";
            Assert.True(!File.Exists(setting) || File.ReadAllText(setting).Trim() == "1");
        }
    });

    [Fact]
    public void Everything_may_be_done_twice() => Run((network, netlink) =>
    {
        var name = network.Attach(new AttachedGuest(Uid, "web", []));
        var before = netlink.ListLinks();

        Assert.Equal(name, network.Attach(new AttachedGuest(Uid, "web", [])));

        Assert.Equal(before, netlink.ListLinks());
        Assert.Equal([name], network.List());
        Assert.True(network.Detach(name));
        Assert.False(network.Detach(name));
        Assert.Empty(network.List());
        Assert.NotNull(netlink.FindLink(Bridge));
    });

    [Fact]
    public void A_tap_that_a_hypervisor_uses_is_kept_and_repaired() => Run((network, netlink) =>
    {
        var name = network.Attach(new AttachedGuest(Uid, "web", []));
        using var hypervisor = OpenedTap.Open(name);
        netlink.SetMaster(netlink.GetLink(name).Index, null);
        netlink.DeleteLink(Bridge);
        Assert.Equal([name], network.List());

        Assert.Equal(name, network.Attach(new AttachedGuest(Uid, "web", [])));

        Assert.Equal(netlink.GetLink(Bridge).Index, netlink.GetLink(name).Master);
        Assert.True(network.Detach(name));
    });

    [Fact]
    public void A_bridge_that_others_made_is_used_as_it_is() => Run((network, netlink) =>
    {
        var bridge = netlink.CreateBridge(Bridge, [0x02, 0, 0, 0, 0, 9]);
        netlink.SetMtu(bridge.Index, 1400);
        netlink.ReplaceAddress(bridge.Index, IPAddress.Parse("10.77.0.9"), 24);

        network.Attach(new AttachedGuest(Uid, "web", []));

        var now = netlink.GetLink(Bridge);
        Assert.Equal((bridge.Index, bridge.Mac, 1400, true), (now.Index, now.Mac, now.Mtu, now.IsUp));
        Assert.Equal("10.77.0.1 10.77.0.9", string.Join(' ', netlink.ListAddresses(now.Index).Select(a => a.Address.ToString()).Order(StringComparer.Ordinal)));
    });

    [Fact]
    public void A_name_that_belongs_to_something_else_is_refused() => Run((network, netlink) =>
    {
        TapDevice.Create(Bridge);

        AssertFault(() => network.Attach(new AttachedGuest(Uid, "web", [])), $"Interface '{Bridge}' is not a bridge but tun");

        Assert.Empty(network.List());
    });

    [Fact]
    public void A_host_address_on_another_interface_is_refused() => Run((network, netlink) =>
    {
        var other = netlink.CreateBridge("other", [0x02, 0, 0, 0, 0, 9]).Index;
        netlink.ReplaceAddress(other, Host, 16);

        AssertFault(() => network.Attach(new AttachedGuest(Uid, "web", [])), "Host address 10.77.0.1 belongs to interface 'other'");
    });

    [Theory]
    [InlineData("10.77.0.200", 24)]
    [InlineData("10.77.0.200", 32)]
    [InlineData("10.1.2.3", 8)]
    public void A_subnet_that_overlaps_that_of_an_interface_is_refused_and_nothing_is_made(string address, int prefix) => Run((network, netlink) =>
    {
        netlink.ReplaceAddress(netlink.CreateBridge("other", [0x02, 0, 0, 0, 0, 9]).Index, IPAddress.Parse(address), prefix);
        var before = netlink.ListLinks();

        AssertFault(() => network.Attach(new AttachedGuest(Uid, "web", [])), $"Subnet 10.77.0.0/24 overlaps {address}/{prefix} of interface 'other'; choose another VOLANT_SUBNET");

        Assert.Equal(before, netlink.ListLinks());
    });

    [Fact]
    public void A_subnet_that_overlaps_a_route_is_refused_and_the_default_route_is_not() => Run((network, netlink) =>
    {
        var other = netlink.CreateBridge("other", [0x02, 0, 0, 0, 0, 9]).Index;
        netlink.ReplaceAddress(other, IPAddress.Parse("192.0.2.1"), 24);
        netlink.SetUp(other);
        netlink.ReplaceDefaultRoute(IPAddress.Parse("192.0.2.254"), other);
        netlink.ReplaceRoute(IPAddress.Parse("10.76.0.0"), 15, IPAddress.Parse("192.0.2.254"), other);

        AssertFault(() => network.Attach(new AttachedGuest(Uid, "web", [])), "Subnet 10.77.0.0/24 overlaps the route to 10.76.0.0/15 by interface 'other'");
        Assert.Null(netlink.FindLink(Bridge));
        netlink.DeleteAddress(other, IPAddress.Parse("192.0.2.1"), 24);
        netlink.ReplaceAddress(other, IPAddress.Parse("192.0.2.1"), 24);
        netlink.ReplaceDefaultRoute(IPAddress.Parse("192.0.2.254"), other);

        network.Attach(new AttachedGuest(Uid, "web", []));
    });

    [Fact]
    public void A_bridge_with_another_prefix_is_refused() => Run((network, netlink) =>
    {
        var bridge = netlink.CreateBridge(Bridge, [0x02, 0, 0, 0, 0, 9]).Index;
        netlink.ReplaceAddress(bridge, Host, 16);

        AssertFault(() => network.Attach(new AttachedGuest(Uid, "web", [])), $"Bridge '{Bridge}' has 10.77.0.1/16, but the subnet is 10.77.0.0/24");
    });

    [Fact]
    public void Taps_of_others_are_neither_listed_nor_deleted() => Run((network, netlink) =>
    {
        var mine = network.Attach(new AttachedGuest(Uid, "web", []));
        TapDevice.Create("tap0");
        var foreign = LinuxBridgeNetwork.TapNameFor(Guid.Parse("01234567-89ab-7def-8123-000000000001"));
        netlink.CreateBridge(foreign, [0x02, 0, 0, 0, 0, 9]);
        using var second = new LinuxBridgeNetwork("vbr-second", Subnet.Around(IPAddress.Parse("10.78.0.1"), 24), new BridgePolicy(Filters: false), NullLogger.Instance);
        var theirs = second.Attach(new AttachedGuest(Guid.Parse("01234567-89ab-7def-8123-000000000002"), "third", []));

        Assert.Equal([mine], network.List());
        Assert.Equal([theirs], second.List());
        Assert.Throws<ArgumentException>(() => network.Detach("tap0"));
        AssertFault(() => network.Detach(foreign), "is not a tap but bridge");
        Assert.NotNull(netlink.FindLink(foreign));
    });

    [Fact]
    public void A_full_bridge_is_refused_and_leaves_no_tap() => Run((network, netlink) =>
    {
        var bridge = network.EnsureBridge();
        for (var i = 0; i < LinuxBridgeNetwork.MaxPorts; i++)
        {
            TapDevice.Create($"t{i}");
            netlink.SetMaster(netlink.GetLink($"t{i}").Index, bridge);
        }

        AssertFault(() => network.Attach(new AttachedGuest(Uid, "web", [])), "the bridge has all of its 1023 ports");

        Assert.Null(netlink.FindLink(LinuxBridgeNetwork.TapNameFor(Uid)));
    });

    [Fact]
    public void Without_the_capability_the_message_names_the_remedy() => Run((network, netlink) =>
    {
        var name = network.Attach(new AttachedGuest(Uid, "web", []));
        NetworkNamespace.DropCapabilities();

        Assert.Equal([name], network.List());
        AssertFault(() => network.Attach(new AttachedGuest(Guid.Empty, "web", [])), "needs CAP_NET_ADMIN; run volantd as root or use network mode vsock.");
        AssertFault(() => network.Detach(name), "needs CAP_NET_ADMIN");
    });

    [Theory]
    [InlineData("")]
    [InlineData("a/b")]
    [InlineData("../../etc")]
    [InlineData("vaaaaaaaaaaaaaa")]
    [InlineData("a-name-that-is-long")]
    public void A_bad_bridge_name_is_refused(string name) =>
        Assert.Throws<ArgumentException>(() => new LinuxBridgeNetwork(name, Subnet.Around(Host, 24), new BridgePolicy(Filters: false), NullLogger.Instance).Dispose());

    [Fact]
    public async Task Detaching_a_strange_name_is_refused_at_once()
    {
        using var network = new LinuxBridgeNetwork(Bridge, Subnet.Around(Host, 24), new BridgePolicy(Filters: false), NullLogger.Instance);

        await Assert.ThrowsAsync<ArgumentException>(() => network.DetachAsync("eth0", TestContext.Current.CancellationToken));
    }

    private static void AssertFault(Action action, string message)
    {
        var error = Assert.Throws<VolantException>(action);
        Assert.Equal(ErrorCodes.NetworkUnavailable, error.Code);
        Assert.Contains(message, error.Message, StringComparison.Ordinal);
    }

    private static void Run(Action<LinuxBridgeNetwork, Netlink> test) => NetworkNamespace.Run(() =>
    {
        using var network = new LinuxBridgeNetwork(Bridge, Subnet.Around(Host, 24), new BridgePolicy(Filters: false), NullLogger.Instance);
        using var netlink = Netlink.Open();
        test(network, netlink);
    });
}
