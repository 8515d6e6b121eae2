using System.Net.Sockets;
using System.Text;

namespace Volant.Daemon;

/// <summary>Tells systemd how far the daemon is (<c>sd_notify(3)</c>): one datagram to the socket that it named.</summary>
internal static class ServiceManager
{
    /// <summary>The API answers. Until then <c>systemctl start</c> waits.</summary>
    public const string Ready = "READY=1";

    /// <summary>The end has begun.</summary>
    public const string Stopping = "STOPPING=1";

    /// <summary>Sends a state; does nothing where nobody asked for it. A manager that does not take it is none of the daemon's business.</summary>
    /// <param name="socket">Path of the socket, or a name that starts with <c>@</c> in the abstract name space; null when there is none.</param>
    /// <param name="state">One of the constants here.</param>
    /// <returns>Whether it was sent.</returns>
    public static bool Tell(string? socket, string state)
    {
        if (socket is null || socket[0] is not ('/' or '@'))
        {
            return false;
        }

        try
        {
            using var sender = new Socket(AddressFamily.Unix, SocketType.Dgram, ProtocolType.Unspecified) { SendTimeout = 1000 };
            sender.SendTo(Encoding.ASCII.GetBytes(state), new UnixDomainSocketEndPoint(socket[0] == '@' ? "\0" + socket[1..] : socket));
            return true;
        }
        catch (Exception e) when (e is SocketException or ArgumentException)
        {
            return false;
        }
    }
}
