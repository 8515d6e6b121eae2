using Volant.Contracts.Api;

namespace Volant.Daemon.Store;

/// <summary>A port of the host that a VM or a deployment leases.</summary>
/// <param name="Protocol">"tcp" or "udp".</param>
/// <param name="HostPort">Port on the host.</param>
/// <param name="Port">Port in the guest.</param>
/// <param name="Mode">How the guest is reached, see <see cref="Contracts.Manifests.NetworkModes"/>.</param>
/// <param name="Name">Name in the configuration.</param>
internal sealed record PortLease(string Protocol, int HostPort, int Port, string Mode, string? Name)
{
    /// <summary>Whether this is the lease of an entry of a configuration; one without a host port is known by its port in the guest.</summary>
    public bool IsOf(ExposedPort wanted) =>
        Protocol == wanted.Protocol && (wanted.HostPort is > 0 ? HostPort == wanted.HostPort : Port == wanted.Port);
}

/// <summary>A lease with what it leads to: exactly one of a VM, a deployment and an address.</summary>
internal sealed record RouteRecord(PortLease Lease)
{
    /// <summary>Number of the VM.</summary>
    public long? VmId { get; init; }

    /// <summary>Name of the VM.</summary>
    public string? Vm { get; init; }

    /// <summary>Number of the deployment.</summary>
    public long? DeploymentId { get; init; }

    /// <summary>Name of the deployment.</summary>
    public string? Deployment { get; init; }

    /// <summary>The address, when no VM had it.</summary>
    public string? IpAddress { get; init; }

    /// <summary>Made over the API instead of by a configuration.</summary>
    public bool Manual { get; init; }

    /// <summary>Who has the port, for people.</summary>
    public string Holder => Manual ? "by a route made by hand" : Vm is not null ? $"by VM '{Vm}'" : $"by deployment '{Deployment}'";
}
