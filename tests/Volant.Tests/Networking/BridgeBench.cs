using System.Net;
using Microsoft.Extensions.Logging.Abstractions;
using Volant.Daemon.Networking;
using Volant.Linux.Networking;
using Volant.Tests.Linux;

namespace Volant.Tests.Networking;

/// <summary>A bridge with two guests, and a port that others made, in a network namespace of its own; the test is guests and others.</summary>
internal sealed class BridgeBench : IDisposable
{
    public const string Bridge = "vbr-test";
    public const string HostIp = "10.77.0.1";
    public const string OneIp = "10.77.0.2";
    public const string TwoIp = "10.77.0.3";
    public const string HostIp6 = "fd77::a4d:1";
    public const string OneIp6 = "fd77::a4d:2";
    public const string TwoIp6 = "fd77::a4d:3";

    public static readonly Guid One = Guid.Parse("01234567-89ab-7def-8123-456789abcd01");
    public static readonly Guid Two = Guid.Parse("01234567-89ab-7def-8123-456789abcd02");
    public static readonly byte[] OneMac = MacAddress.FromUid(One).ToArray();
    public static readonly byte[] TwoMac = MacAddress.FromUid(Two).ToArray();
    public static readonly byte[] BridgeMac = MacAddress.ForBridge(Subnet.ToNumber(IPAddress.Parse(HostIp))).ToArray();
    public static readonly byte[] OutsideMac = [2, 0, 0, 0, 0, 9];

    private readonly Func<GuestServices>? _services;
    private ushort _marks = 1000;

    private BridgeBench(BridgePolicy policy, Func<GuestServices>? services, SettableTimeProvider clock)
    {
        (Policy, _services, Clock) = (policy, services, clock);
        Network = New();
        Guest = new TapPort(Network.Attach(Both[0]));
        Other = new TapPort(Network.Attach(Both[1]));
        Outside = OpenOutside("outside");
        Netlink.SetMaster(Netlink.GetLink(Outside.Name).Index, Netlink.GetLink(Bridge).Index);

        // A port forwards frames a moment after it has been opened.
        UntilArrives(Guest, Frames.Arp(OneMac, OneMac, OneIp, OneIp), Outside);
        UntilArrives(Outside, Frames.Ethernet(TwoMac, OutsideMac, 0x9000, [1]), Other);
    }

    public BridgePolicy Policy { get; }

    public SettableTimeProvider Clock { get; }

    public LinuxBridgeNetwork Network { get; private set; }

    public Netlink Netlink { get; } = Netlink.Open();

    public TapPort Guest { get; }

    public TapPort Other { get; }

    public TapPort Outside { get; }

    public static IReadOnlyList<AttachedGuest> Both { get; } = [new(One, "one", [IPAddress.Parse(OneIp), IPAddress.Parse(OneIp6)]), new(Two, "two", [IPAddress.Parse(TwoIp), IPAddress.Parse(TwoIp6)])];

    public static string Table => $"volant-{Bridge}";

    public static void Run(Action<BridgeBench> test, BridgePolicy? policy = null, Func<GuestServices>? services = null, SettableTimeProvider? clock = null)
    {
        Assert.SkipUnless(Nftables.IsAvailable, "needs the library libnftables.so.1 (apt-get install libnftables1)");
        NetworkNamespace.Run(() =>
        {
            using var bench = new BridgeBench(policy ?? new BridgePolicy(), services, clock ?? new SettableTimeProvider());
            test(bench);
        });
    }

    /// <summary>Whether a frame of the guest comes out of the port of others.</summary>
    public bool Passes(byte[] frame)
    {
        Guest.Send(frame);

        // Every guest may send this, and it arrives after what was sent before it.
        var mark = Frames.IpFrame(Frames.Everybody, OneMac, "0.0.0.0", "255.255.255.255", Frames.Udp, Frames.Datagram(68, 67, Frames.Number(_marks++)));
        Guest.Send(mark);
        return Outside.ReceiveUntil(arrived => Frames.Same(arrived, mark)).Any(arrived => Frames.Same(arrived, frame));
    }

    /// <summary>Sends a frame of others to the second guest, and returns it.</summary>
    public byte[] MarkToOther()
    {
        var mark = Frames.Ethernet(TwoMac, OutsideMac, 0x9000, Frames.Number(_marks++));
        Outside.Send(mark);
        return mark;
    }

    /// <summary>Another daemon after the first.</summary>
    public LinuxBridgeNetwork Restart()
    {
        Network.Dispose();
        return Network = New();
    }

    /// <summary>Makes a tap that is not Volant's and sets it up.</summary>
    public TapPort OpenOutside(string name)
    {
        TapDevice.Create(name);
        var link = Netlink.GetLink(name);
        File.WriteAllText($"/proc/sys/net/ipv6/conf/{name}/disable_ipv6", "1");
        Netlink.SetLink(link.Index, new LinkChange { Mac = new byte[] { 2, 0, 0, 0, 0, 0x77 }, Up = true });
        return new TapPort(name);
    }

    public void Dispose()
    {
        Guest.Dispose();
        Other.Dispose();
        Outside.Dispose();
        Network.Dispose();
        Netlink.Dispose();
    }

    private LinuxBridgeNetwork New() => new(
        Bridge, Subnet.Around(IPAddress.Parse(HostIp), 24) with { IPv6 = new UniqueLocalPrefix(IPNetwork.Parse("fd77::/64")) }, Policy, NullLogger.Instance, _services?.Invoke());

    private static void UntilArrives(TapPort from, byte[] frame, TapPort to)
    {
        for (var attempt = 0; attempt < 1000; attempt++)
        {
            from.Send(frame);
            while (to.Receive(10) is { } arrived)
            {
                if (Frames.Same(arrived, frame))
                {
                    return;
                }
            }
        }

        Assert.Fail($"Nothing comes from {from.Name} to {to.Name}.");
    }
}
