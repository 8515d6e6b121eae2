using System.Net;

namespace Volant.Daemon.Networking;

/// <summary>Which address a new VM gets. Knows no leases itself: they are rows of the store, leased in its transaction.</summary>
internal sealed class AddressPool(Subnet subnet)
{
    /// <summary>The network that the addresses come from.</summary>
    public Subnet Subnet { get; } = subnet;

    /// <summary>The lowest address that is not leased; null when all are.</summary>
    /// <param name="leased">Addresses of all VMs, running or not; those outside the subnet do not matter.</param>
    public IPAddress? FindFree(IReadOnlySet<IPAddress> leased) => Subnet.UsableAddresses.FirstOrDefault(address => !leased.Contains(address));

    /// <summary>How many addresses are not leased.</summary>
    public int CountFree(IReadOnlySet<IPAddress> leased) => Subnet.UsableCount - leased.Count(Subnet.IsUsable);
}
