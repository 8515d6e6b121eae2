using System.Diagnostics.CodeAnalysis;
using System.Net;
using System.Net.Sockets;
using System.Text;
using Volant.Linux.IO;
using Volant.Linux.Networking;

namespace Volant.Daemon.Guests;

/// <summary>Opens byte streams to the agent of a guest.</summary>
[SuppressMessage("Reliability", "CA2000", Justification = "Each stream owns the one below, down to the socket, and the caller the outermost.")]
internal static class GuestChannel
{
    // "OK 4294967295\n" is 14 bytes.
    private const int MaxReply = 32;

    /// <summary>Opens a connection.</summary>
    /// <param name="endpoint">Where to. A <see cref="GuestEndpoint.SerialPort"/> carries one connection at a time: a second one waits for the end of the first.</param>
    /// <param name="cancellationToken">The time limit: a guest that is still starting is waited for.</param>
    /// <exception cref="IOException">Nobody listens, or the other side does not keep to the protocol; the message names the endpoint.</exception>
    public static async Task<Stream> ConnectAsync(GuestEndpoint endpoint, CancellationToken cancellationToken)
    {
        try
        {
            return endpoint switch
            {
                GuestEndpoint.SerialPort port =>
                    await SerialLinkStream.OpenAsync(await SocketConnector.ConnectAsync(port.SocketPath, cancellationToken), port.Key, cancellationToken),
                GuestEndpoint.Vsock vsock => await VsockSocket.ConnectAsync((uint)vsock.Cid, (uint)vsock.Port, cancellationToken),
                GuestEndpoint.HybridVsock hybrid => await OpenHybridAsync(hybrid, cancellationToken),
                GuestEndpoint.Tcp tcp => await SocketConnector.ConnectAsync(
                    new Socket(tcp.Address.AddressFamily, SocketType.Stream, ProtocolType.Tcp) { NoDelay = true },
                    new IPEndPoint(tcp.Address, tcp.Port),
                    cancellationToken),
                _ => throw new ArgumentOutOfRangeException(nameof(endpoint)),
            };
        }
        catch (Exception e) when (e is IOException or SocketException or System.ComponentModel.Win32Exception)
        {
            throw new IOException($"No connection to the guest's agent over {endpoint}: {e.Message}", e);
        }
    }

    /// <summary>Cloud Hypervisor, docs/vsock.md: <c>CONNECT port\n</c>, answered by <c>OK n\n</c>, or by the end when nobody listens.</summary>
    private static async Task<Stream> OpenHybridAsync(GuestEndpoint.HybridVsock endpoint, CancellationToken cancellationToken)
    {
        var stream = await SocketConnector.ConnectAsync(endpoint.SocketPath, cancellationToken);
        try
        {
            await stream.WriteAsync(Encoding.ASCII.GetBytes($"CONNECT {endpoint.Port}\n"), cancellationToken);

            // Byte by byte: what follows the line is the guest's already.
            var reply = new byte[MaxReply];
            for (var length = 0; length < reply.Length; length++)
            {
                if (await stream.ReadAsync(reply.AsMemory(length, 1), cancellationToken) == 0)
                {
                    throw new IOException("the hypervisor closed the connection; nothing listens on this port in the guest.");
                }

                if (reply[length] == '\n')
                {
                    return IsAccepted(reply.AsSpan(0, length))
                        ? stream
                        : throw new IOException($"the hypervisor answered '{Printable(reply.AsSpan(0, length))}' instead of 'OK n'.");
                }
            }

            throw new IOException($"the hypervisor's answer has more than {MaxReply} bytes.");
        }
        catch
        {
            await stream.DisposeAsync();
            throw;
        }
    }

    private static bool IsAccepted(ReadOnlySpan<byte> reply) =>
        reply.Length > 3 && reply.StartsWith("OK "u8) && !reply[3..].ContainsAnyExceptInRange((byte)'0', (byte)'9');

    private static string Printable(ReadOnlySpan<byte> text) =>
        string.Concat(Encoding.Latin1.GetString(text).Select(c => char.IsControl(c) ? '?' : c));
}
