using System.Text.Json.Serialization;

namespace Volant.Contracts.Api;

/// <summary>What makes a restored or cloned guest another one: body of the agent's <c>POST /v1/agent/identify</c>, which opens its gate.</summary>
/// <remarks>
/// <para>The gate is closed from the boot on where <see cref="Boot.BootKeys.Gate"/> says so, and after <c>POST /v1/agent/prepare-snapshot</c>. While it is closed
/// the workload is not started, and every route answers 503 (<c>unavailable</c>) but <c>/v1/agent/state</c>, <c>identify</c>, <c>prepare-snapshot</c> and <c>shutdown</c>.</para>
/// <para>The kernel's generator is what is re-seeded: programs that drew from it before, the workload's own generators included, are not. Take snapshots before the workload
/// starts, or restart it.</para>
/// <para>Everything is applied, in this order: random generator, clock, host name, network. The gate opens only when all of it succeeded; else the answer is the problem
/// <c>guest_error</c> (502), and the call may be repeated. On an open gate it is refused (409, <c>already_identified</c>): a running guest does not change who it is.</para>
/// </remarks>
[JsonUnmappedMemberHandling(JsonUnmappedMemberHandling.Disallow)]
public sealed record IdentifyRequest
{
    /// <summary>Fewest bytes of <see cref="Seed"/>.</summary>
    public const int MinSeed = 32;

    /// <summary>Fresh random bytes for the guest's generator, base64, <see cref="MinSeed"/> to <see cref="AgentClock.MaxSeed"/> bytes.</summary>
    public required byte[] Seed { get; init; }

    /// <summary>The time now.</summary>
    public required DateTimeOffset Time { get; init; }

    /// <summary>New host name; absent keeps it.</summary>
    public string? Hostname { get; init; }

    /// <summary>New hardware address of the network interface, <c>52:54:00:12:34:56</c>; absent keeps it.</summary>
    public string? MacAddress { get; init; }

    /// <summary>New network configuration in the form of the kernel's <c>ip=</c>; absent keeps it.</summary>
    public string? Network { get; init; }
}
