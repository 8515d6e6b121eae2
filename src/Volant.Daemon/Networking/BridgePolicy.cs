namespace Volant.Daemon.Networking;

/// <summary>What guests on the bridge may do.</summary>
/// <param name="Filters">Whether they are kept from posing as others and from reaching the host (<see cref="Firewall"/>).</param>
/// <param name="Isolates">Whether they are kept from reaching each other.</param>
/// <param name="ServesGuests">Whether the host answers their DHCP and DNS (<see cref="GuestServices"/>).</param>
internal sealed record BridgePolicy(bool Filters = true, bool Isolates = true, bool ServesGuests = false);
