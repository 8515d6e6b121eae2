using System.Net;
using Volant.Contracts.Api;
using Volant.Daemon;
using Volant.Daemon.Networking;
using Volant.Linux.Networking;
using Volant.Tests.Linux;
using static Volant.Tests.Networking.BridgeBench;

namespace Volant.Tests.Networking;

/// <summary>The rules in the kernel: they come, stay, come back and go, and only ours.</summary>
public sealed class FirewallTests
{
    private static readonly byte[] Forged = Frames.IpFrame(Frames.Everybody, OneMac, TwoIp, "10.77.0.200", Frames.Udp, Frames.Datagram(1, 2, [1]));

    private static readonly string Tap = LinuxBridgeNetwork.TapNameFor(One);

    [Fact]
    public void Rules_go_with_the_tap_and_those_of_others_stay() => Run(bench =>
    {
        Nftables.Run("add table inet theirs; add chain inet theirs c; add rule inet theirs c counter");
        var theirs = Nftables.ListRules("inet", "theirs");

        bench.Guest.Dispose();
        bench.Network.Detach(Tap);
        bench.Network.Detach(Tap);

        Assert.Equal([[LinuxBridgeNetwork.TapNameFor(Two)]], Elements("taps"));
        Assert.Single(Elements("macs"));
        Assert.Single(Elements("addresses"));
        Assert.Equal([[TwoIp]], Nftables.ListElements("inet", Table, "guests"));
        Assert.Equal(theirs, Nftables.ListRules("inet", "theirs"));
    });

    [Theory]
    [InlineData("delete table bridge {0}; delete table inet {0}")]
    [InlineData("flush table bridge {0}")]
    [InlineData("add rule bridge {0} guest accept")]
    [InlineData("insert rule bridge {0} guest_ip accept")]
    [InlineData("flush set bridge {0} taps")]
    [InlineData("add element bridge {0} addresses {{ \"{1}\" . 10.77.0.3 }}")]
    [InlineData("delete element bridge {0} macs {{ \"{1}\" . {2} }}")]
    public void What_somebody_changed_is_put_right_at_the_next_check(string change) => Run(bench =>
    {
        Assert.Empty(bench.Network.Check(Both));
        var rules = Nftables.ListRules("bridge", Table) + Nftables.ListRules("inet", Table);
        Nftables.Run(string.Format(System.Globalization.CultureInfo.InvariantCulture, change, Table, Tap, MacAddress.FromUid(One)));

        var faults = bench.Network.Check(Both);
        Assert.NotEmpty(faults);
        foreach (var fault in faults)
        {
            Assert.False(fault.IsLost);
            bench.Network.Attach(Both.Single(guest => guest.Uid == fault.Uid));
        }

        Assert.Empty(bench.Network.Check(Both));
        Assert.Equal(rules, Nftables.ListRules("bridge", Table) + Nftables.ListRules("inet", Table));
        Assert.Equal(2, Elements("addresses").Count);
        Assert.False(bench.Passes(Forged));
        Assert.True(bench.Passes(Frames.Arp(OneMac, OneMac, OneIp, HostIp)));
    });

    [Fact]
    public void An_attach_after_somebody_removed_the_tables_brings_the_rules_of_all_back() => Run(bench =>
    {
        Nftables.Run($"delete table bridge {Table}");

        bench.Network.Attach(Both[1]);

        Assert.Equal(2, Elements("taps").Count);
        Assert.False(bench.Passes(Forged));
    });

    [Fact]
    public void The_next_daemon_keeps_the_rules_of_those_that_run_and_finds_those_of_nobody() => Run(bench =>
    {
        var next = bench.Restart();
        next.Attach(new AttachedGuest(Guid.Parse("01234567-89ab-7def-8123-456789abcd03"), "third", [IPAddress.Parse("10.77.0.4")]));
        Assert.Equal(3, Elements("taps").Count);
        Assert.False(bench.Passes(Forged));
        Assert.Empty(next.Check(Both));

        bench.Guest.Dispose();
        bench.Netlink.DeleteLink(Tap);
        Assert.Contains(Tap, next.List());
        Assert.False(next.Detach(Tap));
        Assert.DoesNotContain(Tap, next.List());
        Assert.Equal(2, Elements("macs").Count);
    });

    [Fact]
    public void Sets_of_an_older_kind_are_replaced() => Run(bench =>
    {
        Nftables.Run($"delete table bridge {Table}; add table bridge {Table}; add set bridge {Table} macs {{ type ifname; }}");

        var next = bench.Restart();
        foreach (var fault in next.Check(Both))
        {
            next.Attach(Both.Single(guest => guest.Uid == fault.Uid));
        }

        Assert.False(bench.Passes(Forged));
    });

    [Fact]
    public void A_guest_with_another_address_loses_the_old_one() => Run(bench =>
    {
        bench.Network.Attach(new AttachedGuest(One, "web", [IPAddress.Parse("10.77.0.9")]));

        Assert.False(bench.Passes(Frames.Arp(OneMac, OneMac, OneIp, HostIp)));
        Assert.True(bench.Passes(Frames.Arp(OneMac, OneMac, "10.77.0.9", HostIp)));
        Assert.Equal(["10.77.0.3", "10.77.0.9"], Nftables.ListElements("inet", Table, "guests").Select(parts => parts[0]).Order(StringComparer.Ordinal));
    });

    [Fact]
    public void When_the_operator_wants_no_rules_those_of_before_go() => Run(bench =>
    {
        using var off = new LinuxBridgeNetwork(Bridge, Subnet.Around(IPAddress.Parse(HostIp), 24), new BridgePolicy(Filters: false), Microsoft.Extensions.Logging.Abstractions.NullLogger.Instance);
        Assert.Empty(off.Check(Both));

        Assert.Throws<NftablesException>(() => Nftables.ListRules("bridge", Table));
        Assert.True(bench.Passes(Forged));
    });

    [Fact]
    public void A_tap_that_was_deleted_while_its_VM_runs_is_lost_also_when_it_is_made_again() => Run(bench =>
    {
        bench.Netlink.DeleteLink(Tap);
        Assert.Equal([new TapFault(One, IsLost: true)], bench.Network.Check(Both));

        bench.Network.Attach(Both[0]);
        Assert.Equal([new TapFault(One, IsLost: true)], bench.Network.Check(Both));
    });

    [Fact]
    public void A_tap_that_was_changed_is_repaired() => Run(bench =>
    {
        var index = bench.Netlink.GetLink(Tap).Index;
        foreach (var change in (LinkChange[])[new() { Up = false }, new() { Master = 0 }, new() { Isolated = false }, new() { Mac = new byte[] { 2, 0, 0, 0, 0, 1 } }])
        {
            bench.Netlink.SetLink(index, change);
            Assert.Equal([new TapFault(One, IsLost: false)], bench.Network.Check(Both));
            bench.Network.Attach(Both[0]);
            Assert.DoesNotContain(bench.Network.Check(Both), fault => !fault.IsLost);
        }

        var tap = bench.Netlink.GetLink(Tap);
        Assert.True(tap.IsUp && tap.IsIsolated && tap.Master == bench.Netlink.GetLink(Bridge).Index);
    });

    [Fact]
    public void A_bridge_that_was_deleted_comes_back_with_its_ports() => Run(bench =>
    {
        bench.Netlink.DeleteLink(Bridge);

        Assert.Equal(2, bench.Network.Check(Both).Count(fault => !fault.IsLost));
        bench.Network.Attach(Both[0]);

        Assert.Equal(bench.Netlink.GetLink(Bridge).Index, bench.Netlink.GetLink(Tap).Master);
    });

    [Fact]
    public void What_the_kernel_refuses_is_explained_with_the_remedies_and_leaves_no_tap() => Run(bench =>
    {
        NetworkNamespace.DropCapabilities();
        var error = Assert.Throws<VolantException>(() => bench.Restart().Check(Both));

        Assert.Equal(ErrorCodes.NetworkUnavailable, error.Code);
        Assert.Contains("CAP_NET_ADMIN", error.Message, StringComparison.Ordinal);
        Assert.Contains("VOLANT_FIREWALL=off", error.Message, StringComparison.Ordinal);
    });

    [Fact]
    public void A_failed_attach_leaves_no_rules() => Run(bench =>
    {
        var uid = Guid.Parse("01234567-89ab-7def-8123-456789abcd03");
        bench.Netlink.CreateBridge(LinuxBridgeNetwork.TapNameFor(uid), [2, 0, 0, 0, 0, 3]);
        bench.Netlink.SetDown(bench.Netlink.GetLink(LinuxBridgeNetwork.TapNameFor(uid)).Index);

        Assert.Throws<VolantException>(() => bench.Network.Attach(new AttachedGuest(uid, "web", [])));

        Assert.Equal(2, Elements("taps").Count);
    });

    [Fact]
    public void Elements_are_read_from_the_text_of_a_set()
    {
        Assert.Equal(
            [["vabc", "02:00:00:00:00:01"], ["vabd", "02:00:00:00:00:02"]],
            Nftables.ParseElements("table bridge t {\n\tset macs {\n\t\ttype ifname . ether_addr\n\t\telements = { \"vabc\" . 02:00:00:00:00:01,\n\t\t\t     \"vabd\" . 02:00:00:00:00:02 }\n\t}\n}\n"));
        Assert.Empty(Nftables.ParseElements("table bridge t {\n\tset taps {\n\t\ttype ifname\n\t}\n}\n"));
    }

    private static IReadOnlyList<string[]> Elements(string set) => Nftables.ListElements("bridge", Table, set);
}
