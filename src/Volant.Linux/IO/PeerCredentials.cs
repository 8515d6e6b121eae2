using System.Buffers.Binary;
using System.Net.Sockets;

namespace Volant.Linux.IO;

/// <summary>Who is at the other end of a connected Unix socket, as the kernel knows it (<c>SO_PEERCRED</c>, unix(7)).</summary>
/// <param name="Pid">Process that called listen(2), when asked on the connecting side; it need not have accepted yet.</param>
/// <param name="UserId">Its effective user id at that time.</param>
/// <param name="GroupId">Its effective group id at that time.</param>
public readonly record struct PeerCredentials(int Pid, int UserId, int GroupId)
{
    private const int SolSocket = 1;
    private const int SoPeerCred = 17;

    /// <summary>Asks the kernel.</summary>
    /// <exception cref="SocketException">The socket is not a connected Unix socket.</exception>
    public static PeerCredentials Of(Socket socket)
    {
        ArgumentNullException.ThrowIfNull(socket);
        Span<byte> credentials = stackalloc byte[12];
        socket.GetRawSocketOption(SolSocket, SoPeerCred, credentials);
        return new PeerCredentials(
            BinaryPrimitives.ReadInt32LittleEndian(credentials),
            BinaryPrimitives.ReadInt32LittleEndian(credentials[4..]),
            BinaryPrimitives.ReadInt32LittleEndian(credentials[8..]));
    }
}
