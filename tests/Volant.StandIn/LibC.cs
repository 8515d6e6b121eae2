using System.Runtime.InteropServices;

namespace Volant.StandIn;

/// <summary>The few system calls of the stand-in, bare: with sockets of .NET each of a thousand processes would have several threads.</summary>
/// <remarks>Source: the Linux manual pages, sections 2 and 7; numbers are those of x86-64 and arm64.</remarks>
internal static unsafe partial class LibC
{
    public const int Again = 11;
    public const short PollIn = 1;

    private const int UnixFamily = 1;
    private const int StreamNonBlockCloseOnExec = 1 | 0x800 | 0x80000;
    private const int NonBlockCloseOnExec = 0x80800;
    private const int PathOffset = 2;
    private const int AddressLength = 110;
    private const int AppendCreateCloseOnExec = 0x80441;
    private const int NoSignal = 0x4000;
    private const int SignalTerminate = 15;
    private const int SignalSegmentation = 11;
    private const nuint HeaderBytes = 16; // sizeof(struct cmsghdr)
    private const int CloseOnExecOfPassed = 0x40000000;
    private const nint Default = 0;
    private const nint Ignore = 1;

    /// <summary>Listens on a Unix socket that must not exist yet; negative when that fails.</summary>
    public static int Listen(string path, int backlog)
    {
        var address = stackalloc byte[AddressLength];
        new Span<byte>(address, AddressLength).Clear();
        address[0] = UnixFamily;
        System.Text.Encoding.UTF8.GetBytes(path, new Span<byte>(address + PathOffset, AddressLength - PathOffset - 1));
        var socket = Socket(UnixFamily, StreamNonBlockCloseOnExec, 0);
        return Bind(socket, address, AddressLength) == 0 && Listen(socket, backlog) == 0 ? socket : -1;
    }

    /// <summary>Accepts a connection; negative when there is none.</summary>
    public static int Accept(int listener) => Accept4(listener, null, null, NonBlockCloseOnExec);

    /// <summary>Sends everything, or gives up.</summary>
    public static void Send(int socket, ReadOnlySpan<byte> bytes)
    {
        while (bytes.Length > 0)
        {
            nint sent;
            fixed (byte* start = bytes)
            {
                sent = Send(socket, start, (nuint)bytes.Length, NoSignal);
            }

            if (sent < 0)
            {
                // Whoever does not read a few hundred bytes is gone or hung: what is lost matters to nobody.
                return;
            }

            bytes = bytes[(int)sent..];
        }
    }

    /// <summary>Bytes that are there; 0 at the end, negative when there are none.</summary>
    public static int Receive(int socket, Span<byte> buffer)
    {
        fixed (byte* start = buffer)
        {
            var count = Read(socket, start, (nuint)buffer.Length);
            return count < 0 && Marshal.GetLastPInvokeError() != Again ? 0 : (int)count;
        }
    }

    /// <summary>As <see cref="Receive(int, Span{byte})"/>, with the descriptors that came along (<c>SCM_RIGHTS</c>, unix(7)).</summary>
    public static int Receive(int socket, Span<byte> buffer, List<int> descriptors)
    {
        fixed (byte* start = buffer)
        {
            var control = stackalloc nuint[8];
            var vector = stackalloc nuint[2] { (nuint)start, (nuint)buffer.Length };
            var message = stackalloc nuint[7] { 0, 0, (nuint)vector, 1, (nuint)control, 8 * (nuint)sizeof(nuint), 0 };
            var count = ReceiveMessage(socket, message, CloseOnExecOfPassed);
            if (count > 0 && message[5] > HeaderBytes)
            {
                for (var i = HeaderBytes; i + sizeof(int) <= control[0]; i += sizeof(int))
                {
                    descriptors.Add(*(int*)((byte*)control + i));
                }
            }

            return count < 0 && Marshal.GetLastPInvokeError() != Again ? 0 : (int)count;
        }
    }

    /// <summary>Whether a descriptor is a tap that is attached to an interface (<c>TUNGETIFF</c>).</summary>
    public static bool IsTap(int descriptor)
    {
        var request = stackalloc byte[40];
        return Control(descriptor, 0x800454d2, request) == 0;
    }

    /// <summary>Waits until a descriptor is readable, or the time is over.</summary>
    public static void Poll(Span<PollEntry> entries, int milliseconds)
    {
        fixed (PollEntry* start = entries)
        {
            _ = Poll(start, (nuint)entries.Length, milliseconds);
        }
    }

    /// <summary>Appends a text to a file, which is made when absent.</summary>
    public static void Append(string path, ReadOnlySpan<byte> text)
    {
        var file = Open(path, AppendCreateCloseOnExec, 0b110_100_000);
        Write(file, text);
        _ = Close(file);
    }

    /// <summary>Writes to a descriptor.</summary>
    public static void Write(int descriptor, ReadOnlySpan<byte> text)
    {
        fixed (byte* start = text)
        {
            _ = Write(descriptor, start, (nuint)text.Length);
        }
    }

    /// <summary>Makes SIGSEGV end the process, as it does QEMU; the runtime would look for a fault of its own.</summary>
    public static void DieOfSegmentation() => Signal(SignalSegmentation, Default);

    /// <summary>Makes SIGTERM do nothing.</summary>
    public static void IgnoreTerminate() => Signal(SignalTerminate, Ignore);

    [LibraryImport("libc", EntryPoint = "_exit")]
    public static partial void Exit(int code);

    [LibraryImport("libc", EntryPoint = "close")]
    public static partial int Close(int descriptor);

    [LibraryImport("libc", EntryPoint = "socket")]
    private static partial int Socket(int family, int type, int protocol);

    [LibraryImport("libc", EntryPoint = "bind")]
    private static partial int Bind(int socket, byte* address, int length);

    [LibraryImport("libc", EntryPoint = "listen")]
    private static partial int Listen(int socket, int backlog);

    [LibraryImport("libc", EntryPoint = "accept4")]
    private static partial int Accept4(int socket, byte* address, int* length, int flags);

    [LibraryImport("libc", EntryPoint = "send")]
    private static partial nint Send(int socket, byte* bytes, nuint count, int flags);

    [LibraryImport("libc", EntryPoint = "read", SetLastError = true)]
    private static partial nint Read(int descriptor, byte* bytes, nuint count);

    [LibraryImport("libc", EntryPoint = "open", StringMarshalling = StringMarshalling.Utf8)]
    private static partial int Open(string path, int flags, int mode);

    [LibraryImport("libc", EntryPoint = "recvmsg", SetLastError = true)]
    private static partial nint ReceiveMessage(int socket, nuint* message, int flags);

    [LibraryImport("libc", EntryPoint = "ioctl")]
    private static partial int Control(int descriptor, nuint request, byte* argument);

    [LibraryImport("libc", EntryPoint = "write")]
    private static partial nint Write(int descriptor, byte* bytes, nuint count);

    [LibraryImport("libc", EntryPoint = "poll")]
    private static partial int Poll(PollEntry* entries, nuint count, int milliseconds);

    [LibraryImport("libc", EntryPoint = "signal")]
    private static partial nint Signal(int number, nint handler);
}

/// <summary><c>struct pollfd</c>.</summary>
[StructLayout(LayoutKind.Sequential)]
internal struct PollEntry
{
    /// <summary>The descriptor; negative is passed over.</summary>
    public int Descriptor;

    /// <summary>What is waited for.</summary>
    public short Events;

    /// <summary>What happened.</summary>
    public short Returned;
}
