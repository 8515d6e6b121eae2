using System.Net;
using System.Net.Sockets;

namespace Volant.Daemon.Networking;

/// <summary>One element of a set of <see cref="FirewallRules"/>, as nftables writes it.</summary>
/// <param name="Family"><c>bridge</c> or <c>inet</c>: in which of the two tables.</param>
/// <param name="Set">Name of the set.</param>
/// <param name="Value">The element, such as <c>"vabc" . 10.0.0.2</c>.</param>
internal readonly record struct FirewallElement(string Family, string Set, string Value);

/// <summary>The rules of one bridge in the language of nftables (<c>man 8 nft</c>). Pure.</summary>
/// <remarks>
/// Two tables of one name, which belong to the daemon of that bridge alone. What concerns a guest stands in sets, so that a guest comes and
/// goes without a change of the rules. Whatever has no element is not ours, and passes: other ports of a bridge that others made, other hosts.
/// </remarks>
/// <param name="Bridge">Name of the bridge: letters, digits, <c>-</c>, <c>_</c> and <c>.</c>.</param>
/// <param name="Isolated">Whether guests may not reach each other, not even by way of the host.</param>
/// <param name="ServesGuests">Whether the host answers DHCP and DNS on the bridge.</param>
internal sealed record FirewallRules(string Bridge, bool Isolated, bool ServesGuests)
{
    /// <summary>Family of the table that sees every frame of a guest first.</summary>
    public const string Frames = "bridge";

    /// <summary>Family of the table that sees packets to the host and through it.</summary>
    public const string Packets = "inet";

    /// <summary>Set of the taps that are watched.</summary>
    public const string Taps = "taps";

    /// <summary>Set of the Ethernet address of each tap's guest.</summary>
    public const string Macs = "macs";

    /// <summary>Set of the IPv4 addresses of each tap's guest.</summary>
    public const string Addresses = "addresses";

    /// <summary>Set of the IPv6 addresses of each tap's guest.</summary>
    public const string Addresses6 = "addresses6";

    /// <summary>Set of the IPv4 addresses of all guests.</summary>
    public const string Guests = "guests";

    /// <summary>Set of the IPv6 addresses of all guests.</summary>
    public const string Guests6 = "guests6";

    /// <summary>Name of the tables.</summary>
    public string Table => $"volant-{Bridge}";

    /// <summary>Commands that remove the tables, if there are any.</summary>
    public string Removal => $"""
        add table {Frames} {Table}
        add table {Packets} {Table}
        delete table {Frames} {Table}
        delete table {Packets} {Table}

        """;

    /// <summary>Commands that make the tables, or put right what is there; the elements of the sets stay.</summary>
    public string Text => $$"""
        add table {{Frames}} {{Table}}
        add table {{Packets}} {{Table}}
        flush table {{Frames}} {{Table}}
        flush table {{Packets}} {{Table}}
        {{FrameRules}}
        {{PacketRules}}

        """;

    private string FrameRules => $$"""
        table {{Frames}} {{Table}} {
            set {{Taps}} { type ifname; }
            set {{Macs}} { type ifname . ether_addr; }
            set {{Addresses}} { type ifname . ipv4_addr; }
            set {{Addresses6}} { type ifname . ipv6_addr; }
            chain prerouting {
                type filter hook prerouting priority -300; policy accept;
                iifname @{{Taps}} jump guest
            }
            chain guest {
                iifname . ether saddr != @{{Macs}} counter drop comment "not the guest's Ethernet address"
                ether type arp goto guest_arp
                ether type ip goto guest_ip
                ether type ip6 goto guest_ip6
                counter drop comment "neither ARP nor IP"
            }
            chain guest_arp {
                arp htype 1 arp ptype ip arp hlen 6 arp plen 4 iifname . arp saddr ether @{{Macs}} iifname . arp saddr ip @{{Addresses}} accept
                arp htype 1 arp ptype ip arp hlen 6 arp plen 4 arp operation request iifname . arp saddr ether @{{Macs}} arp saddr ip 0.0.0.0 accept comment "asks whether an address is free"
                counter drop comment "ARP in the name of another"
            }
            chain guest_ip {
                ip saddr 0.0.0.0 ip daddr 255.255.255.255 udp sport 68 udp dport 67 accept comment "DHCP client"
                udp sport 67 counter drop comment "DHCP server"
                iifname . ip saddr @{{Addresses}} accept
                counter drop comment "not the guest's IPv4 address"
            }
            chain guest_ip6 {
                icmpv6 type { nd-router-advert, nd-redirect } counter drop comment "router"
                udp sport 547 counter drop comment "DHCPv6 server"
                ip6 saddr :: icmpv6 type nd-neighbor-solicit accept comment "asks whether an address is free"
                iifname . ip6 saddr @{{Addresses6}} accept
                counter drop comment "not the guest's IPv6 address"
            }
        }
        """;

    private string PacketRules => $$"""
        table {{Packets}} {{Table}} {
            set {{Guests}} { type ipv4_addr; }
            set {{Guests6}} { type ipv6_addr; }
            set pings { type ipv4_addr; size 65535; flags dynamic,timeout; timeout 1m; }
            set pings6 { type ipv6_addr; size 65535; flags dynamic,timeout; timeout 1m; }
            chain input {
                type filter hook input priority -10; policy accept;
                iifname "{{Bridge}}" ip saddr @{{Guests}} goto guest_to_host
                iifname "{{Bridge}}" ip6 saddr @{{Guests6}} goto guest_to_host
            }
            chain guest_to_host {
                icmp type echo-request update @pings { ip saddr limit rate 10/second burst 20 packets } accept
                icmpv6 type echo-request update @pings6 { ip6 saddr limit rate 10/second burst 20 packets } accept
                icmp type echo-request counter drop comment "too many pings"
                icmpv6 type echo-request counter drop comment "too many pings"
                icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } accept
                ct state established,related accept
        {{(ServesGuests ? "        udp dport { 53, 67 } accept\n        tcp dport 53 accept" : string.Empty)}}
                counter drop comment "from a guest to the host"
            }
            chain forward {
                type filter hook forward priority -10; policy accept;
                iifname "{{Bridge}}" ip saddr @{{Guests}} goto guest_to_others
                iifname "{{Bridge}}" ip6 saddr @{{Guests6}} goto guest_to_others
                iifname != "{{Bridge}}" oifname "{{Bridge}}" ip daddr @{{Guests}} goto others_to_guest
                iifname != "{{Bridge}}" oifname "{{Bridge}}" ip6 daddr @{{Guests6}} goto others_to_guest
            }
            chain guest_to_others {
                ip daddr { 127.0.0.0/8, 169.254.0.0/16 } counter drop comment "to loopback or link-local addresses"
                ip6 daddr { ::1/128, fe80::/10 } counter drop comment "to loopback or link-local addresses"
        {{(Isolated ? string.Join('\n', new[] { $"ip daddr @{Guests}", $"ip6 daddr @{Guests6}" }.Select(to => $"        oifname \"{Bridge}\" {to} counter drop comment \"from guest to guest\"")) : string.Empty)}}
            }
            chain others_to_guest {
                ct state established,related accept
                ct status dnat accept
                counter drop comment "from elsewhere to a guest"
            }
            chain postrouting {
                type nat hook postrouting priority 100; policy accept;
                ip saddr @{{Guests}} oifname != "{{Bridge}}" masquerade
                ip6 saddr @{{Guests6}} oifname != "{{Bridge}}" masquerade
            }
        }
        """;

    /// <summary>The elements of a guest.</summary>
    /// <param name="tap">Its tap.</param>
    /// <param name="mac">Its Ethernet address.</param>
    /// <param name="addresses">Its IP addresses; none as long as it has none, then it may only ask for one.</param>
    public static IEnumerable<FirewallElement> ElementsOf(string tap, MacAddress mac, IEnumerable<IPAddress> addresses) =>
    [
        new(Frames, Taps, $"\"{tap}\""),
        new(Frames, Macs, $"\"{tap}\" . {mac}"),
        .. from address in addresses
           let isV6 = address.AddressFamily == AddressFamily.InterNetworkV6
           from element in new[] { new FirewallElement(Frames, isV6 ? Addresses6 : Addresses, $"\"{tap}\" . {address}"), GuestOf(address.ToString()) }
           select element,
    ];

    /// <summary>The element that makes an address a guest's.</summary>
    public static FirewallElement GuestOf(string address) => new(Packets, address.Contains(':', StringComparison.Ordinal) ? Guests6 : Guests, address);

    /// <summary>The command that adds an element; no fault when it is there.</summary>
    public string Add(FirewallElement element) => $"add element {element.Family} {Table} {element.Set} {{ {element.Value} }}\n";

    /// <summary>The commands that remove an element, whether or not it is there.</summary>
    public string Remove(FirewallElement element) => $"{Add(element)}delete element {element.Family} {Table} {element.Set} {{ {element.Value} }}\n";
}
