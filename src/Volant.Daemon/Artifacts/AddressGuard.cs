using System.Net;
using System.Net.NetworkInformation;
using System.Net.Sockets;
using Volant.Contracts.Api;

namespace Volant.Daemon.Artifacts;

/// <summary>Decides which hosts downloads may reach: public ones, and what the operator allows. A manifest must not make this host ask its own network for it.</summary>
/// <remarks>
/// The address is checked that is connected to, each time, redirects included: a name that says something else a moment later gains nothing.
/// Sources: the IANA special-purpose address registries (RFC 6890), RFC 6052 (NAT64), RFC 3056 (6to4), RFC 4380 (Teredo).
/// </remarks>
/// <param name="allowed">Networks besides the public ones.</param>
/// <param name="resolve">Looks up a host name.</param>
internal sealed class AddressGuard(IReadOnlyList<IPNetwork> allowed, Func<string, CancellationToken, Task<IPAddress[]>> resolve)
{
    private static readonly IPNetwork[] Special =
    [
        .. new[]
        {
            "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16",
            "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/3",
            "::/8", "64:ff9b::/32", "100::/64", "2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20", "5f00::/16", "fc00::/7", "fe80::/9", "ff00::/8",
        }.Select(IPNetwork.Parse),
    ];

    /// <summary>Opens a connection to a host that may be reached; for <see cref="SocketsHttpHandler.ConnectCallback"/>.</summary>
    /// <exception cref="VolantException"><c>address_not_allowed</c>: it has no such address.</exception>
    public async ValueTask<Stream> ConnectAsync(DnsEndPoint target, CancellationToken cancellationToken)
    {
        var addresses = IPAddress.TryParse(target.Host.Trim('[', ']'), out var literal) ? [literal] : await resolve(target.Host, cancellationToken);
        var reachable = addresses.Where(IsAllowed).ToArray();
        if (reachable.Length == 0)
        {
            throw new VolantException(
                ErrorCodes.AddressNotAllowed,
                $"'{target.Host}' has no address that downloads may reach ({string.Join(", ", addresses.Select(address => address.ToString()))}): only public ones, and those in VOLANT_DOWNLOAD_ALLOW. Add its network there, or upload the file.");
        }

        var socket = new Socket(SocketType.Stream, ProtocolType.Tcp) { NoDelay = true };
        try
        {
            await socket.ConnectAsync(reachable, target.Port, cancellationToken);
            return new NetworkStream(socket, ownsSocket: true);
        }
        catch
        {
            socket.Dispose();
            throw;
        }
    }

    /// <summary>Whether downloads may reach an address.</summary>
    internal bool IsAllowed(IPAddress address)
    {
        var real = address.IsIPv4MappedToIPv6 ? address.MapToIPv4() : address;
        return allowed.Any(network => network.Contains(real)) || (!Special.Any(network => network.Contains(real)) && !IsOurs(real));
    }

    /// <summary>An address of this host may be public, and the daemon or another service behind it.</summary>
    private static bool IsOurs(IPAddress address) =>
        NetworkInterface.GetAllNetworkInterfaces().Any(link => link.GetIPProperties().UnicastAddresses.Any(own => own.Address.Equals(address)));
}
