using System.Net;
using System.Net.Sockets;
using System.Text.Json.Serialization;

namespace Volant.Contracts.Api;

/// <summary>Transport protocols of a published port.</summary>
public static class PortProtocols
{
    /// <summary>Connections.</summary>
    public const string Tcp = "tcp";

    /// <summary>Datagrams.</summary>
    public const string Udp = "udp";

    internal static string[] All { get; } = [Tcp, Udp];
}

/// <summary>Values of <see cref="RouteBackend.Type"/>.</summary>
public static class BackendTypes
{
    /// <summary>By the guest's address on the bridge.</summary>
    public const string Bridge = "bridge";

    /// <summary>By the guest channel, to a port on the guest's loopback; needs no network in the guest.</summary>
    public const string Vsock = "vsock";

    internal static string[] All { get; } = [Bridge, Vsock];
}

/// <summary>A host port that leads to a guest (contract §2, <c>/api/v1/drift/routes</c>).</summary>
public sealed record PublishedRoute
{
    /// <summary>Port on the host, 1 to 65,535.</summary>
    public required int HostPort { get; init; }

    /// <summary>"tcp" or "udp".</summary>
    public required string Protocol { get; init; }

    /// <summary>Where it leads to.</summary>
    public required RouteBackend Backend { get; init; }

    /// <summary>Address of the host that it listens on.</summary>
    public required string Address { get; init; }

    /// <summary>Name that the configuration gives the port.</summary>
    public string? Name { get; init; }

    /// <summary>The VM that it leads to, with which it ends.</summary>
    public string? Vm { get; init; }

    /// <summary>The deployment whose ready replicas share what comes, with which it ends.</summary>
    public string? Deployment { get; init; }

    /// <summary>Whether it takes connections or datagrams now; that of a VM does while the VM runs.</summary>
    public required bool Listening { get; init; }

    /// <summary>What keeps it from listening, in words.</summary>
    public string? Message { get; init; }
}

/// <summary>Where a route leads to. In an answer <see cref="Ip"/> and <see cref="Cid"/> are absent when there are several guests, or none yet.</summary>
[JsonUnmappedMemberHandling(JsonUnmappedMemberHandling.Disallow)]
public sealed record RouteBackend
{
    /// <summary>"bridge" or "vsock", see <see cref="BackendTypes"/>.</summary>
    public string? Type { get; init; }

    /// <summary>IPv4 address of the guest, with "bridge".</summary>
    public string? Ip { get; init; }

    /// <summary>Port in the guest, 1 to 65,535.</summary>
    public int? Port { get; init; }

    /// <summary>Context id of the guest, with "vsock".</summary>
    public long? Cid { get; init; }
}

/// <summary>Body of <c>POST /api/v1/drift/routes</c>.</summary>
[JsonUnmappedMemberHandling(JsonUnmappedMemberHandling.Disallow)]
public sealed record CreateRouteRequest
{
    /// <summary>Port on the host, 1 to 65,535; a free one when it is absent or 0.</summary>
    public int? HostPort { get; init; }

    /// <summary>"tcp" or "udp".</summary>
    public string? Protocol { get; init; }

    /// <summary>Where it leads to.</summary>
    public RouteBackend? Backend { get; init; }
}

/// <summary>Rules of routes and of <see cref="ExposedPort"/>. Pure; reports every fault at once.</summary>
public static class RouteRules
{
    /// <summary>Most published ports of a VM or deployment.</summary>
    public const int MaxExposed = 64;

    /// <summary>Faults of a request to create a route.</summary>
    public static IReadOnlyList<FieldError> Validate(CreateRouteRequest request)
    {
        ArgumentNullException.ThrowIfNull(request);
        var faults = new FaultList();
        faults.Range("host_port", request.HostPort ?? 0, 0, ushort.MaxValue);
        faults.OneOf("protocol", request.Protocol, PortProtocols.All);
        if (request.Backend is not { } backend)
        {
            faults.Add("backend", """is required: {"type": "bridge", "ip": "192.168.127.2", "port": 80} or {"type": "vsock", "cid": 4, "port": 80}""");
            return faults.All;
        }

        faults.OneOf("backend.type", backend.Type, BackendTypes.All);
        faults.Range("backend.port", backend.Port, 1, ushort.MaxValue);
        var isBridge = backend.Type == BackendTypes.Bridge;
        faults.Require(!isBridge || IsIPv4(backend.Ip), "backend.ip", "must be an IPv4 address such as 192.168.127.2");
        faults.Require(isBridge || backend.Ip is null, "backend.ip", "belongs to type 'bridge'");
        faults.Require(backend.Type != BackendTypes.Vsock || backend.Cid is >= 3, "backend.cid", "must be the vsock_cid of a VM, 3 or more");
        faults.Require(!isBridge || backend.Cid is null, "backend.cid", "belongs to type 'vsock'");
        return faults.All;
    }

    /// <summary>Trims and lower-cases; TCP is what is meant when there is no protocol.</summary>
    public static IReadOnlyList<ExposedPort>? Normalise(IReadOnlyList<ExposedPort>? ports) => ports?.Select(port => port is null ? null! : port with
    {
        Name = port.Name?.Trim() is { Length: > 0 } name ? name : null,
        Protocol = port.Protocol?.Trim().ToLowerInvariant() ?? PortProtocols.Tcp,
        Mode = port.Mode?.Trim().ToLowerInvariant(),
    }).ToArray();

    /// <summary>Checks the published ports of a configuration.</summary>
    internal static void Validate(FaultList faults, string path, IReadOnlyList<ExposedPort>? ports)
    {
        if (ports is null || ports.Count > MaxExposed)
        {
            faults.Require(ports is null, path, $"must be at most {MaxExposed} ports");
            return;
        }

        var taken = new HashSet<(string?, int)>();
        for (var i = 0; i < ports.Count; i++)
        {
            var at = string.Create(System.Globalization.CultureInfo.InvariantCulture, $"{path}[{i}]");
            if (ports[i] is not { } port)
            {
                faults.Add(at, "must be an object");
                continue;
            }

            if (port.Name is not null)
            {
                faults.Text($"{at}.name", port.Name, 64);
            }

            faults.OneOf($"{at}.protocol", port.Protocol ?? PortProtocols.Tcp, PortProtocols.All);
            faults.Range($"{at}.port", port.Port, 1, ushort.MaxValue);
            faults.Range($"{at}.host_port", port.HostPort ?? 0, 0, ushort.MaxValue);
            faults.Require(port.HostPort is not > 0 || taken.Add((port.Protocol ?? PortProtocols.Tcp, port.HostPort.Value)), $"{at}.host_port", "is listed twice");
            if (port.Mode is not null)
            {
                faults.OneOf($"{at}.mode", port.Mode, [.. Manifests.NetworkModes.All]);
            }
        }
    }

    private static bool IsIPv4(string? text) => IPAddress.TryParse(text, out var address) && address.AddressFamily == AddressFamily.InterNetwork && address.ToString() == text;
}
