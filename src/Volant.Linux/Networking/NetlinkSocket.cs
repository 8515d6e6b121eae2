using System.ComponentModel;
using System.Runtime.InteropServices;
using Microsoft.Win32.SafeHandles;

namespace Volant.Linux.Networking;

/// <summary>Receives the type and the body of one message of an answer.</summary>
internal delegate void NetlinkMessageHandler(ushort type, ReadOnlySpan<byte> body);

/// <summary>A NETLINK_ROUTE socket: sends one request at a time and reads its answer (<c>Documentation/userspace-api/netlink</c>).</summary>
/// <remarks>It speaks to the network namespace of the thread that made it. Not safe for concurrent use.</remarks>
internal sealed unsafe partial class NetlinkSocket : IDisposable
{
    /// <summary>The kernel fills at most 32 KiB per datagram of a dump (<c>netlink_dump</c>); one message is far smaller.</summary>
    private const int ReceiveBufferSize = 32 * 1024;

    /// <summary>Longest wait for the kernel, which answers in microseconds unless another change holds its lock.</summary>
    private const int ReceiveTimeoutSeconds = 10;

    private const int AddressFamily = 16; // AF_NETLINK
    private const int RawCloseOnExec = 3 | 0x80000; // SOCK_RAW | SOCK_CLOEXEC
    private const int Route = 0; // NETLINK_ROUTE
    private const int SocketLevel = 1; // SOL_SOCKET
    private const int ReceiveTimeout = 20; // SO_RCVTIMEO
    private const int NetlinkLevel = 270; // SOL_NETLINK
    private const int CapAck = 10; // NETLINK_CAP_ACK: errors do not repeat the request
    private const int ExtAck = 11; // NETLINK_EXT_ACK: errors come with a text
    private const int RealLength = 0x20; // MSG_TRUNC: return the length of the datagram even when it did not fit

    private const ushort FlagRequest = 0x01; // NLM_F_REQUEST
    private const ushort FlagAck = 0x04; // NLM_F_ACK
    private const ushort FlagDump = 0x300; // NLM_F_DUMP
    private const ushort FlagDumpInterrupted = 0x10; // NLM_F_DUMP_INTR
    private const ushort FlagCapped = 0x100; // NLM_F_CAPPED
    private const ushort FlagAckAttributes = 0x200; // NLM_F_ACK_TLVS
    private const ushort TypeError = 2; // NLMSG_ERROR
    private const ushort TypeDone = 3; // NLMSG_DONE
    private const ushort AckMessage = 1; // NLMSGERR_ATTR_MSG

    private readonly SafeFileHandle _socket;
    private readonly byte[] _buffer = new byte[ReceiveBufferSize];
    private uint _sequence;

    /// <summary>Opens the socket.</summary>
    /// <exception cref="Win32Exception">The kernel refused.</exception>
    public NetlinkSocket()
    {
        _socket = new SafeFileHandle(LinuxError.Check(Socket(AddressFamily, RawCloseOnExec, Route), "socket(NETLINK_ROUTE)"), ownsHandle: true);
        try
        {
            // Texts are a comfort that kernels before 4.12 lack.
            var on = 1;
            _ = SetOption(_socket, NetlinkLevel, ExtAck, &on, sizeof(int));
            _ = SetOption(_socket, NetlinkLevel, CapAck, &on, sizeof(int));
            var timeout = new TimeValue { Seconds = ReceiveTimeoutSeconds };
            LinuxError.Check(SetOption(_socket, SocketLevel, ReceiveTimeout, &timeout, sizeof(TimeValue)), "setsockopt(SO_RCVTIMEO)");
            var address = new NetlinkAddress { Family = AddressFamily };
            LinuxError.Check(Bind(_socket, &address, sizeof(NetlinkAddress)), "bind(NETLINK_ROUTE)");
        }
        catch
        {
            _socket.Dispose();
            throw;
        }
    }

    /// <summary>Sends a request that changes something and waits for its acknowledgement.</summary>
    /// <exception cref="Win32Exception">The kernel refused; the message holds its words.</exception>
    public void Change(NetlinkRequest request, ushort flags, string what) =>
        Receive(Send(request, (ushort)(FlagAck | flags), what), what, null, single: false);

    /// <summary>Asks for one object.</summary>
    /// <exception cref="Win32Exception">The kernel refused, or there is no such object.</exception>
    public void Get(NetlinkRequest request, string what, NetlinkMessageHandler onMessage) =>
        Receive(Send(request, 0, what), what, onMessage, single: true);

    /// <summary>Asks for a list once.</summary>
    /// <returns>False when it changed meanwhile, so that what was received is not consistent.</returns>
    /// <exception cref="Win32Exception">The kernel refused.</exception>
    public bool TryDump(NetlinkRequest request, string what, NetlinkMessageHandler onMessage) =>
        Receive(Send(request, FlagDump, what), what, onMessage, single: false);

    /// <inheritdoc/>
    public void Dispose() => _socket.Dispose();

    /// <summary>The text of an extended acknowledgement; null when there is none.</summary>
    internal static string? AckText(ushort flags, ReadOnlySpan<byte> body)
    {
        if ((flags & FlagAckAttributes) == 0 || body.Length < sizeof(int) + NetlinkRequest.HeaderSize)
        {
            return null;
        }

        // struct nlmsgerr: the error, the header of the request, and its rest unless it was capped.
        var request = MemoryMarshal.Read<uint>(body[sizeof(int)..]);
        var skip = sizeof(int) + ((flags & FlagCapped) != 0 ? NetlinkRequest.HeaderSize : NetlinkRequest.Align((int)Math.Min(request, int.MaxValue - 8)));
        var attributes = new NetlinkAttributes(skip <= body.Length ? body[skip..] : default);
        while (attributes.Read(out var type, out var value))
        {
            if (type == AckMessage)
            {
                return NetlinkAttributes.Text(value);
            }
        }

        return null;
    }

    private static Win32Exception Error(int errno, string what, string? text = null)
    {
        var error = LinuxError.Of(errno, what);
        return text is null ? error : new Win32Exception(errno, $"{error.Message}: {text}");
    }

    private uint Send(NetlinkRequest request, ushort flags, string what)
    {
        var sequence = ++_sequence;
        var message = request.Seal((ushort)(FlagRequest | flags), sequence);
        fixed (byte* bytes = message)
        {
            while (SendTo(_socket, bytes, message.Length, 0, null, 0) < 0)
            {
                var errno = Marshal.GetLastPInvokeError();
                if (errno != Errno.Interrupted)
                {
                    throw Error(errno, what);
                }
            }
        }

        return sequence;
    }

    private bool Receive(uint sequence, string what, NetlinkMessageHandler? onMessage, bool single)
    {
        var consistent = true;
        while (true)
        {
            var datagram = ReceiveDatagram(what);
            while (datagram.Length >= NetlinkRequest.HeaderSize)
            {
                var header = MemoryMarshal.Read<NetlinkHeader>(datagram);
                if (header.Length < NetlinkRequest.HeaderSize || header.Length > datagram.Length)
                {
                    throw Error(Errno.BadMessage, what);
                }

                var body = datagram[NetlinkRequest.HeaderSize..(int)header.Length];
                datagram = datagram[Math.Min(NetlinkRequest.Align((int)header.Length), datagram.Length)..];
                if (header.Sequence != sequence)
                {
                    continue; // The rest of an answer that an exception cut short.
                }

                consistent &= (header.Flags & FlagDumpInterrupted) == 0;
                if (header.Type is TypeError or TypeDone)
                {
                    var errno = -(NetlinkAttributes.Number<int>(body) ?? 0);
                    return errno <= 0 ? consistent : throw Error(errno, what, header.Type == TypeError ? AckText(header.Flags, body) : null);
                }

                onMessage?.Invoke(header.Type, body);
                if (single)
                {
                    return true;
                }
            }
        }
    }

    private ReadOnlySpan<byte> ReceiveDatagram(string what)
    {
        while (true)
        {
            NetlinkAddress sender;
            var senderSize = sizeof(NetlinkAddress);
            nint length;
            fixed (byte* bytes = _buffer)
            {
                length = ReceiveFrom(_socket, bytes, _buffer.Length, RealLength, &sender, &senderSize);
            }

            if (length < 0)
            {
                var errno = Marshal.GetLastPInvokeError();
                if (errno == Errno.Interrupted)
                {
                    continue;
                }

                throw Error(errno == Errno.Again ? Errno.TimedOut : errno, what);
            }

            if (length > _buffer.Length)
            {
                throw Error(Errno.MessageTooLong, what);
            }

            // Port 0 is the kernel; other programs may send here too.
            if (sender.Port == 0)
            {
                return _buffer.AsSpan(0, (int)length);
            }
        }
    }

    [LibraryImport("libc", EntryPoint = "socket", SetLastError = true)]
    private static partial int Socket(int family, int type, int protocol);

    [LibraryImport("libc", EntryPoint = "bind", SetLastError = true)]
    private static partial int Bind(SafeFileHandle socket, NetlinkAddress* address, int size);

    [LibraryImport("libc", EntryPoint = "setsockopt", SetLastError = true)]
    private static partial int SetOption(SafeFileHandle socket, int level, int option, void* value, int size);

    [LibraryImport("libc", EntryPoint = "sendto", SetLastError = true)]
    private static partial nint SendTo(SafeFileHandle socket, byte* bytes, nint length, int flags, void* address, int size);

    [LibraryImport("libc", EntryPoint = "recvfrom", SetLastError = true)]
    private static partial nint ReceiveFrom(SafeFileHandle socket, byte* bytes, nint length, int flags, NetlinkAddress* address, int* size);

    /// <summary>The kernel's <c>struct sockaddr_nl</c>, 12 bytes.</summary>
    [StructLayout(LayoutKind.Sequential, Size = 12)]
    internal struct NetlinkAddress
    {
        public ushort Family;
        public ushort Padding;
        public uint Port;
        public uint Groups;
    }

    /// <summary>The kernel's <c>struct timeval</c>, 16 bytes on 64-bit Linux.</summary>
    [StructLayout(LayoutKind.Sequential, Size = 16)]
    internal struct TimeValue
    {
        public long Seconds;
        public long Microseconds;
    }
}
