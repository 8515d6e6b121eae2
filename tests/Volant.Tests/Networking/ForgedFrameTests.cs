using Volant.Daemon.Networking;
using static Volant.Tests.Networking.BridgeBench;

namespace Volant.Tests.Networking;

/// <summary>Frames that a guest may and may not send, through the taps that volantd made.</summary>
public sealed class ForgedFrameTests
{
    private static readonly byte[] AllNodes = [0x33, 0x33, 0, 0, 0, 1];
    private static readonly byte[] Content = Frames.Datagram(1000, 2000, [1, 2, 3]);
    private static readonly byte[] Own = Frames.Packet(OneIp, "10.77.0.200", Frames.Udp, Content);

    private static readonly Dictionary<string, byte[]> Hostile = new(StringComparer.Ordinal)
    {
        ["another Ethernet address"] = Frames.Ethernet(Frames.Everybody, TwoMac, Frames.Ip, Own),
        ["the gateway's Ethernet address"] = Frames.Arp(BridgeMac, BridgeMac, HostIp, HostIp),
        ["another IPv4 address"] = Frames.IpFrame(Frames.Everybody, OneMac, TwoIp, "10.77.0.200", Frames.Udp, Content),
        ["no IPv4 address"] = Frames.IpFrame(Frames.Everybody, OneMac, "0.0.0.0", "255.255.255.255", Frames.Udp, Content),
        ["an ARP request in the name of another"] = Frames.Arp(OneMac, OneMac, TwoIp, HostIp),
        ["an ARP answer in the name of the gateway"] = Frames.Arp(OneMac, OneMac, HostIp, TwoIp, operation: 2),
        ["an ARP answer with the Ethernet address of another"] = Frames.Arp(OneMac, TwoMac, OneIp, HostIp, operation: 2),
        ["an ARP answer of nobody"] = Frames.Arp(OneMac, OneMac, "0.0.0.0", HostIp, operation: 2),
        ["ARP for something else than IPv4"] = Frames.Ethernet(Frames.Everybody, OneMac, Frames.ArpType, [0, 1, 0x86, 0xdd, 6, 16, 0, 1, .. OneMac, .. new byte[38]]),
        ["an answer of a DHCP server"] = Frames.IpFrame(Frames.Everybody, OneMac, OneIp, "255.255.255.255", Frames.Udp, Frames.Datagram(67, 68, new byte[240])),
        ["an answer of a DHCP server to a relay"] = Frames.IpFrame(Frames.Everybody, OneMac, OneIp, "10.77.0.200", Frames.Udp, Frames.Datagram(67, 67, new byte[240])),
        ["a VLAN"] = Frames.Ethernet(Frames.Everybody, OneMac, 0x8100, [0, 5, 8, 0, .. Own]),
        ["VLAN 0"] = Frames.Ethernet(Frames.Everybody, OneMac, 0x8100, [0, 0, 8, 0, .. Own]),
        ["VLAN 0 around an IPv4 address of another"] = Frames.Ethernet(Frames.Everybody, OneMac, 0x8100, [0, 0, 8, 0, .. Frames.Packet(TwoIp, "10.77.0.200", Frames.Udp, Content)]),
        ["a VLAN in a VLAN"] = Frames.Ethernet(Frames.Everybody, OneMac, 0x88a8, [0, 5, 0x81, 0, 0, 6, 8, 0, .. Own]),
        ["IPv4 in LLC and SNAP"] = Frames.Ethernet(Frames.Everybody, OneMac, (ushort)(8 + Own.Length), [0xaa, 0xaa, 3, 0, 0, 0, 8, 0, .. Own]),
        ["a spanning tree message"] = Frames.Ethernet([1, 0x80, 0xc2, 0, 0, 0], OneMac, 38, [0x42, 0x42, 3, .. new byte[35]]),
        ["a neighbour announcement of a switch"] = Frames.Ethernet([1, 0x80, 0xc2, 0, 0, 0x0e], OneMac, 0x88cc, [2, 7, 4, .. OneMac, 0, 0]),
        ["RARP"] = Frames.Ethernet(Frames.Everybody, OneMac, 0x8035, [0, 1, 8, 0, 6, 4, 0, 3, .. OneMac, .. new byte[14]]),
        ["another IPv6 address"] = Frames.Ip6Frame(OutsideMac, OneMac, TwoIp6, "fd77::9", Frames.Udp, Content),
        ["an IPv6 address of its own choice"] = Frames.Ip6Frame(OutsideMac, OneMac, "fe80::1", "fe80::2", Frames.Udp, Content),
        ["an IPv6 answer of nobody"] = Frames.Ip6Frame(AllNodes, OneMac, "::", "ff02::1", Frames.Icmp6, Frames.Advertise(TwoIp6, OneMac)),
        ["an IPv6 router advertisement of itself"] = Frames.Ip6Frame(AllNodes, OneMac, OneIp6, "ff02::1", Frames.Icmp6, [134, 0, 0, 0, 64, 0, 7, 8, .. new byte[8]]),
        ["an IPv6 redirect"] = Frames.Ip6Frame(OutsideMac, OneMac, OneIp6, "fd77::9", Frames.Icmp6, [137, 0, 0, 0, .. new byte[36]]),
        ["an answer of a DHCPv6 server"] = Frames.Ip6Frame(OutsideMac, OneMac, OneIp6, "fd77::9", Frames.Udp, Frames.Datagram(547, 546, new byte[20])),
        ["an IPv6 router advertisement"] = Frames.Ethernet([0x33, 0x33, 0, 0, 0, 1], OneMac, 0x86dd, [0x60, 0, 0, 0, 0, 8, 58, 255, 0xfe, 0x80, .. new byte[14], 0xff, 2, .. new byte[13], 1, 134, 0, 0, 0, 64, 0, 7, 8]),
        ["a protocol of its own"] = Frames.Ethernet(Frames.Everybody, OneMac, 0x9000, [1, 2, 3]),
    };

    private static readonly Dictionary<string, byte[]> Good = new(StringComparer.Ordinal)
    {
        ["IPv4"] = Frames.Ethernet(Frames.Everybody, OneMac, Frames.Ip, Own),
        ["IPv4 to one address"] = Frames.Ethernet(OutsideMac, OneMac, Frames.Ip, Own),
        ["an ARP request"] = Frames.Arp(OneMac, OneMac, OneIp, "10.77.0.200"),
        ["an ARP answer"] = Frames.Arp(OneMac, OneMac, OneIp, "10.77.0.200", operation: 2, to: OutsideMac),
        ["whether its address is free"] = Frames.Arp(OneMac, OneMac, "0.0.0.0", OneIp),
        ["that it has its address"] = Frames.Arp(OneMac, OneMac, OneIp, OneIp),
        ["a DHCP client"] = Frames.IpFrame(Frames.Everybody, OneMac, "0.0.0.0", "255.255.255.255", Frames.Udp, Frames.Datagram(68, 67, new byte[240])),
        ["a DHCP client that renews"] = Frames.IpFrame(OutsideMac, OneMac, OneIp, "10.77.0.200", Frames.Udp, Frames.Datagram(68, 67, new byte[240])),
        ["IPv6"] = Frames.Ip6Frame(OutsideMac, OneMac, OneIp6, "fd77::9", Frames.Udp, Content),
        ["an IPv6 question for an address"] = Frames.Ip6Frame(AllNodes, OneMac, OneIp6, "ff02::1:ff4d:1", Frames.Icmp6, Frames.Solicit(HostIp6)),
        ["whether its IPv6 address is free"] = Frames.Ip6Frame(AllNodes, OneMac, "::", "ff02::1:ff4d:2", Frames.Icmp6, Frames.Solicit(OneIp6)),
        ["multicast"] = Frames.IpFrame([1, 0, 0x5e, 0, 0, 0xfb], OneMac, OneIp, "224.0.0.251", Frames.Udp, Content),
    };

    public static TheoryData<string> HostileNames => [.. Hostile.Keys];

    public static TheoryData<string> GoodNames => [.. Good.Keys];

    [Theory]
    [MemberData(nameof(HostileNames))]
    public void What_a_guest_may_not_send_is_dropped(string name) => Run(bench => Assert.False(bench.Passes(Hostile[name])));

    [Theory]
    [MemberData(nameof(GoodNames))]
    public void What_a_guest_may_send_passes(string name) => Run(bench => Assert.True(bench.Passes(Good[name])));

    [Fact]
    public void Without_the_firewall_all_of_it_passes_the_bridge() => Run(
        bench => Assert.True(bench.Passes(Hostile["another IPv4 address"]) && bench.Passes(Hostile["a VLAN"])), new BridgePolicy(Filters: false));

    [Fact]
    public void A_guest_that_has_no_address_yet_may_only_ask_for_one() => Run(bench =>
    {
        bench.Network.Attach(new AttachedGuest(One, "web", []));
        Assert.Equal(
            ["a DHCP client", "whether its IPv6 address is free", "whether its address is free"],
            Good.Where(frame => bench.Passes(frame.Value)).Select(frame => frame.Key).Order(StringComparer.Ordinal));
    });

    [Fact]
    public void Other_hosts_on_a_bridge_that_others_made_may_send_what_they_like() => Run(bench =>
    {
        var frame = Frames.Ethernet(TwoMac, OutsideMac, 0x8100, [0, 5, 8, 0, .. Own]);

        bench.Outside.Send(frame);

        bench.Other.ReceiveUntil(arrived => Frames.Same(arrived, frame));
    });
}
