using System.Diagnostics.CodeAnalysis;
using System.Net;
using System.Net.Sockets;
using System.Runtime.InteropServices;

namespace Volant.Linux.IO;

/// <summary>Connections as streams, each of which owns its socket.</summary>
public static class SocketConnector
{
    /// <summary>Connects to a Unix socket.</summary>
    /// <param name="path">Path of the socket, at most 107 bytes (unix(7)).</param>
    /// <param name="cancellationToken">Gives up.</param>
    /// <param name="descriptor">Goes to the other side with the first bytes that are written (<c>SCM_RIGHTS</c>); must stay open until then, and stays the caller's.</param>
    /// <exception cref="SocketException">Nobody listens there.</exception>
    /// <exception cref="ArgumentException">The path is empty or too long.</exception>
    [SuppressMessage("Reliability", "CA2000", Justification = "The stream owns the socket, and it is disposed of where there is no stream.")]
    public static Task<Stream> ConnectAsync(string path, CancellationToken cancellationToken, SafeHandle? descriptor = null) =>
        ConnectAsync(new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified), new UnixDomainSocketEndPoint(path), cancellationToken, descriptor);

    /// <summary>Connects a socket, which is disposed of when that fails.</summary>
    /// <param name="socket">A socket; of the Unix family when there is a descriptor.</param>
    /// <param name="address">Where to.</param>
    /// <param name="cancellationToken">Gives up.</param>
    /// <param name="descriptor">As above.</param>
    /// <exception cref="SocketException">Nobody listens there.</exception>
    public static async Task<Stream> ConnectAsync(Socket socket, EndPoint address, CancellationToken cancellationToken, SafeHandle? descriptor = null)
    {
        ArgumentNullException.ThrowIfNull(socket);
        try
        {
            await socket.ConnectAsync(address, cancellationToken);
            return descriptor is null ? new NetworkStream(socket, ownsSocket: true) : new DescriptorStream(socket, descriptor);
        }
        catch
        {
            socket.Dispose();
            throw;
        }
    }
}
