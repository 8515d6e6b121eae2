using System.Net;
using System.Net.Sockets;
using Volant.Daemon.Networking;
using static Volant.Tests.Networking.BridgeBench;

namespace Volant.Tests.Networking;

/// <summary>Whom a guest reaches: not the host, not other guests, but the world.</summary>
public sealed class GuestReachTests
{
    private const string Far = "203.0.113.5";
    private const string WanIp = "198.51.100.1";
    private const string RouterIp = "198.51.100.254";
    private static readonly byte[] RouterMac = [2, 0, 0, 0, 1, 1];

    [Fact]
    public void The_control_plane_and_other_services_of_the_host_do_not_answer() => Run(bench =>
    {
        using var api = new TcpListener(IPAddress.Parse(HostIp), 7777);
        api.Start();
        MeetTheHost(bench);
        foreach (var port in (ushort[])[7777, 22])
        {
            bench.Guest.Send(Frames.IpFrame(BridgeMac, OneMac, OneIp, HostIp, Frames.Tcp, Frames.Synchronise(40_000, port)));
        }

        Assert.DoesNotContain(UntilEcho(bench, 1), frame => Frames.IsIp(frame, Frames.Tcp));
        Assert.False(api.Pending());
    });

    [Fact]
    public void Without_the_firewall_the_host_does_answer() => Run(
        bench =>
        {
            using var api = new TcpListener(IPAddress.Parse(HostIp), 7777);
            api.Start();
            MeetTheHost(bench);
            bench.Guest.Send(Frames.IpFrame(BridgeMac, OneMac, OneIp, HostIp, Frames.Tcp, Frames.Synchronise(40_000, 7777)));

            Assert.Contains(UntilEcho(bench, 1), frame => Frames.IsIp(frame, Frames.Tcp));
        },
        new BridgePolicy(Filters: false));

    [Fact]
    public void What_the_host_asked_for_is_answered() => Run(bench =>
    {
        using var host = new Socket(AddressFamily.InterNetwork, SocketType.Dgram, ProtocolType.Udp);
        host.Bind(new IPEndPoint(IPAddress.Parse(HostIp), 4000));
        MeetTheHost(bench);
        host.SendTo([1], new IPEndPoint(IPAddress.Parse(OneIp), 5000));
        bench.Guest.ReceiveUntil(frame => Frames.IsIp(frame, Frames.Udp));
        bench.Guest.Send(Frames.IpFrame(BridgeMac, OneMac, OneIp, HostIp, Frames.Udp, Frames.Datagram(5000, 4000, [7])));
        UntilEcho(bench, 1);

        Assert.True(host.Poll(TimeSpan.FromSeconds(20), SelectMode.SelectRead));
    });

    [Fact]
    public void A_flood_of_echo_requests_is_not_answered() => Run(bench =>
    {
        MeetTheHost(bench);
        for (ushort i = 0; i < 1000; i++)
        {
            bench.Guest.Send(Frames.IpFrame(BridgeMac, OneMac, OneIp, HostIp, Frames.Icmp, Frames.Echo(i)));
        }

        var answers = 0;
        while (bench.Guest.Receive(0) is { } frame)
        {
            answers += Frames.IsIp(frame, Frames.Icmp) ? 1 : 0;
        }

        Assert.InRange(answers, 1, 500);
    });

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void Guests_reach_each_other_only_when_the_operator_says_so(bool isolated) => Run(
        bench =>
        {
            var direct = Frames.IpFrame(TwoMac, OneMac, OneIp, TwoIp, Frames.Udp, Frames.Datagram(1, 2, [1]));
            var toAll = Frames.Arp(OneMac, OneMac, OneIp, TwoIp);
            bench.Guest.Send(direct);
            bench.Guest.Send(toAll);
            var mark = bench.MarkToOther();
            var arrived = bench.Other.ReceiveUntil(frame => Frames.Same(frame, mark));

            Assert.Equal(!isolated, arrived.Any(frame => Frames.Same(frame, direct)));
            Assert.Equal(!isolated, arrived.Any(frame => Frames.Same(frame, toAll)));
        },
        new BridgePolicy(Isolates: isolated));

    [Fact]
    public void Nor_do_they_by_way_of_the_host() => Run(bench =>
    {
        Forward();
        MeetTheHost(bench);
        bench.Other.Send(Frames.Arp(TwoMac, TwoMac, TwoIp, HostIp));
        bench.Other.ReceiveUntil(frame => Frames.TypeOf(frame) == Frames.ArpType && frame.AsSpan(0, 6).SequenceEqual(TwoMac));
        bench.Guest.Send(Frames.IpFrame(BridgeMac, OneMac, OneIp, TwoIp, Frames.Udp, Frames.Datagram(1, 2, [1])));
        var mark = bench.MarkToOther();

        Assert.DoesNotContain(bench.Other.ReceiveUntil(frame => Frames.Same(frame, mark)), frame => Frames.IsIp(frame, Frames.Udp) && Frames.DestinationOf(frame) == TwoIp);
    });

    [Fact]
    public void The_world_is_reached_in_the_hosts_name_and_may_answer_and_link_local_addresses_are_not() => Run(bench =>
    {
        using var world = Connect(bench);
        MeetTheHost(bench);
        bench.Guest.Send(Frames.IpFrame(BridgeMac, OneMac, OneIp, "169.254.169.254", Frames.Udp, Frames.Datagram(1000, 80, [1])));
        bench.Guest.Send(Frames.IpFrame(BridgeMac, OneMac, OneIp, Far, Frames.Udp, Frames.Datagram(1000, 53, [2])));
        var left = world.ReceiveUntil(frame => Frames.IsIp(frame, Frames.Udp));

        Assert.Equal((WanIp, Far), (Frames.SourceOf(left[^1]), Frames.DestinationOf(left[^1])));
        var port = (ushort)((left[^1][34] << 8) | left[^1][35]);
        world.Send(Frames.IpFrame(left[^1][6..12], RouterMac, Far, WanIp, Frames.Udp, Frames.Datagram(53, port, [3])));
        var answer = bench.Guest.ReceiveUntil(frame => Frames.IsIp(frame, Frames.Udp))[^1];
        Assert.Equal((Far, OneIp), (Frames.SourceOf(answer), Frames.DestinationOf(answer)));
    });

    [Fact]
    public void The_world_does_not_reach_a_guest_that_did_not_ask() => Run(bench =>
    {
        using var world = Connect(bench);
        MeetTheHost(bench);
        var wan = Convert.FromHexString(bench.Netlink.GetLink(world.Name).Mac!.Replace(":", string.Empty, StringComparison.Ordinal));
        world.Send(Frames.IpFrame(wan, RouterMac, Far, OneIp, Frames.Udp, Frames.Datagram(53, 1000, [3])));

        Assert.DoesNotContain(UntilEcho(bench, 1), frame => Frames.IsIp(frame, Frames.Udp));
    });

    [Fact]
    public void By_IPv6_the_host_answers_no_more_than_by_IPv4() => Run(bench =>
    {
        using var api = new TcpListener(IPAddress.Parse(HostIp6), 7777);
        api.Start();
        bench.Guest.Send(Frames.Ip6Frame(BridgeMac, OneMac, OneIp6, HostIp6, Frames.Tcp, Frames.Synchronise(40_000, 7777)));
        bench.Guest.Send(Frames.Ip6Frame(BridgeMac, OneMac, OneIp6, HostIp6, Frames.Icmp6, Frames.Echo6(1)));

        Assert.DoesNotContain(bench.Guest.ReceiveUntil(frame => Frames.IsIp6(frame, Frames.Icmp6) && frame[54] == 129), frame => Frames.IsIp6(frame, Frames.Tcp));
        Assert.False(api.Pending());
    });

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void A_guest_cannot_have_the_host_send_it_what_is_for_another_by_IPv6(bool filters) => Run(
        bench =>
        {
            using var host = new Socket(AddressFamily.InterNetworkV6, SocketType.Dgram, ProtocolType.Udp);
            bench.Guest.Send(Frames.Ip6Frame(BridgeMac, OneMac, OneIp6, HostIp6, Frames.Icmp6, Frames.Advertise(TwoIp6, OneMac)));
            if (filters)
            {
                host.SendTo([1], new IPEndPoint(IPAddress.Parse(TwoIp6), 5000));
                Assert.Equal(TwoIp6, Frames.Destination6Of(bench.Other.ReceiveUntil(frame => Frames.IsIp6(frame, Frames.Udp))[^1]));
            }
            else
            {
                // It asks, and believes whoever answers.
                host.SendTo([1], new IPEndPoint(IPAddress.Parse(TwoIp6), 5000));
                bench.Guest.ReceiveUntil(frame => Frames.IsIp6(frame, Frames.Icmp6) && frame[54] == 135);
                bench.Guest.Send(Frames.Ip6Frame(BridgeMac, OneMac, OneIp6, HostIp6, Frames.Icmp6, Frames.Advertise(TwoIp6, OneMac)));
                Assert.Equal(TwoIp6, Frames.Destination6Of(bench.Guest.ReceiveUntil(frame => Frames.IsIp6(frame, Frames.Udp))[^1]));
            }
        },
        new BridgePolicy(Filters: filters));

    [Fact]
    public void By_IPv6_too_the_world_is_reached_in_the_hosts_name_and_other_guests_are_not() => Run(bench =>
    {
        const string FarIp6 = "2001:db8::5";
        using var world = bench.OpenOutside("wan");
        var index = bench.Netlink.GetLink("wan").Index;
        File.WriteAllText("/proc/sys/net/ipv6/conf/all/forwarding", "1");
        File.WriteAllText("/proc/sys/net/ipv6/conf/wan/disable_ipv6", "0");
        bench.Netlink.ReplaceAddress(index, IPAddress.Parse("2001:db8:1::1"), 64);
        bench.Netlink.ReplaceNeighbor(index, IPAddress.Parse("2001:db8:1::2"), RouterMac);
        bench.Netlink.ReplaceDefaultRoute(IPAddress.Parse("2001:db8:1::2"), index);
        bench.Guest.Send(Frames.Ip6Frame(BridgeMac, OneMac, OneIp6, TwoIp6, Frames.Udp, Frames.Datagram(1, 2, [1])));
        bench.Guest.Send(Frames.Ip6Frame(BridgeMac, OneMac, OneIp6, FarIp6, Frames.Udp, Frames.Datagram(1000, 53, [2])));
        var left = world.ReceiveUntil(frame => Frames.IsIp6(frame, Frames.Udp))[^1];
        var mark = bench.MarkToOther();

        Assert.Equal(("2001:db8:1::1", FarIp6), (Frames.Source6Of(left), Frames.Destination6Of(left)));
        Assert.DoesNotContain(bench.Other.ReceiveUntil(frame => Frames.Same(frame, mark)), frame => Frames.IsIp6(frame, Frames.Udp));
        var port = (ushort)((left[54] << 8) | left[55]);
        world.Send(Frames.Ip6Frame(left[6..12], RouterMac, FarIp6, "2001:db8:1::1", Frames.Udp, Frames.Datagram(53, port, [3])));
        Assert.Equal(OneIp6, Frames.Destination6Of(bench.Guest.ReceiveUntil(frame => Frames.IsIp6(frame, Frames.Udp))[^1]));
    });

    /// <summary>The host learns the guest's Ethernet address from its question.</summary>
    private static void MeetTheHost(BridgeBench bench)
    {
        bench.Guest.Send(Frames.Arp(OneMac, OneMac, OneIp, HostIp));
        bench.Guest.ReceiveUntil(frame => Frames.TypeOf(frame) == Frames.ArpType && frame.AsSpan(0, 6).SequenceEqual(OneMac));
    }

    private static IReadOnlyList<byte[]> UntilEcho(BridgeBench bench, ushort sequence)
    {
        bench.Guest.Send(Frames.IpFrame(BridgeMac, OneMac, OneIp, HostIp, Frames.Icmp, Frames.Echo(sequence)));
        return bench.Guest.ReceiveUntil(frame => Frames.IsIp(frame, Frames.Icmp));
    }

    /// <summary>Gives the host a second interface with a router behind it, which answers ARP.</summary>
    private static TapPort Connect(BridgeBench bench)
    {
        Forward();
        var world = bench.OpenOutside("wan");
        var index = bench.Netlink.GetLink("wan").Index;
        bench.Netlink.ReplaceAddress(index, IPAddress.Parse(WanIp), 24);
        bench.Netlink.ReplaceDefaultRoute(IPAddress.Parse(RouterIp), index);

        // The host learns the router's address as it learns a guest's.
        world.Send(Frames.Arp(RouterMac, RouterMac, RouterIp, WanIp));
        world.ReceiveUntil(frame => Frames.TypeOf(frame) == Frames.ArpType && frame.AsSpan(0, 6).SequenceEqual(RouterMac));
        return world;
    }

    private static void Forward() => File.WriteAllText("/proc/sys/net/ipv4/ip_forward", "1");
}
