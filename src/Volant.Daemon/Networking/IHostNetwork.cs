namespace Volant.Daemon.Networking;

/// <summary>The taps of the VMs on this host. Every method may be called again after any failure.</summary>
/// <remarks>
/// A tap is named after the VM's uid, so that one without an owner names whose it was. None of the methods asks whether a hypervisor
/// still uses the tap: the caller has proven that it is dead before it detaches.
/// </remarks>
internal interface IHostNetwork
{
    /// <summary>Makes the VM's tap, connects it and sets it up; keeps one that is there. Leaves nothing behind when it fails.</summary>
    /// <param name="uid">Identity of the VM.</param>
    /// <param name="owner">User who may open the tap without CAP_NET_ADMIN; null for nobody.</param>
    /// <param name="cancellationToken">Gives up before anything was made.</param>
    /// <returns>Name of the tap, <see cref="LinuxBridgeNetwork.TapNameFor"/> of <paramref name="uid"/>.</returns>
    /// <exception cref="VolantException"><c>network_unavailable</c>: the message names the cause and the remedy.</exception>
    Task<string> AttachAsync(Guid uid, uint? owner, CancellationToken cancellationToken);

    /// <summary>Deletes a tap; does nothing when there is none. Takes about 20 ms. Once begun it is not cancelled.</summary>
    /// <exception cref="ArgumentException">Not the name of a VM's tap.</exception>
    /// <exception cref="VolantException"><c>network_unavailable</c>: the message names the cause and the remedy.</exception>
    Task DetachAsync(string tap, CancellationToken cancellationToken);

    /// <summary>Names of the VMs' taps that exist on the host, in no order: by name, and really taps.</summary>
    /// <exception cref="VolantException"><c>network_unavailable</c>: the host's interfaces could not be listed.</exception>
    Task<IReadOnlyList<string>> ListAsync();
}
