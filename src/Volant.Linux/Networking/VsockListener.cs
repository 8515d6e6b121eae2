using System.ComponentModel;
using System.Diagnostics.CodeAnalysis;
using System.Runtime.InteropServices;
using Microsoft.Win32.SafeHandles;
using Volant.Linux.IO;

namespace Volant.Linux.Networking;

/// <summary>An accepted connection. The receiver disposes of the stream.</summary>
/// <param name="Stream">The bytes.</param>
/// <param name="PeerCid">Who connected: <see cref="VsockSocket.HostCid"/> for the host, seen from a guest.</param>
/// <param name="PeerPort">Its port.</param>
public readonly record struct VsockConnection(FdStream Stream, uint PeerCid, uint PeerPort);

/// <summary>Accepts connections to one vsock port, one call at a time.</summary>
public sealed partial class VsockListener : IDisposable
{
    /// <summary>Pause while this process or host has no descriptor left: the connection stays in the backlog.</summary>
    private static readonly TimeSpan Shortage = TimeSpan.FromMilliseconds(100);

    private readonly SafeFileHandle _socket;
    private readonly CancellationTokenSource _closed = new();
    private readonly TimeProvider _clock;

    internal VsockListener(SafeFileHandle socket, TimeProvider? clock = null)
    {
        _socket = socket;
        _clock = clock ?? TimeProvider.System;
    }

    /// <summary>
    /// The next connection; null after <see cref="Dispose"/>. Peers that left again are skipped, and a shortage of descriptors
    /// or memory is waited out, so that a loop over this never spins.
    /// </summary>
    /// <exception cref="Win32Exception">The socket is broken.</exception>
    /// <exception cref="OperationCanceledException"><paramref name="cancellationToken"/> was cancelled.</exception>
    [SuppressMessage("Reliability", "CA2000", Justification = "The receiver owns the stream.")]
    public async Task<VsockConnection?> AcceptAsync(CancellationToken cancellationToken)
    {
        try
        {
            using var either = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken, _closed.Token);
            while (true)
            {
                either.Token.ThrowIfCancellationRequested();
                var (fd, errno, peer) = TryAccept();
                switch (errno)
                {
                    case 0:
                        return new VsockConnection(FdStream.Own(new SafeFileHandle(fd, ownsHandle: true)), peer.Cid, peer.Port);
                    case Errno.Again:
                        await DescriptorReadiness.WaitAsync(_socket, DescriptorReadiness.Readable, either.Token);
                        break;
                    case Errno.Interrupted or Errno.ConnectionAborted:
                        break;
                    case Errno.TooManyFiles or Errno.FileTableFull or Errno.NoMemory or Errno.NoBuffers:
                        await Task.Delay(Shortage, _clock, either.Token);
                        break;
                    default:
                        throw LinuxError.Of(errno, "accept4(AF_VSOCK)");
                }
            }
        }
        catch (Exception e) when (e is OperationCanceledException or ObjectDisposedException && _closed.IsCancellationRequested)
        {
            return null;
        }
    }

    /// <summary>Closes the port; a pending <see cref="AcceptAsync"/> returns null. Accepted connections stay.</summary>
    public void Dispose()
    {
        _closed.Cancel();
        _closed.Dispose();
        _socket.Dispose();
    }

    private unsafe (int Descriptor, int Errno, VsockSocket.VsockAddress Peer) TryAccept()
    {
        VsockSocket.VsockAddress peer = default;
        var size = sizeof(VsockSocket.VsockAddress);
        var fd = Accept(_socket, &peer, &size, VsockSocket.AcceptFlags);
        return (fd, fd < 0 ? Marshal.GetLastPInvokeError() : 0, peer);
    }

    [LibraryImport("libc", EntryPoint = "accept4", SetLastError = true)]
    private static unsafe partial int Accept(SafeFileHandle socket, VsockSocket.VsockAddress* address, int* size, int flags);
}
