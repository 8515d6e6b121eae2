using Microsoft.Data.Sqlite;
using Volant.Contracts.Api;

namespace Volant.Daemon.Store;

/// <content>Published ports: who leases which port of the host.</content>
internal sealed partial class VolantStore
{
    private const string SelectRoute =
        """
        SELECT r.protocol, r.host_port, r.port, r.mode, r.name, r.vm_id, v.name, r.deployment_id, d.name, r.ip_address, r.manual
        FROM routes r LEFT JOIN vms v ON v.id = r.vm_id LEFT JOIN deployments d ON d.id = r.deployment_id
        """;

    /// <summary>Every lease, by protocol and port.</summary>
    public IReadOnlyList<RouteRecord> ListRoutes() => database.Read(c => c.Query(ReadRoute, $"{SelectRoute} ORDER BY r.protocol, r.host_port"));

    /// <summary>Leases of one VM, those made by hand included.</summary>
    public IReadOnlyList<RouteRecord> ListRoutes(long vmId) => database.Read(
        c => c.Query(ReadRoute, $"{SelectRoute} WHERE r.vm_id = $id ORDER BY r.protocol, r.host_port", ("$id", vmId)));

    /// <summary>The lease of a port; null when nobody has it.</summary>
    public RouteRecord? FindRoute(string protocol, int hostPort) => database.Read(c => FindRoute(c, protocol, hostPort));

    /// <summary>The VM that has an address; null when none has it.</summary>
    public VmRecord? FindVmByAddress(string address) => database.Read(
        c => c.Query(ReadVm, $"SELECT {VmColumns} FROM vms WHERE ip_address = $address AND deleting = 0", ("$address", address)) is [var vm] ? vm : null);

    /// <summary>Records a route that is made by hand.</summary>
    /// <exception cref="VolantException"><c>port_in_use</c>; <c>vm_not_found</c>: the VM that it leads to went away meanwhile.</exception>
    public Task InsertRouteAsync(RouteRecord route, CancellationToken cancellationToken) => database.WriteAsync(
        c =>
        {
            if (route.VmId is { } id && c.Scalar("SELECT 1 FROM vms WHERE id = $id AND deleting = 0", ("$id", id)) is null)
            {
                throw Gone(id);
            }

            return InsertRoute(c, route);
        },
        cancellationToken);

    /// <summary>Forgets a route that was made by hand.</summary>
    /// <exception cref="VolantException"><c>route_not_found</c>, or <c>route_managed</c>: a configuration holds it.</exception>
    public Task DeleteRouteAsync(string protocol, int hostPort, CancellationToken cancellationToken) => database.WriteAsync(
        c => FindRoute(c, protocol, hostPort) switch
        {
            null => throw new VolantException(ErrorCodes.RouteNotFound, $"Port {hostPort}/{protocol} of the host is not published."),
            { Manual: true } => c.Execute("DELETE FROM routes WHERE protocol = $protocol AND host_port = $port", ("$protocol", protocol), ("$port", hostPort)),
            var route => throw new VolantException(ErrorCodes.RouteManaged, $"Port {hostPort}/{protocol} of the host is published {route.Holder}; remove it from 'expose' there."),
        },
        cancellationToken);

    /// <summary>Makes the leases of a VM's configuration those of its start that begins.</summary>
    private int LeasePorts(SqliteConnection c, long vmId, IReadOnlyList<PortLease> ports)
    {
        c.Execute("DELETE FROM routes WHERE vm_id = $id AND manual = 0", ("$id", vmId));
        return ports.Sum(port => InsertRoute(c, new RouteRecord(port) { VmId = vmId }));
    }

    /// <summary>Adds to the leases of a deployment: those of the revision that was healthy last stay until another is.</summary>
    private int AddPorts(SqliteConnection c, long deploymentId, IReadOnlyList<PortLease> ports)
    {
        foreach (var port in ports)
        {
            c.Execute(
                "DELETE FROM routes WHERE protocol = $protocol AND host_port = $port AND deployment_id = $id",
                ("$protocol", port.Protocol), ("$port", port.HostPort), ("$id", deploymentId));
        }

        return ports.Sum(port => InsertRoute(c, new RouteRecord(port) { DeploymentId = deploymentId }));
    }

    /// <summary>Gives back the ports that the current configuration of a deployment does not name.</summary>
    private static void PrunePorts(SqliteConnection c, long deploymentId)
    {
        if (c.Query(ReadDeployment, $"{SelectDeployment} WHERE d.id = $id", ("$id", deploymentId)) is not [var deployment])
        {
            return;
        }

        foreach (var lease in c.Query(ReadRoute, $"{SelectRoute} WHERE r.deployment_id = $id", ("$id", deploymentId)).Select(route => route.Lease))
        {
            if (deployment.Deployment.Config.Expose?.FirstOrDefault(lease.IsOf) is { } wanted)
            {
                c.Execute(
                    "UPDATE routes SET port = $port, name = $name WHERE protocol = $protocol AND host_port = $host",
                    ("$protocol", lease.Protocol), ("$host", lease.HostPort), ("$port", wanted.Port), ("$name", wanted.Name));
            }
            else
            {
                c.Execute("DELETE FROM routes WHERE protocol = $protocol AND host_port = $host", ("$protocol", lease.Protocol), ("$host", lease.HostPort));
            }
        }
    }

    private int InsertRoute(SqliteConnection c, RouteRecord route)
    {
        var lease = route.Lease;
        if (FindRoute(c, lease.Protocol, lease.HostPort) is { } taken)
        {
            throw PortTaken(taken);
        }

        return c.Execute(
            """
            INSERT INTO routes (protocol, host_port, name, vm_id, deployment_id, ip_address, port, mode, manual, created_at)
            VALUES ($protocol, $host, $name, $vm, $deployment, $ip, $port, $mode, $manual, $now)
            """,
            ("$protocol", lease.Protocol), ("$host", lease.HostPort), ("$name", lease.Name), ("$vm", route.VmId), ("$deployment", route.DeploymentId),
            ("$ip", route.IpAddress), ("$port", lease.Port), ("$mode", lease.Mode), ("$manual", route.Manual ? 1 : 0), ("$now", Now));
    }

    /// <summary>The failure of whoever wants a port that is leased.</summary>
    public static VolantException PortTaken(RouteRecord taken) => new(
        ErrorCodes.PortInUse, $"Port {taken.Lease.HostPort}/{taken.Lease.Protocol} of the host is published {taken.Holder} already; choose another host_port, or leave it out to get a free one.");

    private static RouteRecord? FindRoute(SqliteConnection c, string protocol, int hostPort) =>
        c.Query(ReadRoute, $"{SelectRoute} WHERE r.protocol = $protocol AND r.host_port = $port", ("$protocol", protocol), ("$port", hostPort)) is [var route] ? route : null;

    private static RouteRecord ReadRoute(SqliteDataReader row) => new(new PortLease(row.GetString(0), row.GetInt32(1), row.GetInt32(2), row.GetString(3), row.Text(4)))
    {
        VmId = row.Number(5),
        Vm = row.Text(6),
        DeploymentId = row.Number(7),
        Deployment = row.Text(8),
        IpAddress = row.Text(9),
        Manual = row.GetInt64(10) == 1,
    };
}
