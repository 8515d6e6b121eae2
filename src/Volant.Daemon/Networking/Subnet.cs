using System.Buffers.Binary;
using System.Net;
using System.Net.Sockets;

namespace Volant.Daemon.Networking;

/// <summary>The IPv4 network between the host and its VMs. The host has one address in it; all other host addresses are for VMs.</summary>
internal sealed record Subnet
{
    /// <summary>Shortest prefix: the largest private network, 10.0.0.0/8.</summary>
    public const int MinPrefixLength = 8;

    /// <summary>Longest prefix: a /30 has two addresses, one for the host and one for a VM; a /31 has no broadcast address to spare.</summary>
    public const int MaxPrefixLength = 30;

    private readonly uint _network;
    private readonly uint _broadcast;
    private readonly uint _host;

    /// <summary>A network and the host's address in it.</summary>
    /// <exception cref="ArgumentException">They do not fit; the message names the value and the remedy.</exception>
    public Subnet(IPNetwork network, IPAddress hostAddress)
    {
        ArgumentNullException.ThrowIfNull(hostAddress);
        if (network.BaseAddress.AddressFamily != AddressFamily.InterNetwork)
        {
            throw new ArgumentException($"Subnet {network} is not an IPv4 network; use one such as 192.168.127.0/24.", nameof(network));
        }

        if (network.PrefixLength is < MinPrefixLength or > MaxPrefixLength)
        {
            throw new ArgumentException(
                $"Subnet {network} has a prefix of {network.PrefixLength} bits; use {MinPrefixLength} to {MaxPrefixLength}.", nameof(network));
        }

        PrefixLength = network.PrefixLength;
        _network = ToNumber(network.BaseAddress);
        _broadcast = _network | (uint.MaxValue >> PrefixLength);
        _host = TryNumber(hostAddress) ?? 0;
        if (!IsHostNumber(_host))
        {
            throw new ArgumentException(
                $"Host address {hostAddress} cannot be used in subnet {network}; use one from {ToAddress(_network + 1)} to {ToAddress(_broadcast - 1)}.",
                nameof(hostAddress));
        }
    }

    /// <summary>Length of the prefix, 8 to 30.</summary>
    public int PrefixLength { get; }

    /// <summary>Ranges that the operator keeps for others than VMs, first and last address each; in any order, and they may overlap.</summary>
    public IReadOnlyList<(IPAddress First, IPAddress Last)> Reserved { get; init; } = [];

    /// <summary>The IPv6 network beside it; null for none.</summary>
    public UniqueLocalPrefix? IPv6 { get; init; }

    /// <summary>First address, which is nobody's.</summary>
    public IPAddress NetworkAddress => ToAddress(_network);

    /// <summary>Last address, which is everybody's.</summary>
    public IPAddress BroadcastAddress => ToAddress(_broadcast);

    /// <summary>The host's address, which is the gateway of the VMs.</summary>
    public IPAddress HostAddress => ToAddress(_host);

    /// <summary>Mask, such as 255.255.255.0.</summary>
    public IPAddress Netmask => ToAddress(_network ^ _broadcast ^ uint.MaxValue);

    /// <summary>How many VMs can have an address.</summary>
    public int UsableCount => (int)(_broadcast - _network) - 2;

    /// <summary>Addresses for VMs in ascending order, made as they are read.</summary>
    public IEnumerable<IPAddress> UsableAddresses
    {
        get
        {
            for (var address = _network + 1; address < _broadcast; address++)
            {
                if (address != _host)
                {
                    yield return ToAddress(address);
                }
            }
        }
    }

    /// <summary>The same as numbers in host byte order: all from the first to the last are for VMs but those in the reserved ranges, which hold the host's.</summary>
    public (uint First, uint Last, IReadOnlyList<(uint First, uint Last)> Reserved) Range() =>
        (_network + 1, _broadcast - 1, [.. Reserved.Select(range => (ToNumber(range.First), ToNumber(range.Last))).Append((_host, _host))]);

    /// <summary>The network that a host's address with its prefix lies in.</summary>
    /// <exception cref="ArgumentException">They do not fit; the message names the value and the remedy.</exception>
    public static Subnet Around(IPAddress hostAddress, int prefixLength)
    {
        ArgumentNullException.ThrowIfNull(hostAddress);
        if (prefixLength is < MinPrefixLength or > MaxPrefixLength)
        {
            throw new ArgumentException(
                $"{hostAddress}/{prefixLength} has a prefix of {prefixLength} bits; use {MinPrefixLength} to {MaxPrefixLength}.", nameof(prefixLength));
        }

        var network = ToNumber(hostAddress) & (uint.MaxValue << (32 - prefixLength));
        return new Subnet(new IPNetwork(ToAddress(network), prefixLength), hostAddress);
    }

    /// <summary>Whether an address lies in the network, whoever's it is.</summary>
    public bool Contains(IPAddress address) => TryNumber(address) is { } number && number >= _network && number <= _broadcast;

    /// <summary>Whether a VM may have it: in the network, and neither its first nor its last nor the host's address.</summary>
    public bool IsUsable(IPAddress address) => TryNumber(address) is { } number && number != _host && IsHostNumber(number);

    /// <summary>As <c>192.168.127.0/24</c>.</summary>
    public override string ToString() => $"{NetworkAddress}/{PrefixLength}";

    internal static uint ToNumber(IPAddress address)
    {
        Span<byte> bytes = stackalloc byte[4];
        return address.TryWriteBytes(bytes, out _)
            ? BinaryPrimitives.ReadUInt32BigEndian(bytes)
            : throw new ArgumentException($"{address} is not an IPv4 address.", nameof(address));
    }

    private static uint? TryNumber(IPAddress address) => address.AddressFamily == AddressFamily.InterNetwork ? ToNumber(address) : null;

    private static IPAddress ToAddress(uint number) =>
        new([(byte)(number >> 24), (byte)(number >> 16), (byte)(number >> 8), (byte)number]);

    private bool IsHostNumber(uint number) => number > _network && number < _broadcast;
}
