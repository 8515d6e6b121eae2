using System.Diagnostics.CodeAnalysis;
using System.Net.Sockets;
using System.Runtime.InteropServices;

namespace Volant.Linux.IO;

/// <summary>A connected Unix socket that passes a descriptor with the first bytes that are written (<c>SCM_RIGHTS</c>, unix(7)).</summary>
/// <param name="socket">The socket, owned from now on.</param>
/// <param name="descriptor">What is passed; stays the caller's, and must be open until the first write is over.</param>
internal sealed unsafe partial class DescriptorStream(Socket socket, SafeHandle descriptor) : NetworkStream(socket, ownsSocket: true)
{
    private const int SocketLevel = 1; // SOL_SOCKET
    private const int Rights = 1; // SCM_RIGHTS
    private const int NoSignal = 0x4000; // MSG_NOSIGNAL

    [SuppressMessage("Usage", "CA2213", Justification = "It stays the caller's.")]
    private SafeHandle? _descriptor = descriptor;

    /// <inheritdoc/>
    public override void Write(ReadOnlySpan<byte> buffer) => base.Write(PassWith(buffer));

    /// <inheritdoc/>
    public override ValueTask WriteAsync(ReadOnlyMemory<byte> buffer, CancellationToken cancellationToken = default)
    {
        var rest = PassWith(buffer.Span).Length;
        return base.WriteAsync(buffer[^rest..], cancellationToken);
    }

    /// <summary>Sends the first bytes with the descriptor, unless it is gone already; a new connection has room for them.</summary>
    /// <returns>What is still to be sent.</returns>
    /// <exception cref="IOException">The other side has closed.</exception>
    private ReadOnlySpan<byte> PassWith(ReadOnlySpan<byte> bytes)
    {
        if (_descriptor is not { } passed || bytes.IsEmpty)
        {
            return bytes;
        }

        // SAFETY: the handle cannot be closed, nor the bytes move, while the kernel reads them.
        var kept = false;
        try
        {
            passed.DangerousAddRef(ref kept);
            fixed (byte* start = bytes)
            {
                var vector = new IoVector { Start = start, Length = (nuint)bytes.Length };
                var control = new ControlMessage { Length = (nuint)(sizeof(ControlMessage) - sizeof(int)), Level = SocketLevel, Type = Rights, Descriptor = (int)passed.DangerousGetHandle() };
                var message = new MessageHeader { Vectors = &vector, VectorCount = 1, Control = &control, ControlLength = (nuint)sizeof(ControlMessage) };
                var sent = SendMessage(Socket.SafeHandle, &message, NoSignal);
                if (sent < 0)
                {
                    var error = LinuxError.Last("Passing a descriptor");
                    throw new IOException(error.Message, error);
                }

                _descriptor = null;
                return bytes[(int)sent..];
            }
        }
        finally
        {
            if (kept)
            {
                passed.DangerousRelease();
            }
        }
    }

    [LibraryImport("libc", EntryPoint = "sendmsg", SetLastError = true)]
    private static partial nint SendMessage(SafeHandle socket, MessageHeader* message, int flags);

    /// <summary><c>struct iovec</c>.</summary>
    private struct IoVector
    {
        public byte* Start;
        public nuint Length;
    }

    /// <summary><c>struct msghdr</c> on 64-bit Linux.</summary>
    private struct MessageHeader
    {
        public void* Name;
        public uint NameLength;
        public IoVector* Vectors;
        public nuint VectorCount;
        public ControlMessage* Control;
        public nuint ControlLength;
        public int Flags;
    }

    /// <summary><c>struct cmsghdr</c> with one descriptor, padded to the size of a word (<c>CMSG_SPACE</c>).</summary>
    [StructLayout(LayoutKind.Sequential)]
    private struct ControlMessage
    {
        public nuint Length;
        public int Level;
        public int Type;
        public int Descriptor;
        public int Padding;
    }
}
