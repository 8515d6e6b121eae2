using System.Diagnostics.CodeAnalysis;
using System.Net;
using System.Net.Sockets;

namespace Volant.Linux.IO;

/// <summary>Connections as streams, each of which owns its socket.</summary>
public static class SocketConnector
{
    /// <summary>Connects to a Unix socket.</summary>
    /// <param name="path">Path of the socket, at most 107 bytes (unix(7)).</param>
    /// <param name="cancellationToken">Gives up.</param>
    /// <exception cref="SocketException">Nobody listens there.</exception>
    /// <exception cref="ArgumentException">The path is empty or too long.</exception>
    [SuppressMessage("Reliability", "CA2000", Justification = "The stream owns the socket, and it is disposed of where there is no stream.")]
    public static Task<Stream> ConnectAsync(string path, CancellationToken cancellationToken) =>
        ConnectAsync(new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified), new UnixDomainSocketEndPoint(path), cancellationToken);

    /// <summary>Connects a socket, which is disposed of when that fails.</summary>
    /// <exception cref="SocketException">Nobody listens there.</exception>
    public static async Task<Stream> ConnectAsync(Socket socket, EndPoint address, CancellationToken cancellationToken)
    {
        ArgumentNullException.ThrowIfNull(socket);
        try
        {
            await socket.ConnectAsync(address, cancellationToken);
            return new NetworkStream(socket, ownsSocket: true);
        }
        catch
        {
            socket.Dispose();
            throw;
        }
    }
}
