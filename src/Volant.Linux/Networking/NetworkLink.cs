using System.Net;

namespace Volant.Linux.Networking;

/// <summary>A network interface as the kernel describes it.</summary>
public sealed record NetworkLink
{
    /// <summary>Interface index: unique in its network namespace, not reused for another interface while the host runs.</summary>
    public required int Index { get; init; }

    /// <summary>Interface name.</summary>
    public required string Name { get; init; }

    /// <summary>Kind of a virtual interface, such as <c>bridge</c>, <c>tun</c>, <c>veth</c>; null for hardware and loopback.</summary>
    public string? Kind { get; init; }

    /// <summary>Whether it is a tap: kind <c>tun</c> with Ethernet frames.</summary>
    public bool IsTap { get; init; }

    /// <summary>Whether it is a bridge.</summary>
    public bool IsBridge => Kind == "bridge";

    /// <summary>Whether it is the loopback interface.</summary>
    public bool IsLoopback { get; init; }

    /// <summary>Index of the bridge or bond that it belongs to, if any.</summary>
    public int? Master { get; init; }

    /// <summary>Whether it is set up; says nothing about a carrier.</summary>
    public bool IsUp { get; init; }

    /// <summary>Whether it has a carrier: of a tap, whether a process holds it open while it is up.</summary>
    public bool HasCarrier { get; init; }

    /// <summary>Whether it is a port of a bridge that exchanges no frames with the other isolated ones.</summary>
    public bool IsIsolated { get; init; }

    /// <summary>Largest packet in bytes.</summary>
    public int Mtu { get; init; }

    /// <summary>Ethernet address as <c>02:00:5e:00:53:01</c>, lower case; null when it has none of six bytes.</summary>
    public string? Mac { get; init; }
}

/// <summary>An address of an interface.</summary>
/// <param name="LinkIndex">Index of the interface.</param>
/// <param name="Address">The address.</param>
/// <param name="PrefixLength">Length of the subnet prefix, 0 to 32, or to 128 of IPv6.</param>
public sealed record LinkAddress(int LinkIndex, IPAddress Address, int PrefixLength);

/// <summary>A route.</summary>
/// <param name="LinkIndex">Index of the interface that it leads to.</param>
/// <param name="Destination">Network address; 0.0.0.0 or :: of the default route.</param>
/// <param name="PrefixLength">Length of the prefix, 0 to 32, or to 128 of IPv6.</param>
public sealed record LinkRoute(int LinkIndex, IPAddress Destination, int PrefixLength);

/// <summary>What <see cref="Netlink.SetLink"/> changes; null leaves a property as it is.</summary>
public readonly record struct LinkChange
{
    /// <summary>Sets the interface up or down.</summary>
    public bool? Up { get; init; }

    /// <summary>Largest packet in bytes.</summary>
    public int? Mtu { get; init; }

    /// <summary>Index of the bridge to join; 0 takes it out of the present one.</summary>
    public int? Master { get; init; }

    /// <summary>Whether it exchanges no frames with the other isolated ports of its bridge, which it must have joined before.</summary>
    public bool? Isolated { get; init; }

    /// <summary>Ethernet address, six bytes; empty leaves it.</summary>
    public ReadOnlyMemory<byte> Mac { get; init; }
}
