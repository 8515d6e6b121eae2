using System.Buffers.Binary;
using System.Net;
using System.Numerics;

namespace Volant.Agent.Dhcp;

/// <summary>A route that a server announces.</summary>
/// <param name="Destination">Network address.</param>
/// <param name="PrefixLength">0 to 32.</param>
/// <param name="Gateway">Next hop; null for a network on the link itself.</param>
internal sealed record DhcpRoute(IPAddress Destination, int PrefixLength, IPAddress? Gateway);

/// <summary>What a server lends, checked: everything in it can be applied.</summary>
internal sealed record DhcpLease
{
    /// <summary>Shortest lease that is taken; a server that lends for less would have the guest ask without end.</summary>
    public static readonly TimeSpan Shortest = TimeSpan.FromSeconds(4);

    private const int MaxNameServers = 3; // MAXNS of resolv.conf(5)
    private const int MaxRoutes = 32;
    private const int MaxDomain = 253;
    private const uint Forever = uint.MaxValue;

    /// <summary>The address.</summary>
    public required IPAddress Address { get; init; }

    /// <summary>Length of the subnet prefix, 1 to 32.</summary>
    public required int PrefixLength { get; init; }

    /// <summary>Who lends it.</summary>
    public required IPAddress Server { get; init; }

    /// <summary>Routes, the default route among them.</summary>
    public IReadOnlyList<DhcpRoute> Routes { get; init; } = [];

    /// <summary>Name servers, at most three.</summary>
    public IReadOnlyList<IPAddress> NameServers { get; init; } = [];

    /// <summary>Domain to search, if any.</summary>
    public string? Domain { get; init; }

    /// <summary>How long it lasts; null for ever.</summary>
    public TimeSpan? Duration { get; init; }

    /// <summary>When to ask its server to renew it (T1).</summary>
    public TimeSpan Renewal { get; init; }

    /// <summary>When to ask any server (T2).</summary>
    public TimeSpan Rebinding { get; init; }

    /// <summary>Reads a lease; null when the answer cannot be used, and why.</summary>
    public static DhcpLease? Read(DhcpReply reply, out string fault)
    {
        fault = string.Empty;
        var address = reply.YourAddress;
        if (!IsHost(address))
        {
            fault = $"its address {address} is none that a guest can have";
        }
        else if (Addresses(reply, DhcpOption.Server) is not [var server, ..] || !IsHost(server))
        {
            fault = "it does not name its server";
        }
        else if (ReadPrefix(reply, address) is not { } prefix)
        {
            fault = "its subnet mask is none for that address";
        }
        else if (Seconds(reply, DhcpOption.LeaseTime) is not { } seconds || TimeSpan.FromSeconds(seconds) < Shortest)
        {
            fault = $"it does not last {Shortest.TotalSeconds} s";
        }
        else
        {
            var lasts = TimeSpan.FromSeconds(seconds);
            var (renewal, rebinding) = Times(reply, lasts);
            return new DhcpLease
            {
                Address = address,
                PrefixLength = prefix,
                Server = server,
                Routes = ReadRoutes(reply, address, prefix),
                NameServers = [.. Addresses(reply, DhcpOption.NameServers).Where(IsHost).Take(MaxNameServers)],
                Domain = ReadDomain(reply),
                Duration = seconds == Forever ? null : lasts,
                Renewal = renewal,
                Rebinding = rebinding,
            };
        }

        return null;
    }

    /// <summary>T1 and T2 as the server wants them, where they make sense; else half and seven eighths of the lease (RFC 2131 §4.4.5).</summary>
    private static (TimeSpan Renewal, TimeSpan Rebinding) Times(DhcpReply reply, TimeSpan lasts)
    {
        var renewal = TimeSpan.FromSeconds(Seconds(reply, DhcpOption.RenewalTime) ?? 0);
        var rebinding = TimeSpan.FromSeconds(Seconds(reply, DhcpOption.RebindingTime) ?? 0);
        return renewal >= Shortest / 2 && renewal < rebinding && rebinding < lasts ? (renewal, rebinding) : (lasts / 2, lasts * 7 / 8);
    }

    private static int? ReadPrefix(DhcpReply reply, IPAddress address)
    {
        int prefix;
        var own = ToNumber(address);
        if (reply.Options.GetValueOrDefault(DhcpOption.SubnetMask) is { } bytes)
        {
            if (bytes.Length != 4)
            {
                return null;
            }

            var mask = BinaryPrimitives.ReadUInt32BigEndian(bytes);
            prefix = BitOperations.PopCount(mask);
            if (prefix == 0 || mask != Mask(prefix))
            {
                return null;
            }
        }
        else
        {
            prefix = own >> 31 == 0 ? 8 : own >> 30 == 2 ? 16 : 24;
        }

        // Neither the network itself nor its broadcast address; where there are only two addresses or one, each is a host (RFC 3021).
        var host = own & ~Mask(prefix);
        return prefix >= 31 || (host != 0 && host != ~Mask(prefix)) ? prefix : null;
    }

    /// <summary>Classless routes, which take the place of the router when there are any (RFC 3442).</summary>
    private static List<DhcpRoute> ReadRoutes(DhcpReply reply, IPAddress own, int ownPrefix)
    {
        var routes = new List<DhcpRoute>();
        if (reply.Options.GetValueOrDefault(DhcpOption.Routes) is { } bytes)
        {
            for (var rest = bytes.AsSpan(); !rest.IsEmpty && routes.Count < MaxRoutes;)
            {
                var prefix = rest[0];
                var length = (prefix + 7) / 8;
                if (prefix > 32 || rest.Length < 1 + length + 4)
                {
                    break;
                }

                var destination = new byte[4];
                rest.Slice(1, length).CopyTo(destination);
                Add(new IPAddress(destination), prefix, new IPAddress(rest.Slice(1 + length, 4)));
                rest = rest[(1 + length + 4)..];
            }
        }
        else if (Addresses(reply, DhcpOption.Routers) is [var router, ..])
        {
            Add(IPAddress.Any, 0, router);
        }

        return routes;

        void Add(IPAddress destination, int prefix, IPAddress gateway)
        {
            var network = FromNumber(ToNumber(destination) & Mask(prefix));
            if (gateway.Equals(IPAddress.Any))
            {
                routes.Add(new DhcpRoute(network, prefix, null));
            }
            else if (IsHost(gateway))
            {
                // A router outside of the subnet is reached over the link first.
                if ((ToNumber(gateway) & Mask(ownPrefix)) != (ToNumber(own) & Mask(ownPrefix)))
                {
                    routes.Add(new DhcpRoute(gateway, 32, null));
                }

                routes.Add(new DhcpRoute(network, prefix, gateway));
            }
        }
    }

    private static string? ReadDomain(DhcpReply reply)
    {
        // It goes into a file that has syntax: nothing but a name may pass.
        var text = System.Text.Encoding.Latin1.GetString(reply.Options.GetValueOrDefault(DhcpOption.Domain) ?? []).TrimEnd('\0');
        return text.Length is > 0 and <= MaxDomain && text.All(c => char.IsAsciiLetterOrDigit(c) || c is '-' or '.') ? text : null;
    }

    private static List<IPAddress> Addresses(DhcpReply reply, byte option)
    {
        var list = new List<IPAddress>();
        for (var rest = (reply.Options.GetValueOrDefault(option) ?? []).AsSpan(); rest.Length >= 4; rest = rest[4..])
        {
            list.Add(new IPAddress(rest[..4]));
        }

        return list;
    }

    private static uint? Seconds(DhcpReply reply, byte option) =>
        reply.Options.GetValueOrDefault(option) is { Length: 4 } bytes ? BinaryPrimitives.ReadUInt32BigEndian(bytes) : null;

    /// <summary>Whether an address can belong to one host: not 0/8, loopback, multicast or reserved.</summary>
    private static bool IsHost(IPAddress address) => address.GetAddressBytes()[0] is not (0 or 127 or >= 224);

    private static uint Mask(int prefix) => prefix == 0 ? 0 : uint.MaxValue << (32 - prefix);

    private static uint ToNumber(IPAddress address) => BinaryPrimitives.ReadUInt32BigEndian(address.GetAddressBytes());

    private static IPAddress FromNumber(uint number) => new([(byte)(number >> 24), (byte)(number >> 16), (byte)(number >> 8), (byte)number]);
}
