using System.Net;
using System.Net.Sockets;

namespace Volant.Daemon.Networking;

/// <summary>What dnsmasq is told (<c>man 8 dnsmasq</c>). Pure.</summary>
/// <param name="Bridge">Interface that it serves, and no other.</param>
/// <param name="Subnet">Subnet of the guests, and the host's address in it.</param>
/// <param name="Servers">Where it asks for names that are not guests'; null: where this host asks (<c>/etc/resolv.conf</c>); empty: nowhere.</param>
/// <param name="User">Whose rights it has once it listens; null for those that it was started with.</param>
/// <param name="Directory">Directory of its files.</param>
internal sealed record GuestServiceFiles(string Bridge, Subnet Subnet, IReadOnlyList<IPAddress>? Servers, string? User, string Directory)
{
    /// <summary>Domain of the names of guests: <c>web.volant.internal</c> is the VM <c>web</c>.</summary>
    public const string Domain = "volant.internal";

    /// <summary>The configuration; its path on the command line tells our process from all others.</summary>
    public string Configuration => Path.Combine(Directory, "dnsmasq.conf");

    /// <summary>What it says.</summary>
    public string Log => Path.Combine(Directory, "dnsmasq.log");

    /// <summary>Directory with a file of names for each guest.</summary>
    public string Names => Path.Combine(Directory, "names");

    /// <summary>Directory with a file of its DHCP lease for each guest.</summary>
    public string Leases => Path.Combine(Directory, "leases");

    /// <summary>Text of <see cref="Configuration"/>.</summary>
    /// <remarks>
    /// Leases are not written down: each guest gets the address that the store leased to its VM, as long as its file is there, and a guest
    /// that renews what this process never gave is answered all the same (authoritative).
    /// </remarks>
    public string Text => $"""
        # Written by volantd, which starts and ends the process. It serves guests on the bridge {Bridge} alone.
        interface={Bridge}
        except-interface=lo
        bind-interfaces
        {(User is null ? "# no other user" : $"user={User}")}
        no-hosts
        hostsdir={Names}
        domain={Domain}
        local=/{Domain}/
        domain-needed
        bogus-priv
        {(Servers is null ? "resolv-file=/etc/resolv.conf" : "no-resolv")}
        {string.Join('\n', (Servers ?? []).Select(server => $"server={server}"))}
        dhcp-range={Subnet.NetworkAddress},static,{Subnet.Netmask},1h
        dhcp-hostsdir={Leases}
        dhcp-ignore=tag:!known
        dhcp-ignore-names
        dhcp-option=option:router,{Subnet.HostAddress}
        dhcp-option=option:dns-server,{Subnet.HostAddress}
        dhcp-authoritative
        leasefile-ro
        no-ping
        quiet-dhcp
        log-facility=-

        """;

    /// <summary>Content of a guest's file of names: its addresses and name.</summary>
    public static string NamesOf(AttachedGuest guest) => string.Concat(guest.Addresses.Select(address => $"{address} {guest.Name}.{Domain}\n"));

    /// <summary>Content of a guest's file of leases: Ethernet and IPv4 address.</summary>
    public static string LeaseOf(AttachedGuest guest) => string.Concat(guest.Addresses.Where(address => address.AddressFamily == AddressFamily.InterNetwork).Take(1).Select(address => $"{MacAddress.FromUid(guest.Uid)},{address}\n"));
}
