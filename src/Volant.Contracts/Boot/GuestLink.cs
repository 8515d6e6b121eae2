namespace Volant.Contracts.Boot;

/// <summary>Constants of the guest channel, and the handshake of the virtio-serial link.</summary>
/// <remarks>
/// A virtio-serial port is one byte pipe without connection boundaries. The host opens a connection by sending
/// <c>MAGIC KEY NONCE</c> and drops what it receives until <c>KEY NONCE</c> comes back; a guest that has no key yet takes the key
/// that follows the magic, later it looks for the key alone. On a match it ends the previous connection and starts a new one.
/// <c>KEY ~NONCE</c> from the guest says that the guest closed the connection. The key is random and known to the two ends only, so
/// no payload can contain it by accident or on purpose.
/// </remarks>
public static class GuestLink
{
    /// <summary>Name of the virtio-serial port, as in <c>/sys/class/virtio-ports/*/name</c>.</summary>
    public const string PortName = "org.volant.agent.0";

    /// <summary>Vsock port that the agent listens on: HTTP/2 with prior knowledge.</summary>
    public const int VsockPort = 8080;

    /// <summary>Length of the key and of the nonce, in bytes.</summary>
    public const int KeyLength = 16;

    /// <summary>Length of <c>KEY NONCE</c>, in bytes.</summary>
    public const int EchoLength = 2 * KeyLength;

    /// <summary>Length of the whole opening, <c>MAGIC KEY NONCE</c>, in bytes.</summary>
    public const int HelloLength = 3 * KeyLength;

    /// <summary>First bytes of an opening.</summary>
    public static ReadOnlySpan<byte> Magic => "\0volant-link-v1\n"u8;

    /// <summary>Writes the opening into <paramref name="destination"/>, which has <see cref="HelloLength"/> bytes.</summary>
    public static void WriteHello(Span<byte> destination, ReadOnlySpan<byte> key, ReadOnlySpan<byte> nonce)
    {
        Magic.CopyTo(destination);
        key.CopyTo(destination[KeyLength..]);
        nonce.CopyTo(destination[EchoLength..]);
    }

    /// <summary>Turns <c>KEY NONCE</c> into <c>KEY ~NONCE</c>.</summary>
    public static byte[] Goodbye(ReadOnlySpan<byte> echo)
    {
        var goodbye = echo.ToArray();
        for (var i = KeyLength; i < EchoLength; i++)
        {
            goodbye[i] ^= 0xff;
        }

        return goodbye;
    }
}
