using System.Net.Sockets;

namespace Volant.Daemon;

/// <summary>The API's unix socket as a file: a killed daemon leaves it behind.</summary>
internal static class ListenSocket
{
    /// <summary>Makes the directory of the socket, and removes a socket that nobody serves.</summary>
    /// <exception cref="ConfigurationException">Another process serves it, or the path is something else, or not ours to change.</exception>
    public static void RemoveStale(ListenAddress listen)
    {
        if (listen.SocketPath is not { } path)
        {
            return;
        }

        try
        {
            Directory.CreateDirectory(Path.GetDirectoryName(path)!);
            if (!File.Exists(path))
            {
                return;
            }

            if (IsServed(path))
            {
                throw new ConfigurationException($"VOLANT_API_LISTEN: another process serves '{path}'; stop it, or choose another path.");
            }

            File.Delete(path);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new ConfigurationException($"VOLANT_API_LISTEN: '{path}' cannot be used ({e.Message}); expected a path in a directory of this user.");
        }
    }

    private static bool IsServed(string path)
    {
        using var socket = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
        try
        {
            socket.Connect(new UnixDomainSocketEndPoint(path));
            return true;
        }
        catch (SocketException e) when (e.SocketErrorCode == SocketError.ConnectionRefused)
        {
            // Nobody listens. Connecting to a file that is no socket is refused too, and such a file is not ours to remove.
            return new FileInfo(path).Length > 0 ? throw new ConfigurationException($"VOLANT_API_LISTEN: '{path}' is a file, not a socket; choose another path.") : false;
        }
    }
}
