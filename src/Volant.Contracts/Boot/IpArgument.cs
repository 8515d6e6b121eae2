using System.Diagnostics.CodeAnalysis;
using System.Net;
using System.Net.Sockets;

namespace Volant.Contracts.Boot;

/// <summary>The <c>ip=</c> kernel argument: <c>client:server:gateway:netmask:hostname:device:autoconf:dns0:dns1</c>.</summary>
/// <remarks>Source: Linux, Documentation/admin-guide/nfs/nfsroot.rst.</remarks>
/// <param name="Address">Guest address; null with <paramref name="Dhcp"/>.</param>
/// <param name="Gateway">Default gateway, if any.</param>
/// <param name="PrefixLength">Length of the subnet prefix, 0 to 32.</param>
/// <param name="Hostname">Host name, if any.</param>
/// <param name="Device">Interface name, if any.</param>
/// <param name="Dhcp">Whether the address comes from DHCP.</param>
public sealed record IpArgument(IPAddress? Address, IPAddress? Gateway, int PrefixLength, string? Hostname, string? Device, bool Dhcp)
{
    private const int AutoconfField = 6;
    private const int NameServerField = 7;

    /// <summary>Who is asked for names first, if anybody.</summary>
    public IPAddress? NameServer { get; init; }

    /// <summary>Who is asked when the first does not answer.</summary>
    public IPAddress? OtherNameServer { get; init; }

    /// <summary>Value for DHCP.</summary>
    public static IpArgument FromDhcp { get; } = new(null, null, 0, null, null, Dhcp: true);

    /// <summary>A static configuration of <c>eth0</c>.</summary>
    public static IpArgument Static(IPAddress address, IPAddress gateway, int prefixLength, string hostname, IPAddress? nameServer = null) =>
        new(address, gateway, prefixLength, hostname, "eth0", Dhcp: false) { NameServer = nameServer };

    /// <summary>The value as it stands after <c>ip=</c>.</summary>
    public override string ToString() =>
        this == FromDhcp ? "dhcp" : Dhcp ? $"::::{Hostname}:{Device}:dhcp" : $"{Address}::{Gateway}:{MaskOf(PrefixLength)}:{Hostname}:{Device}:off{ToString(NameServer)}{ToString(OtherNameServer)}";

    /// <summary>Reads a value; false when it is not an IPv4 configuration in this form.</summary>
    public static bool TryParse([NotNullWhen(true)] string? text, [NotNullWhen(true)] out IpArgument? argument)
    {
        argument = null;
        if (text is "dhcp" or "on" or "any")
        {
            argument = FromDhcp;
            return true;
        }

        var fields = text?.Split(':') ?? [];
        if (fields.Length > AutoconfField && fields[0].Length == 0 && fields[AutoconfField] is "dhcp" or "on" or "any")
        {
            argument = FromDhcp with { Hostname = Field(4), Device = Field(5), NameServer = Server(NameServerField), OtherNameServer = Server(NameServerField + 1) };
            return true;
        }

        if (fields.Length < 4 || !TryAddress(fields[0], out var address) || address is null ||
            !TryAddress(fields[2], out var gateway) || !TryAddress(fields[3], out var mask) || !TryPrefix(mask, out var prefix))
        {
            return false;
        }

        argument = new IpArgument(address, gateway, prefix, Field(4), Field(5), Dhcp: false) { NameServer = Server(NameServerField), OtherNameServer = Server(NameServerField + 1) };
        return true;

        // A broken one is no reason to have no network.
        IPAddress? Server(int index) => TryAddress(Field(index) ?? string.Empty, out var server) && !IPAddress.Any.Equals(server) ? server : null;

        string? Field(int index) => index < fields.Length && fields[index].Length > 0 ? fields[index] : null;
    }

    private static string ToString(IPAddress? server) => server is null ? string.Empty : $":{server}";

    private static bool TryAddress(string text, out IPAddress? address)
    {
        address = null;
        return text.Length == 0 || (IPAddress.TryParse(text, out address) && address.AddressFamily == AddressFamily.InterNetwork);
    }

    private static IPAddress MaskOf(int prefix)
    {
        var mask = prefix == 0 ? 0u : uint.MaxValue << (32 - prefix);
        return new IPAddress([(byte)(mask >> 24), (byte)(mask >> 16), (byte)(mask >> 8), (byte)mask]);
    }

    private static bool TryPrefix(IPAddress? mask, out int prefix)
    {
        prefix = 24;
        if (mask is null)
        {
            return true;
        }

        var b = mask.GetAddressBytes();
        var bits = ((uint)b[0] << 24) | ((uint)b[1] << 16) | ((uint)b[2] << 8) | b[3];
        prefix = System.Numerics.BitOperations.PopCount(bits);
        return bits == (prefix == 0 ? 0u : uint.MaxValue << (32 - prefix));
    }
}
