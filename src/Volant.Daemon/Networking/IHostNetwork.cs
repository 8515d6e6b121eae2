using System.Net;

namespace Volant.Daemon.Networking;

/// <summary>The taps of the VMs on this host, and what keeps their guests from posing as others. Every method may be called again after any failure.</summary>
/// <remarks>
/// A tap is named after the VM's uid, so that one without an owner names whose it was. None of the methods asks whether a hypervisor
/// still uses the tap: the caller has proven that it is dead before it detaches.
/// </remarks>
internal interface IHostNetwork
{
    /// <summary>Whether the host answers DNS, and DHCP: a guest that asks gets the address that it is attached with; else somebody else on the network gives it one.</summary>
    bool ServesGuests { get; }

    /// <summary>Makes the VM's tap, connects it and sets it up; keeps one that is there, and repairs it. Leaves nothing behind when it fails.</summary>
    /// <param name="guest">The VM.</param>
    /// <param name="cancellationToken">Stops it before it begins.</param>
    /// <returns>Name of the tap, <see cref="LinuxBridgeNetwork.TapNameFor"/> of the VM's uid.</returns>
    /// <exception cref="VolantException"><c>network_unavailable</c>: the message names the cause and the remedy.</exception>
    Task<string> AttachAsync(AttachedGuest guest, CancellationToken cancellationToken);

    /// <summary>Deletes a tap and then what its guest was allowed; does nothing when there is neither. Takes about 20 ms. Once begun it is not cancelled.</summary>
    /// <exception cref="ArgumentException">Not the name of a VM's tap.</exception>
    /// <exception cref="VolantException"><c>network_unavailable</c>: the message names the cause and the remedy.</exception>
    Task DetachAsync(string tap, CancellationToken cancellationToken);

    /// <summary>Names of the VMs' taps that exist on the host, in no order: by name, and really taps; and of those that only rules are left of.</summary>
    /// <exception cref="VolantException"><c>network_unavailable</c>: the host's interfaces could not be listed.</exception>
    Task<IReadOnlyList<string>> ListAsync();

    /// <summary>Puts right what all VMs share, and tells which of those that run have a tap that is not as it should be.</summary>
    /// <param name="guests">Every VM that runs and has a tap.</param>
    /// <exception cref="VolantException"><c>network_unavailable</c>: the message names the cause and the remedy.</exception>
    Task<IReadOnlyList<TapFault>> CheckAsync(IReadOnlyCollection<AttachedGuest> guests);
}

/// <summary>A VM that has a tap, or is to get one.</summary>
/// <param name="Uid">Identity of the VM.</param>
/// <param name="Name">Name of the VM, a DNS label.</param>
/// <param name="Addresses">IP addresses that its guest may use; none: it may only ask for one.</param>
/// <param name="Owner">User who may open the tap without CAP_NET_ADMIN; null for the one that this process runs as.</param>
internal sealed record AttachedGuest(Guid Uid, string Name, IReadOnlyList<IPAddress> Addresses, uint? Owner = null);

/// <summary>A tap that is not as it should be.</summary>
/// <param name="Uid">Identity of the VM.</param>
/// <param name="IsLost">Whether the hypervisor has lost it, so that only a restart of the VM gives it another; else attaching repairs it.</param>
internal readonly record struct TapFault(Guid Uid, bool IsLost);
