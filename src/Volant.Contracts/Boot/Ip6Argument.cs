using System.Diagnostics.CodeAnalysis;
using System.Globalization;
using System.Net;
using System.Net.Sockets;

namespace Volant.Contracts.Boot;

/// <summary>The <c>volant.ip6=</c> kernel argument: <c>address/prefix,gateway</c>. The kernel's own <c>ip=</c> knows IPv4 alone.</summary>
/// <param name="Address">Guest address.</param>
/// <param name="PrefixLength">Length of the subnet prefix, 1 to 128.</param>
/// <param name="Gateway">Default gateway.</param>
public sealed record Ip6Argument(IPAddress Address, int PrefixLength, IPAddress Gateway)
{
    private const int Bits = 128;

    /// <summary>The value as it stands after <c>volant.ip6=</c>.</summary>
    public override string ToString() => string.Create(CultureInfo.InvariantCulture, $"{Address}/{PrefixLength},{Gateway}");

    /// <summary>Reads a value; false when it is not an IPv6 configuration in this form.</summary>
    public static bool TryParse([NotNullWhen(true)] string? text, [NotNullWhen(true)] out Ip6Argument? argument)
    {
        argument = text?.Split('/', ',') is [var first, var length, var second] && TryAddress(first, out var address) && TryAddress(second, out var gateway)
            && int.TryParse(length, NumberStyles.None, CultureInfo.InvariantCulture, out var prefix) && prefix is > 0 and <= Bits
            ? new Ip6Argument(address, prefix, gateway)
            : null;
        return argument is not null;
    }

    private static bool TryAddress(string text, [NotNullWhen(true)] out IPAddress? address) =>
        IPAddress.TryParse(text, out address) && address.AddressFamily == AddressFamily.InterNetworkV6;
}
