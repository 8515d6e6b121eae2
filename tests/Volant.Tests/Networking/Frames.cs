using System.Buffers.Binary;
using System.Net;

namespace Volant.Tests.Networking;

/// <summary>Ethernet frames, byte for byte.</summary>
internal static class Frames
{
    public const ushort Ip = 0x0800;
    public const ushort ArpType = 0x0806;
    public const ushort Ip6 = 0x86dd;
    public const byte Icmp = 1;
    public const byte Tcp = 6;
    public const byte Udp = 17;
    public const byte Icmp6 = 58;

    public static readonly byte[] Everybody = [255, 255, 255, 255, 255, 255];

    private static readonly byte[] Nobody = new byte[6];

    public static byte[] Ethernet(byte[] to, byte[] from, ushort type, byte[] content) => Pad([.. to, .. from, .. Number(type), .. content]);

    /// <summary>An ARP message (RFC 826); operation 1 asks, 2 answers.</summary>
    public static byte[] Arp(byte[] frameSource, byte[] sender, string senderAddress, string target, ushort operation = 1, byte[]? to = null) => Ethernet(
        to ?? Everybody, frameSource, ArpType, [0, 1, 8, 0, 6, 4, .. Number(operation), .. sender, .. Address(senderAddress), .. Nobody, .. Address(target)]);

    /// <summary>An IPv4 packet without options (RFC 791).</summary>
    public static byte[] Packet(string from, string to, byte protocol, byte[] content)
    {
        byte[] header = [0x45, 0, .. Number((ushort)(20 + content.Length)), 0, 1, 0, 0, 64, protocol, 0, 0, .. Address(from), .. Address(to)];
        BinaryPrimitives.WriteUInt16BigEndian(header.AsSpan(10), Checksum(header));
        if (protocol == Tcp)
        {
            // With the addresses, protocol and length in front (RFC 9293 §3.1).
            content = [.. content];
            BinaryPrimitives.WriteUInt16BigEndian(content.AsSpan(16), Checksum([.. Address(from), .. Address(to), 0, protocol, .. Number((ushort)content.Length), .. content]));
        }

        return [.. header, .. content];
    }

    /// <summary>A UDP datagram without a checksum (RFC 768).</summary>
    public static byte[] Datagram(ushort from, ushort to, byte[] content) => [.. Number(from), .. Number(to), .. Number((ushort)(8 + content.Length)), 0, 0, .. content];

    /// <summary>A TCP segment that asks for a connection (RFC 9293); <see cref="Packet"/> writes its checksum.</summary>
    public static byte[] Synchronise(ushort from, ushort to) => [.. Number(from), .. Number(to), 0, 0, 0, 1, 0, 0, 0, 0, 0x50, 0x02, 0x20, 0, 0, 0, 0, 0];

    /// <summary>An echo request (RFC 792).</summary>
    public static byte[] Echo(ushort sequence)
    {
        byte[] message = [8, 0, 0, 0, 0x12, 0x34, .. Number(sequence)];
        BinaryPrimitives.WriteUInt16BigEndian(message.AsSpan(2), Checksum(message));
        return message;
    }

    /// <summary>An echo request of IPv6 (RFC 4443 §4.1); <see cref="Packet6"/> writes its checksum.</summary>
    public static byte[] Echo6(ushort sequence) => [128, 0, 0, 0, 0x12, 0x34, .. Number(sequence)];

    /// <summary>Who has the address (RFC 4861 §4.3)?</summary>
    public static byte[] Solicit(string target) => [135, 0, 0, 0, 0, 0, 0, 0, .. Address(target)];

    /// <summary>I have the address (RFC 4861 §4.4), whatever was known before.</summary>
    public static byte[] Advertise(string target, byte[] mac) => [136, 0, 0, 0, 0x60, 0, 0, 0, .. Address(target), 2, 1, .. mac];

    /// <summary>An IPv6 packet without extensions (RFC 8200), whose checksum is right.</summary>
    public static byte[] Packet6(string from, string to, byte protocol, byte[] content)
    {
        var at = protocol switch { Tcp => 16, Udp => 6, _ => 2 };
        content = [.. content];
        byte[] counted = [.. Address(from), .. Address(to), 0, 0, .. Number((ushort)content.Length), 0, 0, 0, protocol, .. content];
        BinaryPrimitives.WriteUInt16BigEndian(content.AsSpan(at), Checksum(counted.Length % 2 == 0 ? counted : [.. counted, 0]));
        return [0x60, 0, 0, 0, .. Number((ushort)content.Length), protocol, 255, .. Address(from), .. Address(to), .. content];
    }

    public static byte[] Ip6Frame(byte[] to, byte[] from, string source, string destination, byte protocol, byte[] content) =>
        Ethernet(to, from, Ip6, Packet6(source, destination, protocol, content));

    public static bool IsIp6(byte[] frame, byte protocol) => TypeOf(frame) == Ip6 && frame[20] == protocol;

    public static string Source6Of(byte[] frame) => new IPAddress(frame.AsSpan(22, 16)).ToString();

    public static string Destination6Of(byte[] frame) => new IPAddress(frame.AsSpan(38, 16)).ToString();

    public static byte[] IpFrame(byte[] to, byte[] from, string source, string destination, byte protocol, byte[] content) =>
        Ethernet(to, from, Ip, Packet(source, destination, protocol, content));

    /// <summary>Whether two frames are equal but for their padding, which the kernel cuts off some.</summary>
    public static bool Same(byte[] one, byte[] other) =>
        one.AsSpan(0, Math.Min(one.Length, other.Length)).SequenceEqual(other.AsSpan(0, Math.Min(one.Length, other.Length)))
        && (one.Length > other.Length ? one[other.Length..] : other[one.Length..]).All(padding => padding == 0);

    public static bool IsIp(byte[] frame, byte protocol) => TypeOf(frame) == Ip && frame[23] == protocol;

    public static ushort TypeOf(byte[] frame) => BinaryPrimitives.ReadUInt16BigEndian(frame.AsSpan(12));

    public static string SourceOf(byte[] frame) => new IPAddress(frame.AsSpan(26, 4)).ToString();

    public static string DestinationOf(byte[] frame) => new IPAddress(frame.AsSpan(30, 4)).ToString();

    public static byte[] Number(ushort number) => [(byte)(number >> 8), (byte)number];

    private static byte[] Address(string address) => IPAddress.Parse(address).GetAddressBytes();

    // The shortest frame has 60 bytes without its checksum (IEEE 802.3).
    private static byte[] Pad(byte[] frame) => frame.Length >= 60 ? frame : [.. frame, .. new byte[60 - frame.Length]];

    private static ushort Checksum(byte[] bytes)
    {
        var sum = 0u;
        for (var i = 0; i < bytes.Length; i += 2)
        {
            sum += BinaryPrimitives.ReadUInt16BigEndian(bytes.AsSpan(i));
        }

        return (ushort)~((sum & 0xffff) + (sum >> 16));
    }
}
