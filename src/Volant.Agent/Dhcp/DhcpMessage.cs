using System.Buffers.Binary;
using System.Net;
using System.Text;

namespace Volant.Agent.Dhcp;

/// <summary>Values of the option "DHCP message type" (RFC 2132 §9.6).</summary>
internal enum DhcpType : byte
{
    /// <summary>Client: is there a server?</summary>
    Discover = 1,

    /// <summary>Server: here is an address.</summary>
    Offer = 2,

    /// <summary>Client: I want, or want to keep, the address.</summary>
    Request = 3,

    /// <summary>Client: somebody else has the address already.</summary>
    Decline = 4,

    /// <summary>Server: it is yours.</summary>
    Ack = 5,

    /// <summary>Server: it is not yours.</summary>
    Nak = 6,

    /// <summary>Client: I need the address no longer.</summary>
    Release = 7,
}

/// <summary>Numbers of the options that are used (RFC 2132; 121 is RFC 3442).</summary>
internal static class DhcpOption
{
    public const byte Pad = 0;
    public const byte SubnetMask = 1;
    public const byte Routers = 3;
    public const byte NameServers = 6;
    public const byte Hostname = 12;
    public const byte Domain = 15;
    public const byte RequestedAddress = 50;
    public const byte LeaseTime = 51;
    public const byte Overload = 52;
    public const byte MessageType = 53;
    public const byte Server = 54;
    public const byte Wanted = 55;
    public const byte MaxSize = 57;
    public const byte RenewalTime = 58;
    public const byte RebindingTime = 59;
    public const byte ClientId = 61;
    public const byte Routes = 121;
    public const byte End = 255;
}

/// <summary>What a client sends.</summary>
/// <param name="Type">Kind of message.</param>
/// <param name="Transaction">Number that the answer repeats.</param>
/// <param name="Seconds">Seconds since the client began.</param>
internal sealed record DhcpRequest(DhcpType Type, uint Transaction, ushort Seconds)
{
    /// <summary>The client's address, when it has one.</summary>
    public IPAddress? ClientAddress { get; init; }

    /// <summary>The address that was offered.</summary>
    public IPAddress? Requested { get; init; }

    /// <summary>The server that offered it.</summary>
    public IPAddress? Server { get; init; }
}

/// <summary>A DHCP message from a server, with its options as they came. Nothing in it is checked but its form.</summary>
/// <param name="Type">Kind of message.</param>
/// <param name="Transaction">Number of the request that it answers.</param>
/// <param name="YourAddress">Address for the client.</param>
/// <param name="Options">Values by number.</param>
internal sealed record DhcpReply(DhcpType Type, uint Transaction, IPAddress YourAddress, IReadOnlyDictionary<byte, byte[]> Options);

/// <summary>The wire form of DHCP (RFC 2131 §2, RFC 3396 for options in several pieces).</summary>
internal static class DhcpMessage
{
    /// <summary>Largest message that is read: one Ethernet frame.</summary>
    public const int MaxLength = 1472;

    private const int FixedLength = 236;
    private const int OptionsStart = FixedLength + 4;
    private const int LeastLength = 300; // BOOTP servers drop what is shorter
    private const byte ToServer = 1;
    private const byte ToClient = 2;
    private const byte Ethernet = 1;
    private const byte MacLength = 6;
    private const ushort Broadcast = 0x8000;
    private const uint Cookie = 0x63825363;
    private const int TransactionAt = 4;
    private const int SecondsAt = 8;
    private const int FlagsAt = 10;
    private const int ClientAddressAt = 12;
    private const int YourAddressAt = 16;
    private const int HardwareAt = 28;
    private const int ServerNameAt = 44;
    private const int FileAt = 108;
    private const int MaxHostname = 63;

    private static readonly byte[] WantedOptions =
    [
        DhcpOption.SubnetMask, DhcpOption.Routes, DhcpOption.Routers, DhcpOption.NameServers, DhcpOption.Domain, DhcpOption.LeaseTime,
        DhcpOption.Server, DhcpOption.RenewalTime, DhcpOption.RebindingTime,
    ];

    /// <summary>Writes a request. Without an address of its own the client asks for a broadcast answer: it could not receive another.</summary>
    public static byte[] Encode(DhcpRequest request, ReadOnlySpan<byte> mac, string? hostname)
    {
        var buffer = new byte[MaxLength];
        buffer[0] = ToServer;
        buffer[1] = Ethernet;
        buffer[2] = MacLength;
        BinaryPrimitives.WriteUInt32BigEndian(buffer.AsSpan(TransactionAt), request.Transaction);
        BinaryPrimitives.WriteUInt16BigEndian(buffer.AsSpan(SecondsAt), request.Seconds);
        BinaryPrimitives.WriteUInt16BigEndian(buffer.AsSpan(FlagsAt), request.ClientAddress is null ? Broadcast : (ushort)0);
        request.ClientAddress?.GetAddressBytes().CopyTo(buffer, ClientAddressAt);
        mac.CopyTo(buffer.AsSpan(HardwareAt));
        BinaryPrimitives.WriteUInt32BigEndian(buffer.AsSpan(FixedLength), Cookie);
        var at = OptionsStart;
        Add(DhcpOption.MessageType, [(byte)request.Type]);
        Add(DhcpOption.ClientId, [Ethernet, .. mac]);
        if (request.Type is DhcpType.Discover or DhcpType.Request)
        {
            // Those that want no answer must not say what they want of it (RFC 2131 §4.4.1, table 5).
            Add(DhcpOption.MaxSize, [MaxLength >> 8, MaxLength & 0xff]);
            Add(DhcpOption.Wanted, WantedOptions);
            if (hostname is { Length: > 0 and <= MaxHostname })
            {
                Add(DhcpOption.Hostname, Encoding.ASCII.GetBytes(hostname));
            }
        }

        if (request.Requested is { } requested)
        {
            Add(DhcpOption.RequestedAddress, requested.GetAddressBytes());
        }

        if (request.Server is { } server)
        {
            Add(DhcpOption.Server, server.GetAddressBytes());
        }

        buffer[at++] = DhcpOption.End;
        return buffer[..Math.Max(at, LeastLength)];

        void Add(byte option, ReadOnlySpan<byte> value)
        {
            buffer[at] = option;
            buffer[at + 1] = (byte)value.Length;
            value.CopyTo(buffer.AsSpan(at + 2));
            at += 2 + value.Length;
        }
    }

    /// <summary>Reads an answer; null when it is none for this client, or not well-formed.</summary>
    public static DhcpReply? Decode(ReadOnlySpan<byte> message, ReadOnlySpan<byte> mac)
    {
        if (message.Length is < OptionsStart or > MaxLength || message[0] != ToClient || message[1] != Ethernet || message[2] != MacLength ||
            !message.Slice(HardwareAt, MacLength).SequenceEqual(mac) || BinaryPrimitives.ReadUInt32BigEndian(message[FixedLength..]) != Cookie)
        {
            return null;
        }

        var pieces = new Dictionary<byte, List<byte>>();
        if (!Collect(message[OptionsStart..], pieces))
        {
            return null;
        }

        // Options may go on in the fields for names: first in "file", then in "sname".
        var overload = pieces.GetValueOrDefault(DhcpOption.Overload) is [var fields] ? fields : 0;
        if (((overload & 1) != 0 && !Collect(message[FileAt..FixedLength], pieces)) || ((overload & 2) != 0 && !Collect(message[ServerNameAt..FileAt], pieces)))
        {
            return null;
        }

        return pieces.GetValueOrDefault(DhcpOption.MessageType) is [var type]
            ? new DhcpReply(
                (DhcpType)type,
                BinaryPrimitives.ReadUInt32BigEndian(message[TransactionAt..]),
                new IPAddress(message.Slice(YourAddressAt, 4)),
                pieces.ToDictionary(piece => piece.Key, piece => piece.Value.ToArray()))
            : null;
    }

    private static bool Collect(ReadOnlySpan<byte> field, Dictionary<byte, List<byte>> pieces)
    {
        while (!field.IsEmpty && field[0] != DhcpOption.End)
        {
            if (field[0] == DhcpOption.Pad)
            {
                field = field[1..];
                continue;
            }

            if (field.Length < 2 || field.Length < 2 + field[1])
            {
                return false;
            }

            if (!pieces.TryGetValue(field[0], out var value))
            {
                pieces[field[0]] = value = [];
            }

            value.AddRange(field.Slice(2, field[1]));
            field = field[(2 + field[1])..];
        }

        return true;
    }
}
