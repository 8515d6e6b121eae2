using System.Net;
using System.Text;
using Microsoft.Extensions.Logging.Abstractions;
using Volant.Agent.Dhcp;
using Volant.Daemon.Networking;
using Volant.Linux.Processes;
using Volant.Tests.Linux;
using static Volant.Tests.Networking.BridgeBench;

namespace Volant.Tests.Networking;

/// <summary>A real dnsmasq on the bridge, asked by guests through their taps.</summary>
public sealed class GuestServicesTests
{
    private const int LimitMs = 20_000;
    private const int RetryMs = 100;

    [Fact]
    public void A_guest_gets_the_address_of_its_VM_by_DHCP_and_others_get_none() => Run((bench, _, _) =>
    {
        bench.Outside.Send(DhcpFrame(new DhcpRequest(DhcpType.Discover, 9, 0), OutsideMac));
        var offer = Ask(bench, new DhcpRequest(DhcpType.Discover, 1, 0));
        Assert.Equal((DhcpType.Offer, OneIp), (offer.Type, offer.YourAddress.ToString()));

        var answer = Ask(bench, new DhcpRequest(DhcpType.Request, 2, 0) { Requested = offer.YourAddress, Server = IPAddress.Parse(HostIp) });

        Assert.Equal(DhcpType.Ack, answer.Type);
        var lease = DhcpLease.Read(answer, out var fault);
        Assert.True(lease is not null, fault);
        Assert.Equal((OneIp, 24, HostIp, GuestServiceFiles.Domain), (lease.Address.ToString(), lease.PrefixLength, lease.Server.ToString(), lease.Domain));
        Assert.Equal(HostIp, Assert.Single(lease.NameServers).ToString());
        Assert.Contains(lease.Routes, route => route.PrefixLength == 0 && route.Gateway!.ToString() == HostIp);
        while (bench.Outside.Receive(0) is { } frame)
        {
            Assert.False(Frames.IsIp(frame, Frames.Udp) && frame[35] == 67 && DhcpMessage.Decode(frame.AsSpan(42), OutsideMac) is not null, "somebody else got an answer");
        }
    });

    [Fact]
    public void A_lease_that_this_process_never_gave_is_renewed() => Run((bench, _, _) => Assert.Equal(
        DhcpType.Ack, Ask(bench, new DhcpRequest(DhcpType.Request, 2, 0) { ClientAddress = IPAddress.Parse(OneIp) }).Type));

    [Fact]
    public void The_names_of_VMs_that_run_lead_to_them_and_others_of_the_domain_nowhere() => Run((bench, _, _) =>
    {
        Assert.Equal(OneIp, Resolve(bench, "one.volant.internal"));
        Assert.Equal(TwoIp, Resolve(bench, "two.volant.internal"));
        Assert.Null(Resolve(bench, "three.volant.internal"));

        bench.Network.Attach(new AttachedGuest(Two, "three", [IPAddress.Parse("10.77.0.30")]));
        Until(() => Resolve(bench, "three.volant.internal") == "10.77.0.30");
        Assert.Null(Resolve(bench, "two.volant.internal"));
        bench.Other.Dispose();
        bench.Network.Detach(LinuxBridgeNetwork.TapNameFor(Two));
        Until(() => Resolve(bench, "three.volant.internal") is null);
        Assert.Equal(OneIp, Resolve(bench, "one.volant.internal"));
    });

    [Fact]
    public void It_is_there_as_long_as_there_are_guests_and_runs_as_another_user() => Run((bench, services, files) =>
    {
        Assert.Equal(OneIp, Resolve(bench, "one.volant.internal"));
        var process = services().Process!;
        Assert.Equal(GuestServices.FindUser() == "nobody" ? "65534" : "dnsmasq", UserOf(process.Pid));

        bench.Network.Detach(LinuxBridgeNetwork.TapNameFor(One));
        Assert.True(process.IsAlive());
        bench.Network.Detach(LinuxBridgeNetwork.TapNameFor(Two));

        Until(() => !process.IsAlive());
        Assert.False(Directory.Exists(files.Directory));
        Assert.Null(services().Process);
    });

    [Fact]
    public void The_next_daemon_adopts_it_and_replaces_it_when_it_is_to_serve_something_else() => Run((bench, services, files) =>
    {
        var first = services().Process!;
        var next = bench.Restart();
        Assert.True(first.IsAlive());
        Assert.Empty(next.Check(Both));
        Assert.Equal(first, services().Process);

        using var other = new GuestServices(Program, files with { Servers = [IPAddress.Parse("192.0.2.53")] }, new SettableTimeProvider(), NullLogger.Instance);
        other.Ensure();

        Assert.False(first.IsAlive());
        Assert.NotEqual(first, other.Process);
        Assert.Equal(OneIp, Resolve(bench, "one.volant.internal"));
        other.End();
    });

    [Fact]
    public void When_it_dies_it_is_started_again_after_a_wait() => Run((bench, services, _) =>
    {
        var first = services().Process!;
        using (var process = PidFd.TryOpen(first)!)
        {
            process.Signal(9);
        }

        Until(() => services().Process is null);
        services().Ensure();
        Assert.Null(services().Process);
        bench.Clock.Advance(TimeSpan.FromSeconds(2));
        Assert.Empty(bench.Network.Check(Both));

        Assert.NotEqual(first, services().Process!);
        Assert.Equal(OneIp, Resolve(bench, "one.volant.internal"));
    });

    [Fact]
    public void A_guest_that_is_not_served_is_found_and_repaired_and_one_of_nobody_is_swept() => Run((bench, _, files) =>
    {
        File.Delete(Path.Combine(files.Names, LinuxBridgeNetwork.TapNameFor(One)));
        File.WriteAllText(Path.Combine(files.Leases, "vaaaaaaaaaaaaaa"), "02:00:00:00:00:01,10.77.0.99\n");

        Assert.Equal([new TapFault(One, IsLost: false)], bench.Network.Check(Both));
        bench.Network.Attach(Both[0]);
        Assert.Empty(bench.Network.Check(Both));
        Assert.Contains("vaaaaaaaaaaaaaa", bench.Network.List());
        bench.Network.Detach("vaaaaaaaaaaaaaa");
        Assert.DoesNotContain("vaaaaaaaaaaaaaa", bench.Network.List());
    });

    [Fact]
    public void When_the_operator_wants_none_that_of_an_earlier_daemon_ends() => Run((bench, services, files) =>
    {
        var process = services().Process!;
        using var off = new LinuxBridgeNetwork(
            Bridge, Subnet.Around(IPAddress.Parse(HostIp), 24), new BridgePolicy(), NullLogger.Instance, new GuestServices(Program, files, new SettableTimeProvider(), NullLogger.Instance));

        off.Check(Both);

        Assert.False(process.IsAlive());
        Assert.False(Directory.Exists(files.Directory));
    });

    private static string Program => GuestServices.FindProgram() ?? string.Empty;

    private static void Run(Action<BridgeBench, Func<GuestServices>, GuestServiceFiles> test)
    {
        Assert.SkipUnless(Program.Length > 0, "needs dnsmasq (apt-get install dnsmasq-base)");
        using var directory = new TemporaryDirectory();

        // dnsmasq reads its files as another user.
        File.SetUnixFileMode(directory.Path, (UnixFileMode)0b111_101_101);
        var subnet = Subnet.Around(IPAddress.Parse(HostIp), 24);
        var files = new GuestServiceFiles(Bridge, subnet, [], GuestServices.FindUser(), directory["dns"]);
        var clock = new SettableTimeProvider();
        GuestServices? current = null;
        BridgeBench.Run(
            bench =>
            {
                try
                {
                    test(bench, () => current!, files);
                }
                finally
                {
                    current!.End();
                }
            },
            new BridgePolicy(ServesGuests: true),
            () => current = new GuestServices(Program, files, clock, NullLogger.Instance),
            clock);
    }

    private static byte[] DhcpFrame(DhcpRequest request, byte[] mac) => Frames.IpFrame(
        Frames.Everybody, mac, request.ClientAddress?.ToString() ?? "0.0.0.0", "255.255.255.255", Frames.Udp, Frames.Datagram(68, 67, DhcpMessage.Encode(request, mac, "guest")));

    /// <summary>Asks as the guest until there is an answer: the server may just have been started.</summary>
    private static DhcpReply Ask(BridgeBench bench, DhcpRequest request)
    {
        for (var waited = 0; waited < LimitMs; waited += RetryMs)
        {
            bench.Guest.Send(DhcpFrame(request, OneMac));
            while (bench.Guest.Receive(RetryMs) is { } frame)
            {
                AnswerArp(bench, frame);
                if (Frames.IsIp(frame, Frames.Udp) && DhcpMessage.Decode(frame.AsSpan(42), OneMac) is { } reply && reply.Transaction == request.Transaction)
                {
                    return reply;
                }
            }
        }

        Assert.Fail("no DHCP server answers");
        return null!;
    }

    /// <summary>Asks for the address of a name; null when there is none.</summary>
    private static string? Resolve(BridgeBench bench, string name)
    {
        byte[] query =
        [
            0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0,
            .. name.Split('.').SelectMany(label => (byte[])[(byte)label.Length, .. Encoding.ASCII.GetBytes(label)]), 0, 0, 1, 0, 1,
        ];
        for (var waited = 0; waited < LimitMs; waited += RetryMs)
        {
            bench.Guest.Send(Frames.IpFrame(BridgeMac, OneMac, OneIp, HostIp, Frames.Udp, Frames.Datagram(5353, 53, query)));
            while (bench.Guest.Receive(RetryMs) is { } frame)
            {
                AnswerArp(bench, frame);
                if (Frames.IsIp(frame, Frames.Udp) && frame.AsSpan(34, 4).SequenceEqual((byte[])[0, 53, .. Frames.Number(5353)]))
                {
                    // Number of answers at 6; that of one address ends with it.
                    var message = frame.AsSpan(42, ((frame[38] << 8) | frame[39]) - 8);
                    return message[7] == 1 ? new IPAddress(message[^4..]).ToString() : null;
                }
            }
        }

        Assert.Fail("no DNS server answers");
        return null;
    }

    private static void AnswerArp(BridgeBench bench, byte[] frame)
    {
        if (Frames.TypeOf(frame) == Frames.ArpType && frame[21] == 1 && new IPAddress(frame.AsSpan(38, 4)).ToString() == OneIp)
        {
            bench.Guest.Send(Frames.Arp(OneMac, OneMac, OneIp, HostIp, operation: 2, to: BridgeMac));
        }
    }

    private static string UserOf(int pid)
    {
        var uid = File.ReadLines($"/proc/{pid}/status").First(line => line.StartsWith("Uid:", StringComparison.Ordinal)).Split('\t')[2];
        return File.ReadLines("/etc/passwd").Any(line => line.StartsWith("dnsmasq:", StringComparison.Ordinal) && line.Split(':')[2] == uid) ? "dnsmasq" : uid;
    }

    private static void Until(Func<bool> condition)
    {
        Assert.True(SpinWait.SpinUntil(condition, LimitMs), "the condition did not come true");
    }
}
