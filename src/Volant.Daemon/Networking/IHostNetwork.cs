using System.Buffers;
using System.Buffers.Binary;

namespace Volant.Daemon.Networking;

/// <summary>The taps of the VMs on this host. Every method may be called again after any failure.</summary>
/// <remarks>
/// A tap is named after the VM's uid, so that one without an owner names whose it was. None of the methods asks whether a hypervisor
/// still uses the tap: the caller has proven that it is dead before it detaches.
/// </remarks>
internal interface IHostNetwork
{
    /// <summary>Makes the VM's tap, connects it and sets it up; keeps one that is there. Leaves nothing behind when it fails.</summary>
    /// <returns>Name of the tap, <see cref="TapNameFor"/> of <paramref name="uid"/>.</returns>
    /// <exception cref="VolantException"><c>network_unavailable</c>: the message names the cause and the remedy.</exception>
    Task<string> AttachAsync(Guid uid, CancellationToken cancellationToken);

    /// <summary>Deletes a tap; does nothing when there is none. Takes about 20 ms. Once begun it is not cancelled.</summary>
    /// <exception cref="ArgumentException">Not the name of a VM's tap.</exception>
    /// <exception cref="VolantException"><c>network_unavailable</c>: the message names the cause and the remedy.</exception>
    Task DetachAsync(string tap, CancellationToken cancellationToken);

    /// <summary>Names of the VMs' taps that exist on the host, in no order: by name, and really taps.</summary>
    /// <exception cref="VolantException"><c>network_unavailable</c>: the host's interfaces could not be listed.</exception>
    Task<IReadOnlyList<string>> ListAsync(CancellationToken cancellationToken);

    /// <summary>
    /// Name of a VM's tap: <c>v</c> and the last 70 bits of the uid as 14 characters of RFC 4648's base32 in lower case,
    /// together the 15 bytes that an interface name may have.
    /// </summary>
    /// <remarks>68 of the 70 bits are random in a version 7 uid: among a million VMs two names are equal with odds of 1 to 10^8.</remarks>
    static string TapNameFor(Guid uid)
    {
        Span<byte> bytes = stackalloc byte[16];
        uid.TryWriteBytes(bytes, bigEndian: true, out _);
        return string.Create(TapNames.Length, BinaryPrimitives.ReadUInt128BigEndian(bytes), static (name, bits) =>
        {
            name[0] = TapNames.Prefix;
            for (var i = name.Length - 1; i > 0; i--)
            {
                name[i] = TapNames.Alphabet[(int)(uint)(bits & 31)];
                bits >>= 5;
            }
        });
    }

    /// <summary>Whether <see cref="TapNameFor"/> gives such names.</summary>
    static bool IsTapName(string? name) =>
        name is { Length: TapNames.Length } && name[0] == TapNames.Prefix && !name.AsSpan(1).ContainsAnyExcept(TapNames.Characters);
}

/// <summary>The parts of a tap's name.</summary>
file static class TapNames
{
    public const char Prefix = 'v';
    public const int Length = 15;
    public const string Alphabet = "abcdefghijklmnopqrstuvwxyz234567";
    public static readonly SearchValues<char> Characters = SearchValues.Create(Alphabet);
}
