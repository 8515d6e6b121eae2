using System.Net;
using System.Security.Cryptography;
using System.Text;

namespace Volant.Daemon.Networking;

/// <summary>The IPv6 network between the host and its VMs: a prefix of unique local addresses (RFC 4193), 64 bits long.</summary>
/// <remarks>Everybody's address ends in his IPv4 address, <c>fd3c:51a0:77ee:0:0:0:c0a8:7f02</c> for 192.168.127.2: what is leased once is unique twice.</remarks>
internal sealed record UniqueLocalPrefix
{
    /// <summary>Length of the prefix: that of every link (RFC 4291 §2.5.4).</summary>
    public const int Length = 64;

    private const int SubnetBytes = 2;

    private static readonly IPNetwork Block = IPNetwork.Parse("fc00::/7");

    /// <exception cref="ArgumentException">It is no prefix of 64 bits in fc00::/7.</exception>
    public UniqueLocalPrefix(IPNetwork network)
    {
        if (network.PrefixLength != Length || !Block.Contains(network.BaseAddress))
        {
            throw new ArgumentException($"{network} is not a /{Length} of unique local addresses (fc00::/7), such as fd3c:51a0:77ee::/64.", nameof(network));
        }

        Network = network;
    }

    /// <summary>The prefix.</summary>
    public IPNetwork Network { get; }

    /// <summary>The prefix of a bridge of a machine: always the same, and hardly that of another (RFC 4193 §3.2).</summary>
    /// <param name="machineId">Identity of the machine, which the prefix does not tell (<c>machine-id(5)</c>).</param>
    /// <param name="bridge">Name of the bridge.</param>
    public static UniqueLocalPrefix Of(string machineId, string bridge)
    {
        var bytes = new byte[16];
        bytes[0] = 0xfd;
        HMACSHA256.HashData(Encoding.UTF8.GetBytes(machineId), Encoding.UTF8.GetBytes($"volant {bridge}")).AsSpan(0, (Length / 8) - 1 - SubnetBytes).CopyTo(bytes.AsSpan(1));
        return new UniqueLocalPrefix(new IPNetwork(new IPAddress(bytes), Length));
    }

    /// <summary>The address of whoever has an IPv4 address in the subnet.</summary>
    public IPAddress AddressOf(IPAddress ipv4)
    {
        var bytes = Network.BaseAddress.GetAddressBytes();
        ipv4.GetAddressBytes().CopyTo(bytes, bytes.Length - 4);
        return new IPAddress(bytes);
    }

    /// <summary>As <c>fd3c:51a0:77ee::/64</c>.</summary>
    public override string ToString() => Network.ToString();
}
