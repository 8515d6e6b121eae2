using System.ComponentModel;
using Volant.Contracts.Api;
using Volant.Linux.Kernel;

namespace Volant.Agent.Boot;

/// <summary>Takes over what the host tells this guest: time and randomness (hypervisors.md §C: neither is right after a restore).</summary>
internal static class GuestClock
{
    /// <summary>Differences that are left alone: the way from host to guest takes as long.</summary>
    public static readonly TimeSpan Tolerance = TimeSpan.FromMilliseconds(20);

    /// <summary>Mixes the seed in, when there is one, and then sets the clock, unless it is right already.</summary>
    /// <returns>How far the clock was stepped; zero when it was right.</returns>
    /// <exception cref="ArgumentException">The seed is empty or too long.</exception>
    /// <exception cref="Win32Exception">The kernel refused: EPERM when this is no guest, EINVAL for a time before 1970.</exception>
    public static TimeSpan Apply(AgentClock told, TimeProvider clock)
    {
        if (told.Seed is { } seed)
        {
            KernelRandom.Mix(seed);
            Array.Clear(seed);
        }

        var step = told.Time - clock.GetUtcNow();
        if (step.Duration() <= Tolerance)
        {
            return TimeSpan.Zero;
        }

        SystemClock.Set(told.Time);
        return step;
    }
}
