using System.Diagnostics.CodeAnalysis;
using System.Net.Sockets;
using System.Runtime.InteropServices;

namespace Volant.Linux.IO;

/// <summary>An asynchronous stream over any pollable descriptor: AF_VSOCK, a virtio-serial port, a pipe, a pty.</summary>
/// <remarks>
/// <see cref="Socket"/> accepts foreign descriptors and drives them with the runtime's epoll loop, cancellation included;
/// <see cref="NetworkStream"/> refuses them because they are not "connected". I/O errors surface as <see cref="IOException"/>.
/// </remarks>
public sealed partial class FdStream : AsyncOnlyStream
{
    private readonly Socket _socket;

    private FdStream(Socket socket) => _socket = socket;

    /// <summary>Takes over <paramref name="descriptor"/> and makes it non-blocking.</summary>
    public static FdStream Own(SafeHandle descriptor)
    {
        ArgumentNullException.ThrowIfNull(descriptor);
        var fd = (int)descriptor.DangerousGetHandle();
        SetNonBlocking(fd);
        descriptor.SetHandleAsInvalid();
        return Wrap(fd);
    }

    /// <summary>Opens a character device for reading and writing.</summary>
    /// <exception cref="System.ComponentModel.Win32Exception">The kernel refused.</exception>
    public static FdStream OpenDevice(string path)
    {
        var fd = LinuxError.Check(Open(path, OpenReadWrite | OpenNonBlock | OpenCloseOnExec | OpenNoControllingTerminal), path);
        return Wrap(fd);
    }

    /// <inheritdoc/>
    public override async ValueTask<int> ReadAsync(Memory<byte> buffer, CancellationToken cancellationToken = default)
    {
        try
        {
            return await _socket.ReceiveAsync(buffer, SocketFlags.None, cancellationToken);
        }
        catch (SocketException e)
        {
            throw new IOException(e.Message, e);
        }
    }

    /// <inheritdoc/>
    public override async ValueTask WriteAsync(ReadOnlyMemory<byte> buffer, CancellationToken cancellationToken = default)
    {
        try
        {
            while (buffer.Length > 0)
            {
                buffer = buffer[await _socket.SendAsync(buffer, SocketFlags.None, cancellationToken)..];
            }
        }
        catch (SocketException e)
        {
            throw new IOException(e.Message, e);
        }
    }

    /// <inheritdoc/>
    protected override void Dispose(bool disposing)
    {
        if (disposing)
        {
            _socket.Dispose();
        }

        base.Dispose(disposing);
    }

    private const int OpenReadWrite = 2;
    private const int OpenNonBlock = 0x800;
    private const int OpenNoControllingTerminal = 0x100;
    private const int OpenCloseOnExec = 0x80000;
    private const int GetFlags = 3;
    private const int SetFlags = 4;

    [SuppressMessage("Reliability", "CA2000", Justification = "The stream owns the socket, and the socket owns the descriptor.")]
    private static FdStream Wrap(int fd) => new(new Socket(new SafeSocketHandle(fd, ownsHandle: true)));

    private static void SetNonBlocking(int fd)
    {
        var flags = LinuxError.Check(Control(fd, GetFlags, 0), "fcntl(F_GETFL)");
        LinuxError.Check(Control(fd, SetFlags, flags | OpenNonBlock), "fcntl(F_SETFL)");
    }

    [LibraryImport("libc", EntryPoint = "fcntl", SetLastError = true)]
    private static partial int Control(int fd, int command, nint argument);

    [LibraryImport("libc", EntryPoint = "open", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    private static partial int Open(string path, int flags);
}
