using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using System.Text;

namespace Volant.Linux.Networking;

/// <summary>Builds one netlink message: header, fixed part, attributes (<c>include/uapi/linux/netlink.h</c>, host byte order).</summary>
internal sealed class NetlinkRequest(ushort type)
{
    /// <summary>Size of <c>struct nlmsghdr</c>.</summary>
    public const int HeaderSize = 16;

    /// <summary>Size of <c>struct nlattr</c>.</summary>
    public const int AttributeHeaderSize = 4;

    // The longest request, a bridge with all of its attributes, has 108 bytes. Writing past the end throws.
    private readonly byte[] _buffer = new byte[512];
    private int _length = HeaderSize;

    /// <summary>Appends a fixed part, padded to four bytes.</summary>
    public NetlinkRequest Add<T>(T value)
        where T : unmanaged
    {
        MemoryMarshal.Write(_buffer.AsSpan(_length), in value);
        _length += Align(Unsafe.SizeOf<T>());
        return this;
    }

    /// <summary>Appends an attribute.</summary>
    public NetlinkRequest Attribute(ushort attribute, ReadOnlySpan<byte> value)
    {
        WriteAttributeHeader(_length, attribute, AttributeHeaderSize + value.Length);
        value.CopyTo(_buffer.AsSpan(_length + AttributeHeaderSize));
        _length += Align(AttributeHeaderSize + value.Length);
        return this;
    }

    /// <summary>Appends a C string.</summary>
    public NetlinkRequest Attribute(ushort attribute, string value)
    {
        Span<byte> text = stackalloc byte[64];
        var length = Encoding.ASCII.GetBytes(value, text[..^1]);
        text[length] = 0;
        return Attribute(attribute, text[..(length + 1)]);
    }

    /// <summary>Appends a number in host byte order.</summary>
    public NetlinkRequest Attribute<T>(ushort attribute, T value)
        where T : unmanaged => Attribute(attribute, MemoryMarshal.AsBytes(new ReadOnlySpan<T>(in value)));

    /// <summary>Appends an attribute that holds attributes.</summary>
    public NetlinkRequest Nest(ushort attribute, Action<NetlinkRequest> content)
    {
        var start = _length;
        _length += AttributeHeaderSize;
        content(this);
        WriteAttributeHeader(start, attribute, _length - start);
        return this;
    }

    /// <summary>Completes the header (<c>struct nlmsghdr</c>); the port is the kernel's, 0.</summary>
    public ReadOnlySpan<byte> Seal(ushort flags, uint sequence)
    {
        MemoryMarshal.Write(_buffer, new NetlinkHeader { Length = (uint)_length, Type = type, Flags = flags, Sequence = sequence });
        return _buffer.AsSpan(0, _length);
    }

    /// <summary>The kernel's <c>NLMSG_ALIGN</c> and <c>NLA_ALIGN</c>.</summary>
    public static int Align(int length) => (length + 3) & ~3;

    private void WriteAttributeHeader(int at, ushort attribute, int length)
    {
        MemoryMarshal.Write(_buffer.AsSpan(at), (ushort)length);
        MemoryMarshal.Write(_buffer.AsSpan(at + 2), in attribute);
    }
}

/// <summary>The kernel's <c>struct nlmsghdr</c>, 16 bytes.</summary>
[StructLayout(LayoutKind.Sequential, Size = NetlinkRequest.HeaderSize)]
internal struct NetlinkHeader
{
    public uint Length;
    public ushort Type;
    public ushort Flags;
    public uint Sequence;
    public uint Port;
}

/// <summary>Walks over netlink attributes; stops at the first that does not fit into what is left.</summary>
internal ref struct NetlinkAttributes(ReadOnlySpan<byte> bytes)
{
    // The two highest bits are NLA_F_NESTED and NLA_F_NET_BYTEORDER.
    private const ushort TypeMask = 0x3fff;

    private ReadOnlySpan<byte> _rest = bytes;

    /// <summary>Moves to the next attribute.</summary>
    public bool Read(out ushort type, out ReadOnlySpan<byte> value)
    {
        type = 0;
        value = default;
        if (_rest.Length < NetlinkRequest.AttributeHeaderSize)
        {
            return false;
        }

        var length = MemoryMarshal.Read<ushort>(_rest);
        if (length < NetlinkRequest.AttributeHeaderSize || length > _rest.Length)
        {
            return false;
        }

        type = (ushort)(MemoryMarshal.Read<ushort>(_rest[2..]) & TypeMask);
        value = _rest[NetlinkRequest.AttributeHeaderSize..length];
        _rest = _rest[Math.Min(NetlinkRequest.Align(length), _rest.Length)..];
        return true;
    }

    /// <summary>A number of an attribute; null when the attribute is too short.</summary>
    public static T? Number<T>(ReadOnlySpan<byte> value)
        where T : unmanaged => MemoryMarshal.TryRead<T>(value, out var number) ? number : null;

    /// <summary>A C string of an attribute, up to its first NUL; unprintable bytes become <c>?</c>.</summary>
    public static string Text(ReadOnlySpan<byte> value)
    {
        var end = value.IndexOf((byte)0);
        return string.Create(end < 0 ? value.Length : end, value, static (text, source) =>
        {
            for (var i = 0; i < text.Length; i++)
            {
                text[i] = source[i] is >= 0x20 and < 0x7f ? (char)source[i] : '?';
            }
        });
    }
}
