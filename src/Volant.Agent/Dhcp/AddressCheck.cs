using System.Buffers.Binary;
using System.Net;
using System.Net.Sockets;

namespace Volant.Agent.Dhcp;

/// <summary>Finds out by ARP whether somebody on the link uses an address that this guest was lent (RFC 5227 §2.1).</summary>
/// <remarks>
/// Three probes as the document says, but within 0.3 s and not within six: the link of a guest is the memory of its host, and a boot does not
/// wait for the slowest cable. What is on the link meanwhile is hostile; it can at most keep the guest from having the address, as it could by DHCP.
/// </remarks>
/// <param name="index">Number of the interface, which is up.</param>
/// <param name="mac">Ethernet address of the interface.</param>
/// <param name="clock">Clock of the waits.</param>
internal sealed class AddressCheck(int index, ReadOnlyMemory<byte> mac, TimeProvider clock)
{
    private const int Probes = 3;
    private const int ArpProtocol = 0x0806; // ETH_P_ARP
    private const int AddressLength = 20; // struct sockaddr_ll, packet(7)
    private const int ProtocolAt = 2;
    private const int IndexAt = 4;
    private const int LengthAt = 11;
    private const int HardwareAt = 12;
    private const byte MacLength = 6;
    private const byte IpLength = 4;
    private const byte Request = 1;

    // The packet of RFC 826 for Ethernet and IPv4.
    private const int PacketLength = 28;
    private const int OperationAt = 7;
    private const int SenderMacAt = 8;
    private const int SenderIpAt = 14;
    private const int TargetIpAt = 24;

    private static readonly TimeSpan Interval = TimeSpan.FromMilliseconds(100);

    /// <summary>Looks for an address; returns the hardware address of who has it, or null.</summary>
    /// <exception cref="SocketException">The interface is gone or down.</exception>
    public async Task<string?> FindHolderAsync(IPAddress address, CancellationToken cancellationToken)
    {
        using var socket = new Socket(AddressFamily.Packet, SocketType.Dgram, (ProtocolType)BinaryPrimitives.ReverseEndianness((ushort)ArpProtocol));
        socket.Bind(new LinkEndPoint(index, [0xff, 0xff, 0xff, 0xff, 0xff, 0xff]));
        var probe = Probe(address);
        using var end = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        var finding = ReceiveAsync(socket, address, end.Token);
        for (var sent = 0; sent < Probes && !finding.IsCompleted; sent++)
        {
            await socket.SendToAsync(probe, SocketFlags.None, new LinkEndPoint(index, [0xff, 0xff, 0xff, 0xff, 0xff, 0xff]), cancellationToken);
            await Task.WhenAny(finding, Task.Delay(Interval, clock, end.Token));
        }

        await end.CancelAsync();
        cancellationToken.ThrowIfCancellationRequested();
        return await finding;
    }

    /// <summary>Whose packet shows that another one has the address, or is about to take it; null for nobody's.</summary>
    internal static string? HolderIn(ReadOnlySpan<byte> packet, IPAddress address, ReadOnlySpan<byte> own)
    {
        var wanted = address.GetAddressBytes();
        if (packet.Length < PacketLength || !packet[..OperationAt].SequenceEqual((ReadOnlySpan<byte>)[0, 1, 8, 0, MacLength, IpLength, 0]))
        {
            return null;
        }

        var sender = packet.Slice(SenderMacAt, MacLength);
        var senderIp = packet.Slice(SenderIpAt, IpLength);
        var isProbe = packet[OperationAt] == Request && !senderIp.ContainsAnyExcept((byte)0) && packet.Slice(TargetIpAt, IpLength).SequenceEqual(wanted);
        return (isProbe || senderIp.SequenceEqual(wanted)) && !sender.SequenceEqual(own)
            ? string.Join(':', Array.ConvertAll(sender.ToArray(), static octet => octet.ToString("x2", System.Globalization.CultureInfo.InvariantCulture)))
            : null;
    }

    /// <summary>Asks who has an address without saying that anybody does: the sender's is 0.0.0.0.</summary>
    private byte[] Probe(IPAddress address)
    {
        var packet = new byte[PacketLength];
        ((ReadOnlySpan<byte>)[0, 1, 8, 0, MacLength, IpLength, 0, Request]).CopyTo(packet);
        mac.Span.CopyTo(packet.AsSpan(SenderMacAt));
        address.GetAddressBytes().CopyTo(packet, TargetIpAt);
        return packet;
    }

    private async Task<string?> ReceiveAsync(Socket socket, IPAddress address, CancellationToken cancellationToken)
    {
        var buffer = new byte[PacketLength];
        try
        {
            while (true)
            {
                var length = await socket.ReceiveAsync(buffer, SocketFlags.None, cancellationToken);
                if (HolderIn(buffer.AsSpan(0, length), address, mac.Span) is { } holder)
                {
                    return holder;
                }
            }
        }
        catch (OperationCanceledException)
        {
            // Nobody spoke up in time.
            return null;
        }
    }

    /// <summary>An Ethernet address on an interface, as <c>struct sockaddr_ll</c>.</summary>
    private sealed class LinkEndPoint(int index, byte[] hardware) : EndPoint
    {
        public override AddressFamily AddressFamily => AddressFamily.Packet;

        public override SocketAddress Serialize()
        {
            var address = new SocketAddress(AddressFamily.Packet, AddressLength);
            var bytes = address.Buffer.Span;
            BinaryPrimitives.WriteUInt16BigEndian(bytes[ProtocolAt..], ArpProtocol);
            BitConverter.TryWriteBytes(bytes[IndexAt..], index);
            bytes[LengthAt] = MacLength;
            hardware.CopyTo(bytes[HardwareAt..]);
            return address;
        }
    }
}
