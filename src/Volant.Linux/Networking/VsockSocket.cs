using System.ComponentModel;
using System.Runtime.InteropServices;
using Microsoft.Win32.SafeHandles;
using Volant.Linux.IO;

namespace Volant.Linux.Networking;

/// <summary>AF_VSOCK stream sockets (<c>man 7 vsock</c>): byte streams between a guest and its host that need no network.</summary>
public static partial class VsockSocket
{
    /// <summary>VMADDR_CID_ANY: every address of this machine.</summary>
    public const uint AnyCid = uint.MaxValue;

    /// <summary>VMADDR_CID_LOCAL: this machine itself.</summary>
    public const uint LocalCid = 1;

    /// <summary>VMADDR_CID_HOST: the host, seen from a guest.</summary>
    public const uint HostCid = 2;

    /// <summary>Longest time that the kernel tries to connect, in seconds.</summary>
    public const int ConnectTimeoutSeconds = 2;

    internal const int AcceptFlags = StreamFlags & ~1;

    private const int Backlog = 128;
    private const int Family = 40; // AF_VSOCK
    private const int StreamFlags = 1 | 0x800 | 0x80000; // SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC
    private const int SocketLevel = 1; // SOL_SOCKET
    private const int PendingError = 4; // SO_ERROR
    private const int ConnectTimeout = 6; // SO_VM_SOCKETS_CONNECT_TIMEOUT, at level AF_VSOCK

    /// <summary>
    /// Whether this kernel makes vsock sockets. It says nothing of a peer: a host reaches guests only where <c>/dev/vhost-vsock</c> exists.
    /// </summary>
    public static bool IsAvailable()
    {
        var fd = Socket(Family, StreamFlags, 0);
        if (fd < 0)
        {
            return false;
        }

        new SafeFileHandle(fd, ownsHandle: true).Dispose();
        return true;
    }

    /// <summary>Listens on a port of every address of this machine.</summary>
    /// <exception cref="Win32Exception">EAFNOSUPPORT: no vsock; EADDRINUSE: the port is taken.</exception>
    public static unsafe VsockListener Listen(uint port)
    {
        var socket = Create();
        try
        {
            var address = new VsockAddress { Family = Family, Port = port, Cid = AnyCid };
            LinuxError.Check(Bind(socket, &address, sizeof(VsockAddress)), $"Binding to vsock port {port}");
            LinuxError.Check(StartListening(socket, Backlog), $"Listening on vsock port {port}");
            return new VsockListener(socket);
        }
        catch
        {
            socket.Dispose();
            throw;
        }
    }

    /// <summary>Connects to a port of a guest, or of the host. Ends within 2 s whatever the peer does.</summary>
    /// <exception cref="Win32Exception">
    /// ECONNRESET: nobody listens; ETIMEDOUT: no answer; ENODEV: no such guest or no transport; EAFNOSUPPORT: no vsock.
    /// </exception>
    /// <exception cref="OperationCanceledException">Cancelled.</exception>
    public static async Task<FdStream> ConnectAsync(uint cid, uint port, CancellationToken cancellationToken)
    {
        var what = $"Connecting to vsock {cid}:{port}";
        using var socket = Create();
        if (!StartConnecting(socket, cid, port, what))
        {
            await DescriptorReadiness.WaitAsync(socket, DescriptorReadiness.Writable, cancellationToken);
            ThrowIfFailed(socket, what);
        }

        return FdStream.Own(socket);
    }

    private static SafeFileHandle Create() =>
        new(LinuxError.Check(Socket(Family, StreamFlags, 0), "socket(AF_VSOCK)"), ownsHandle: true);

    private static unsafe bool StartConnecting(SafeFileHandle socket, uint cid, uint port, string what)
    {
        var timeout = new NetlinkSocket.TimeValue { Seconds = ConnectTimeoutSeconds };
        LinuxError.Check(SetOption(socket, Family, ConnectTimeout, &timeout, sizeof(NetlinkSocket.TimeValue)), what);
        var address = new VsockAddress { Family = Family, Port = port, Cid = cid };
        if (Connect(socket, &address, sizeof(VsockAddress)) == 0)
        {
            return true;
        }

        // Interrupted means that it goes on, as with EINPROGRESS: asking again would only answer EALREADY.
        var errno = Marshal.GetLastPInvokeError();
        return errno is Errno.InProgress or Errno.Interrupted ? false : throw LinuxError.Of(errno, what);
    }

    private static unsafe void ThrowIfFailed(SafeFileHandle socket, string what)
    {
        int errno;
        var size = sizeof(int);
        LinuxError.Check(GetOption(socket, SocketLevel, PendingError, &errno, &size), what);
        if (errno != 0)
        {
            throw LinuxError.Of(errno, what);
        }
    }

    [LibraryImport("libc", EntryPoint = "socket", SetLastError = true)]
    private static partial int Socket(int family, int type, int protocol);

    [LibraryImport("libc", EntryPoint = "bind", SetLastError = true)]
    private static unsafe partial int Bind(SafeFileHandle socket, VsockAddress* address, int size);

    [LibraryImport("libc", EntryPoint = "listen", SetLastError = true)]
    private static partial int StartListening(SafeFileHandle socket, int backlog);

    [LibraryImport("libc", EntryPoint = "connect", SetLastError = true)]
    private static unsafe partial int Connect(SafeFileHandle socket, VsockAddress* address, int size);

    [LibraryImport("libc", EntryPoint = "setsockopt", SetLastError = true)]
    private static unsafe partial int SetOption(SafeFileHandle socket, int level, int option, void* value, int size);

    [LibraryImport("libc", EntryPoint = "getsockopt", SetLastError = true)]
    private static unsafe partial int GetOption(SafeFileHandle socket, int level, int option, void* value, int* size);

    /// <summary>The kernel's <c>struct sockaddr_vm</c>, 16 bytes.</summary>
    [StructLayout(LayoutKind.Sequential, Size = 16)]
    internal struct VsockAddress
    {
        public ushort Family;
        public ushort Reserved;
        public uint Port;
        public uint Cid;
        public byte Flags;
    }
}
