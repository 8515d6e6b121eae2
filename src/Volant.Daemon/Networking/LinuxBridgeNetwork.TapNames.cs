using System.Buffers;
using System.Buffers.Binary;

namespace Volant.Daemon.Networking;

internal sealed partial class LinuxBridgeNetwork
{
    private const char TapPrefix = 'v';
    private const int TapNameLength = 15;
    private const string TapAlphabet = "abcdefghijklmnopqrstuvwxyz234567";
    private static readonly SearchValues<char> TapCharacters = SearchValues.Create(TapAlphabet);

    /// <summary>
    /// Name of a VM's tap: <c>v</c> and the last 70 bits of the uid as 14 characters of RFC 4648's base32 in lower case,
    /// together the 15 bytes that an interface name may have.
    /// </summary>
    /// <remarks>68 of the 70 bits are random in a version 7 uid: among a million VMs two names are equal with odds of 1 to 10^8.</remarks>
    public static string TapNameFor(Guid uid)
    {
        Span<byte> bytes = stackalloc byte[16];
        uid.TryWriteBytes(bytes, bigEndian: true, out _);
        return string.Create(TapNameLength, BinaryPrimitives.ReadUInt128BigEndian(bytes), static (name, bits) =>
        {
            name[0] = TapPrefix;
            for (var i = name.Length - 1; i > 0; i--)
            {
                name[i] = TapAlphabet[(int)(uint)(bits & 31)];
                bits >>= 5;
            }
        });
    }

    /// <summary>Whether <see cref="TapNameFor"/> gives such names.</summary>
    public static bool IsTapName(string? name) =>
        name is { Length: TapNameLength } && name[0] == TapPrefix && !name.AsSpan(1).ContainsAnyExcept(TapCharacters);
}
