using System.ComponentModel;
using System.Net;
using System.Net.Sockets;

namespace Volant.Linux.Networking;

/// <summary>Interfaces, addresses, routes and neighbours of one network namespace, by rtnetlink (<c>man 7 rtnetlink</c>).</summary>
/// <remarks>
/// It serves the namespace of the thread that opens it, and one caller at a time. Every method throws <see cref="Win32Exception"/>
/// with the errno and, where the kernel gives one, its text; none takes longer than 10 s. Needs neither DNS nor any file.
/// </remarks>
public sealed partial class Netlink : IDisposable
{
    /// <summary>How often a list is read again because it changed while it was read.</summary>
    private const int MaxDumpAttempts = 16;

    private const ushort NewLink = 16; // RTM_NEWLINK
    private const ushort DeleteLinkType = 17; // RTM_DELLINK
    private const ushort GetLinkType = 18; // RTM_GETLINK
    private const ushort NewAddress = 20; // RTM_NEWADDR
    private const ushort DeleteAddressType = 21; // RTM_DELADDR
    private const ushort GetAddress = 22; // RTM_GETADDR
    private const ushort NewRoute = 24; // RTM_NEWROUTE
    private const ushort GetRoute = 26; // RTM_GETROUTE
    private const ushort NewNeighbor = 28; // RTM_NEWNEIGH
    private const ushort DeleteNeighborType = 29; // RTM_DELNEIGH

    private const ushort Replace = 0x100; // NLM_F_REPLACE
    private const ushort Exclusive = 0x200; // NLM_F_EXCL
    private const ushort Create = 0x400; // NLM_F_CREATE

    private const ushort LinkMac = 1; // IFLA_ADDRESS
    private const ushort LinkName = 3; // IFLA_IFNAME
    private const ushort LinkMtu = 4; // IFLA_MTU
    private const ushort LinkMaster = 10; // IFLA_MASTER
    private const ushort LinkInfo = 18; // IFLA_LINKINFO
    private const ushort LinkExtensions = 29; // IFLA_EXT_MASK
    private const ushort InfoKind = 1; // IFLA_INFO_KIND
    private const ushort InfoData = 2; // IFLA_INFO_DATA
    private const ushort InfoSlaveKind = 4; // IFLA_INFO_SLAVE_KIND
    private const ushort InfoSlaveData = 5; // IFLA_INFO_SLAVE_DATA
    private const ushort PortIsolated = 33; // IFLA_BRPORT_ISOLATED
    private const ushort BridgeStpState = 5; // IFLA_BR_STP_STATE
    private const ushort BridgeMulticastSnooping = 23; // IFLA_BR_MCAST_SNOOPING
    private const ushort TunType = 3; // IFLA_TUN_TYPE
    private const byte TunTypeTap = 2; // IFF_TAP
    private const uint SkipStatistics = 1 << 3; // RTEXT_FILTER_SKIP_STATS
    private const uint FlagUp = 0x1; // IFF_UP
    private const uint FlagLoopback = 0x8; // IFF_LOOPBACK
    private const uint FlagCarrier = 0x10000; // IFF_LOWER_UP

    private const ushort AddressPeer = 1; // IFA_ADDRESS
    private const ushort AddressLocal = 2; // IFA_LOCAL
    private const byte NoDuplicateCheck = 0x02; // IFA_F_NODAD

    private const ushort NeighborAddress = 1; // NDA_DST
    private const ushort NeighborMac = 2; // NDA_LLADDR
    private const ushort NeighborPermanent = 0x80; // NUD_PERMANENT

    private const ushort RouteDestination = 1; // RTA_DST
    private const ushort RouteOutput = 4; // RTA_OIF
    private const ushort RouteGateway = 5; // RTA_GATEWAY
    private const byte TableMain = 254; // RT_TABLE_MAIN
    private const byte ProtocolStatic = 4; // RTPROT_STATIC
    private const byte ScopeUniverse = 0; // RT_SCOPE_UNIVERSE
    private const byte ScopeLink = 253; // RT_SCOPE_LINK
    private const byte TypeUnicast = 1; // RTN_UNICAST

    private const byte FamilyInet = 2; // AF_INET
    private const byte FamilyInet6 = 10; // AF_INET6
    private const int MacLength = 6; // ETH_ALEN

    private readonly NetlinkSocket _socket;

    private Netlink(NetlinkSocket socket) => _socket = socket;

    /// <summary>Opens a socket into the network namespace of this thread.</summary>
    /// <exception cref="Win32Exception">The kernel refused.</exception>
    public static Netlink Open() => new(new NetlinkSocket());

    /// <summary>Creates a bridge, down and without ports, and returns it.</summary>
    /// <param name="name">Name of the new interface.</param>
    /// <param name="mac">
    /// Its Ethernet address, six bytes. A bridge without one of its own takes the lowest of its ports and so changes it as ports come and go.
    /// </param>
    /// <param name="spanningTree">Whether it speaks the spanning tree protocol.</param>
    /// <param name="multicastSnooping">Whether it follows IGMP.</param>
    /// <exception cref="Win32Exception">EEXIST: the name is taken; EPERM: needs CAP_NET_ADMIN; EOPNOTSUPP: the kernel has no bridges.</exception>
    public NetworkLink CreateBridge(string name, ReadOnlySpan<byte> mac, bool spanningTree = false, bool multicastSnooping = false)
    {
        RequireMac(mac);
        var request = new NetlinkRequest(NewLink)
            .Add(default(InterfaceMessage))
            .Attribute(LinkName, InterfaceName.Require(name))
            .Attribute(LinkMac, mac)
            .Nest(LinkInfo, info => info
                .Attribute(InfoKind, "bridge")
                .Nest(InfoData, data => data
                    .Attribute(BridgeStpState, spanningTree ? 1u : 0u)
                    .Attribute(BridgeMulticastSnooping, (byte)(multicastSnooping ? 1 : 0))));
        _socket.Change(request, Create | Exclusive, $"Creating bridge '{name}'");
        return GetLink(name);
    }

    /// <summary>Deletes an interface; false when there is none of that name.</summary>
    /// <exception cref="Win32Exception">EPERM: needs CAP_NET_ADMIN; EOPNOTSUPP: it cannot be deleted.</exception>
    public bool DeleteLink(string name) => FindLink(name) is { } link && DeleteLink(link);

    /// <summary>Deletes exactly this interface, whatever has its name by now; false when it is gone.</summary>
    /// <exception cref="Win32Exception">EPERM: needs CAP_NET_ADMIN; EOPNOTSUPP: it cannot be deleted.</exception>
    public bool DeleteLink(NetworkLink link)
    {
        ArgumentNullException.ThrowIfNull(link);
        try
        {
            var request = new NetlinkRequest(DeleteLinkType).Add(new InterfaceMessage { Index = link.Index });
            _socket.Change(request, 0, $"Deleting interface '{link.Name}'");
            return true;
        }
        catch (Win32Exception e) when (e.NativeErrorCode == Errno.NoDevice)
        {
            return false;
        }
    }

    /// <summary>The interface of that name.</summary>
    /// <exception cref="Win32Exception">ENODEV: there is none.</exception>
    public NetworkLink GetLink(string name)
    {
        NetworkLink? link = null;
        var request = new NetlinkRequest(GetLinkType)
            .Add(default(InterfaceMessage))
            .Attribute(LinkName, InterfaceName.Require(name))
            .Attribute(LinkExtensions, SkipStatistics);
        _socket.Get(request, $"Interface '{name}'", (type, body) => link = ReadLink(type, body));
        return link ?? throw LinuxError.Of(Errno.BadMessage, $"Interface '{name}'");
    }

    /// <summary>The interface of that name; null when there is none.</summary>
    public NetworkLink? FindLink(string name)
    {
        try
        {
            return GetLink(name);
        }
        catch (Win32Exception e) when (e.NativeErrorCode == Errno.NoDevice)
        {
            return null;
        }
    }

    /// <summary>All interfaces, read in one consistent pass.</summary>
    /// <exception cref="Win32Exception">EAGAIN: they kept changing.</exception>
    public IReadOnlyList<NetworkLink> ListLinks() => List(
        () => new NetlinkRequest(GetLinkType).Add(default(InterfaceMessage)).Attribute(LinkExtensions, SkipStatistics),
        "Listing interfaces",
        ReadLink);

    /// <summary>Sets an interface up.</summary>
    public void SetUp(int index) => SetLink(index, new LinkChange { Up = true });

    /// <summary>Sets an interface down.</summary>
    public void SetDown(int index) => SetLink(index, new LinkChange { Up = false });

    /// <summary>Sets the largest packet in bytes.</summary>
    public void SetMtu(int index, int mtu) => SetLink(index, new LinkChange { Mtu = mtu });

    /// <summary>Makes an interface a port of a bridge; null takes it out of the present one.</summary>
    /// <exception cref="Win32Exception">EXFULL: the bridge has all of its 1,023 ports.</exception>
    public void SetMaster(int index, int? master) => SetLink(index, new LinkChange { Master = master ?? 0 });

    /// <summary>Sets the Ethernet address, six bytes.</summary>
    public void SetMac(int index, ReadOnlySpan<byte> mac) => SetLink(index, new LinkChange { Mac = mac.ToArray() });

    /// <summary>Changes several properties in one request. When one is refused, others may have been changed.</summary>
    /// <exception cref="Win32Exception">ENODEV: no such interface; EPERM: needs CAP_NET_ADMIN; EXFULL: the bridge is full.</exception>
    public void SetLink(int index, LinkChange change)
    {
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(index);
        var request = new NetlinkRequest(NewLink).Add(new InterfaceMessage
        {
            Index = index,
            Flags = change.Up == true ? FlagUp : 0,
            Change = change.Up is null ? 0 : FlagUp,
        });
        if (!change.Mac.IsEmpty)
        {
            RequireMac(change.Mac.Span);
            request.Attribute(LinkMac, change.Mac.Span);
        }

        if (change.Mtu is { } mtu)
        {
            request.Attribute(LinkMtu, (uint)mtu);
        }

        if (change.Master is { } master)
        {
            request.Attribute(LinkMaster, master);
        }

        if (change.Isolated is { } isolated)
        {
            request.Nest(LinkInfo, info => info
                .Attribute(InfoSlaveKind, "bridge")
                .Nest(InfoSlaveData, data => data.Attribute(PortIsolated, (byte)(isolated ? 1 : 0))));
        }

        _socket.Change(request, 0, $"Changing interface {index}");
    }

    /// <summary>Adds an address; one that is there already is kept. An IPv6 address is usable at once, without a check for duplicates (RFC 4862 §5.4).</summary>
    /// <exception cref="Win32Exception">EPERM: needs CAP_NET_ADMIN; EACCES: IPv6 is off on the interface; ENODEV: no such interface.</exception>
    public void ReplaceAddress(int index, IPAddress address, int prefixLength)
    {
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(index);
        var family = RequireFamily(address, prefixLength);
        var bytes = address.GetAddressBytes();
        var request = new NetlinkRequest(NewAddress)
            .Add(new AddressMessage { Family = family, PrefixLength = (byte)prefixLength, Flags = family == FamilyInet6 ? NoDuplicateCheck : (byte)0, Index = index })
            .Attribute(AddressLocal, bytes)
            .Attribute(AddressPeer, bytes);
        _socket.Change(request, Create | Replace, $"Adding address {address}/{prefixLength} to interface {index}");
    }

    /// <summary>Removes an address, and with it the routes that need it; false when it is not there.</summary>
    /// <exception cref="Win32Exception">EPERM: needs CAP_NET_ADMIN; ENODEV: no such interface.</exception>
    public bool DeleteAddress(int index, IPAddress address, int prefixLength)
    {
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(index);
        var request = new NetlinkRequest(DeleteAddressType)
            .Add(new AddressMessage { Family = RequireFamily(address, prefixLength), PrefixLength = (byte)prefixLength, Index = index })
            .Attribute(AddressLocal, address.GetAddressBytes());
        try
        {
            _socket.Change(request, 0, $"Removing address {address}/{prefixLength} from interface {index}");
            return true;
        }
        catch (Win32Exception e) when (e.NativeErrorCode == Errno.AddressNotAvailable)
        {
            return false;
        }
    }

    /// <summary>Addresses of one family, of all interfaces or of one.</summary>
    /// <exception cref="Win32Exception">EAGAIN: they kept changing.</exception>
    public IReadOnlyList<LinkAddress> ListAddresses(int? index = null, AddressFamily family = AddressFamily.InterNetwork) => List(
        () => new NetlinkRequest(GetAddress).Add(new AddressMessage { Family = NumberOf(family) }),
        "Listing addresses",
        (type, body) => ReadAddress(type, body) is { } address && address.Address.AddressFamily == family && (index is null || address.LinkIndex == index) ? address : null);

    /// <summary>Routes of one family in the main table that lead to one interface each.</summary>
    /// <exception cref="Win32Exception">EAGAIN: they kept changing.</exception>
    public IReadOnlyList<LinkRoute> ListRoutes(AddressFamily family = AddressFamily.InterNetwork) => List(
        () => new NetlinkRequest(GetRoute).Add(new RouteMessage { Family = NumberOf(family) }),
        "Listing routes",
        (type, body) => ReadRoute(type, body) is { } route && route.Destination.AddressFamily == family ? route : null);

    /// <summary>Adds or replaces the default route of the gateway's family.</summary>
    /// <exception cref="Win32Exception">ENETUNREACH or EHOSTUNREACH: the gateway is in no subnet of the interface, or the interface is down.</exception>
    public void ReplaceDefaultRoute(IPAddress gateway, int index)
    {
        ArgumentNullException.ThrowIfNull(gateway);
        ReplaceRoute(gateway.AddressFamily == AddressFamily.InterNetworkV6 ? IPAddress.IPv6Any : IPAddress.Any, 0, gateway, index);
    }

    /// <summary>Adds or replaces a route of the main table.</summary>
    /// <param name="destination">Network address; its host bits must be zero.</param>
    /// <param name="prefixLength">0 to 32, or to 128 of IPv6.</param>
    /// <param name="gateway">Next hop, of the same family; null for a network that is on the link itself.</param>
    /// <param name="index">Index of the interface.</param>
    /// <exception cref="Win32Exception">ENETUNREACH or EHOSTUNREACH: the gateway is in no subnet of the interface, or the interface is down.</exception>
    public void ReplaceRoute(IPAddress destination, int prefixLength, IPAddress? gateway, int index)
    {
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(index);
        var family = RequireFamily(destination, prefixLength);
        if (gateway is not null && gateway.AddressFamily != destination.AddressFamily)
        {
            throw new ArgumentException($"{gateway} is of another family than {destination}.", nameof(gateway));
        }

        var request = new NetlinkRequest(NewRoute).Add(new RouteMessage
        {
            Family = family,
            DestinationLength = (byte)prefixLength,
            Table = TableMain,
            Protocol = ProtocolStatic,
            Scope = gateway is null ? ScopeLink : ScopeUniverse,
            Type = TypeUnicast,
        });
        if (prefixLength > 0)
        {
            request.Attribute(RouteDestination, destination.GetAddressBytes());
        }

        if (gateway is not null)
        {
            request.Attribute(RouteGateway, gateway.GetAddressBytes());
        }

        request.Attribute(RouteOutput, index);
        _socket.Change(request, Create | Replace, $"Adding route {destination}/{prefixLength} via {gateway?.ToString() ?? "the link"} to interface {index}");
    }

    /// <summary>Says once and for all which Ethernet address a neighbour has: the kernel asks nobody, and believes nobody who says otherwise.</summary>
    /// <exception cref="Win32Exception">EPERM: needs CAP_NET_ADMIN; ENODEV: no such interface.</exception>
    public void ReplaceNeighbor(int index, IPAddress address, ReadOnlySpan<byte> mac)
    {
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(index);
        RequireMac(mac);
        var request = new NetlinkRequest(NewNeighbor)
            .Add(new NeighborMessage { Family = RequireFamily(address, 0), Index = index, State = NeighborPermanent })
            .Attribute(NeighborAddress, address.GetAddressBytes())
            .Attribute(NeighborMac, mac);
        _socket.Change(request, Create | Replace, $"Fixing neighbour {address} of interface {index}");
    }

    /// <summary>Forgets a neighbour; false when it is not there.</summary>
    /// <exception cref="Win32Exception">EPERM: needs CAP_NET_ADMIN; ENODEV: no such interface.</exception>
    public bool DeleteNeighbor(int index, IPAddress address)
    {
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(index);
        var request = new NetlinkRequest(DeleteNeighborType)
            .Add(new NeighborMessage { Family = RequireFamily(address, 0), Index = index })
            .Attribute(NeighborAddress, address.GetAddressBytes());
        try
        {
            _socket.Change(request, 0, $"Forgetting neighbour {address} of interface {index}");
            return true;
        }
        catch (Win32Exception e) when (e.NativeErrorCode == Errno.NoEntry)
        {
            return false;
        }
    }

    /// <inheritdoc/>
    public void Dispose() => _socket.Dispose();

    private List<T> List<T>(Func<NetlinkRequest> request, string what, Reader<T> read)
        where T : class
    {
        var items = new List<T>();
        for (var attempt = 0; attempt < MaxDumpAttempts; attempt++)
        {
            items.Clear();
            if (_socket.TryDump(request(), what, OnMessage))
            {
                return items;
            }
        }

        throw LinuxError.Of(Errno.Again, $"{what}: changed during each of {MaxDumpAttempts} attempts");

        void OnMessage(ushort type, ReadOnlySpan<byte> body)
        {
            if (read(type, body) is { } item)
            {
                items.Add(item);
            }
        }
    }

    private static void RequireMac(ReadOnlySpan<byte> mac) => ArgumentOutOfRangeException.ThrowIfNotEqual(mac.Length, MacLength, nameof(mac));

    /// <summary>The kernel's number of an address's family.</summary>
    /// <exception cref="ArgumentOutOfRangeException">The prefix is longer than such an address.</exception>
    private static byte RequireFamily(IPAddress address, int prefixLength)
    {
        ArgumentNullException.ThrowIfNull(address);
        var family = NumberOf(address.AddressFamily);
        ArgumentOutOfRangeException.ThrowIfNegative(prefixLength);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(prefixLength, family == FamilyInet ? 32 : 128);
        return family;
    }

    private static byte NumberOf(AddressFamily family) => family == AddressFamily.InterNetworkV6 ? FamilyInet6 : FamilyInet;

    private delegate T? Reader<out T>(ushort type, ReadOnlySpan<byte> body)
        where T : class;
}
