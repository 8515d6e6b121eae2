namespace Volant.Contracts.Api;

/// <summary>Body of <c>POST /v1/agent/clock</c>: what only the host can tell a guest, after a boot and after a restore. Answered with 204.</summary>
public sealed record AgentClock
{
    /// <summary>Longest <see cref="Seed"/> in bytes.</summary>
    public const int MaxSeed = 512;

    /// <summary>The time on the host; the guest's clock is set to it.</summary>
    public required DateTimeOffset Time { get; init; }

    /// <summary>Random bytes for the guest's random generator, base64; null or 1 to <see cref="MaxSeed"/> bytes.</summary>
    public byte[]? Seed { get; init; }
}
