using System.Buffers.Binary;
using System.Diagnostics.CodeAnalysis;
using System.Globalization;

namespace Volant.Daemon.Networking;

/// <summary>An Ethernet address.</summary>
/// <remarks>
/// The guest's and its tap's address both derive from the VM's uid, but can never be equal, nor can the tap's be equal to another
/// guest's: a bridge takes frames to an address of its own ports for itself and does not deliver them.
/// </remarks>
internal readonly record struct MacAddress
{
    /// <summary>Length in bytes.</summary>
    public const int Length = 6;

    private const int TextLength = 17;
    private const int HostBits = 40;
    private const ulong GuestPrefix = 0x02;
    private const ulong BridgePrefix = 0x06;
    private const ulong TapPrefix = 0xfe;

    private readonly ulong _value;

    private MacAddress(ulong value) => _value = value;

    /// <summary>Whether it names one interface, not a group.</summary>
    public bool IsUnicast => ((_value >> HostBits) & 1) == 0;

    /// <summary>Whether it was given locally, not by a manufacturer.</summary>
    public bool IsLocal => ((_value >> HostBits) & 2) != 0;

    /// <summary>Address that the guest sees: <c>02</c> and the last 40 bits of the uid, all random in a version 4 or 7 uid.</summary>
    public static MacAddress FromUid(Guid uid) => From(GuestPrefix, uid);

    /// <summary>
    /// Address of the host's end of the tap: <c>fe</c> and the same 40 bits. A bridge without an address of its own takes the lowest of
    /// its ports, so that <c>fe</c> leaves the address of a bridge alone that others made.
    /// </summary>
    public static MacAddress ForTap(Guid uid) => From(TapPrefix, uid);

    /// <summary>
    /// Address of a bridge whose host has that IPv4 address: <c>06:00</c> and the four bytes. The same after every restart of the host, so
    /// that the neighbour tables of resumed guests stay true.
    /// </summary>
    public static MacAddress ForBridge(uint hostAddress) => new((BridgePrefix << HostBits) | hostAddress);

    /// <summary>Reads <c>02:00:5e:00:53:01</c>, in either case.</summary>
    /// <exception cref="FormatException">Not in this form.</exception>
    public static MacAddress Parse(string text) => TryParse(text, out var address)
        ? address
        : throw new FormatException($"'{text}' is not an Ethernet address: use six two-digit hexadecimal numbers, as in 02:00:5e:00:53:01.");

    /// <summary>Reads <c>02:00:5e:00:53:01</c>, in either case; false when it is not in this form.</summary>
    public static bool TryParse([NotNullWhen(true)] string? text, out MacAddress address)
    {
        address = default;
        if (text is not { Length: TextLength })
        {
            return false;
        }

        var value = 0ul;
        for (var i = 0; i < TextLength; i += 3)
        {
            if ((i > 0 && text[i - 1] != ':') || !byte.TryParse(text.AsSpan(i, 2), NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture, out var part))
            {
                return false;
            }

            value = (value << 8) | part;
        }

        address = new MacAddress(value);
        return true;
    }

    /// <summary>The six bytes, in the order of the wire.</summary>
    public byte[] ToArray()
    {
        Span<byte> bytes = stackalloc byte[sizeof(ulong)];
        BinaryPrimitives.WriteUInt64BigEndian(bytes, _value);
        return bytes[^Length..].ToArray();
    }

    /// <summary>As <c>02:00:5e:00:53:01</c>, lower case.</summary>
    public override string ToString() => string.Join(':', ToArray().Select(part => part.ToString("x2", CultureInfo.InvariantCulture)));

    private static MacAddress From(ulong prefix, Guid uid)
    {
        Span<byte> bytes = stackalloc byte[16];
        uid.TryWriteBytes(bytes, bigEndian: true, out _);
        var host = BinaryPrimitives.ReadUInt64BigEndian(bytes[8..]) & ((1ul << HostBits) - 1);
        return new MacAddress((prefix << HostBits) | host);
    }
}
