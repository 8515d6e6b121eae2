using System.Net;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

namespace Volant.Linux.Networking;

// The messages of the kernel, and how they become links and addresses.
public sealed partial class Netlink
{
    /// <summary>Reads an RTM_NEWLINK message; null when it is another one or too short.</summary>
    internal static NetworkLink? ReadLink(ushort type, ReadOnlySpan<byte> body)
    {
        if (type != NewLink || !MemoryMarshal.TryRead<InterfaceMessage>(body, out var message))
        {
            return null;
        }

        var link = new NetworkLink
        {
            Index = message.Index,
            Name = "",
            IsUp = (message.Flags & FlagUp) != 0,
            IsLoopback = (message.Flags & FlagLoopback) != 0,
            HasCarrier = (message.Flags & FlagCarrier) != 0,
        };
        var attributes = new NetlinkAttributes(body[Unsafe.SizeOf<InterfaceMessage>()..]);
        while (attributes.Read(out var attribute, out var value))
        {
            link = attribute switch
            {
                LinkName => link with { Name = NetlinkAttributes.Text(value) },
                LinkMtu => link with { Mtu = (int)(NetlinkAttributes.Number<uint>(value) ?? 0) },
                LinkMaster => link with { Master = NetlinkAttributes.Number<int>(value) is > 0 and var master ? master : null },
                LinkMac when value.Length == MacLength => link with { Mac = Convert.ToHexStringLower(value).Insert(10, ":").Insert(8, ":").Insert(6, ":").Insert(4, ":").Insert(2, ":") },
                LinkInfo => ReadKind(link, value),
                _ => link,
            };
        }

        return link;
    }

    private static NetworkLink ReadKind(NetworkLink link, ReadOnlySpan<byte> info)
    {
        var isTap = false;
        var isIsolated = false;
        string? kind = null;
        string? masterKind = null;
        var attributes = new NetlinkAttributes(info);
        while (attributes.Read(out var attribute, out var value))
        {
            if (attribute == InfoKind)
            {
                kind = NetlinkAttributes.Text(value);
            }
            else if (attribute == InfoData)
            {
                var data = new NetlinkAttributes(value);
                while (data.Read(out var property, out var number))
                {
                    isTap |= property == TunType && NetlinkAttributes.Number<byte>(number) == TunTypeTap;
                }
            }
            else if (attribute == InfoSlaveKind)
            {
                masterKind = NetlinkAttributes.Text(value);
            }
            else if (attribute == InfoSlaveData)
            {
                var data = new NetlinkAttributes(value);
                while (data.Read(out var property, out var number))
                {
                    isIsolated |= property == PortIsolated && NetlinkAttributes.Number<byte>(number) == 1;
                }
            }
        }

        return link with { Kind = kind, IsTap = isTap && kind == "tun", IsIsolated = isIsolated && masterKind == "bridge" };
    }

    private static LinkAddress? ReadAddress(ushort type, ReadOnlySpan<byte> body)
    {
        if (type != NewAddress || !MemoryMarshal.TryRead<AddressMessage>(body, out var message) || message.Family is not (FamilyInet or FamilyInet6))
        {
            return null;
        }

        IPAddress? local = null;
        IPAddress? peer = null;
        var attributes = new NetlinkAttributes(body[Unsafe.SizeOf<AddressMessage>()..]);
        while (attributes.Read(out var attribute, out var value))
        {
            if (value.Length == LengthOf(message.Family) && attribute is AddressLocal or AddressPeer)
            {
                _ = attribute == AddressLocal ? local = new IPAddress(value) : peer = new IPAddress(value);
            }
        }

        return (local ?? peer) is { } address ? new LinkAddress(message.Index, address, message.PrefixLength) : null;
    }

    private static LinkRoute? ReadRoute(ushort type, ReadOnlySpan<byte> body)
    {
        // A table beyond 255 has its number in an attribute, and 252 (RT_TABLE_COMPAT) here.
        if (type != NewRoute || !MemoryMarshal.TryRead<RouteMessage>(body, out var message) || message is not { Family: FamilyInet or FamilyInet6, Table: TableMain, Type: TypeUnicast })
        {
            return null;
        }

        var destination = message.Family == FamilyInet ? IPAddress.Any : IPAddress.IPv6Any;
        int? output = null;
        var attributes = new NetlinkAttributes(body[Unsafe.SizeOf<RouteMessage>()..]);
        while (attributes.Read(out var attribute, out var value))
        {
            destination = attribute == RouteDestination && value.Length == LengthOf(message.Family) ? new IPAddress(value) : destination;
            output = attribute == RouteOutput ? NetlinkAttributes.Number<int>(value) : output;
        }

        return output is { } index ? new LinkRoute(index, destination, message.DestinationLength) : null;
    }

    private static int LengthOf(byte family) => family == FamilyInet ? 4 : 16;

    /// <summary>The kernel's <c>struct ifinfomsg</c>, 16 bytes.</summary>
    [StructLayout(LayoutKind.Sequential, Size = 16)]
    internal struct InterfaceMessage
    {
        public byte Family;
        public byte Padding;
        public ushort Type;
        public int Index;
        public uint Flags;
        public uint Change;
    }

    /// <summary>The kernel's <c>struct ifaddrmsg</c>, 8 bytes.</summary>
    [StructLayout(LayoutKind.Sequential, Size = 8)]
    internal struct AddressMessage
    {
        public byte Family;
        public byte PrefixLength;
        public byte Flags;
        public byte Scope;
        public int Index;
    }

    /// <summary>The kernel's <c>struct rtmsg</c>, 12 bytes.</summary>
    [StructLayout(LayoutKind.Sequential, Size = 12)]
    internal struct RouteMessage
    {
        public byte Family;
        public byte DestinationLength;
        public byte SourceLength;
        public byte Tos;
        public byte Table;
        public byte Protocol;
        public byte Scope;
        public byte Type;
        public uint Flags;
    }

    /// <summary>The kernel's <c>struct ndmsg</c>, 12 bytes.</summary>
    [StructLayout(LayoutKind.Sequential, Size = 12)]
    internal struct NeighborMessage
    {
        public byte Family;
        public byte Padding;
        public ushort Padding2;
        public int Index;
        public ushort State;
        public byte Flags;
        public byte Type;
    }
}
