using Volant.Contracts.Api;

namespace Volant.Daemon.Orchestration;

/// <summary>Whether and when a VM that ended is started again. Pure.</summary>
/// <param name="Policy">See <see cref="RestartPolicies"/>.</param>
/// <param name="MaxAttempts">Failed attempts in a row after which it is left alone; 0 for no limit.</param>
/// <param name="Backoff">Delay before the first attempt, doubled with each one.</param>
/// <param name="StableAfter">Time of running after which earlier failures are forgotten.</param>
internal sealed record RestartPolicy(string Policy, int MaxAttempts, TimeSpan Backoff, TimeSpan StableAfter)
{
    /// <summary>Longest delay, jitter aside.</summary>
    public static readonly TimeSpan MaxBackoff = TimeSpan.FromMinutes(1);

    /// <summary>Largest part of a delay that is added or taken away, so that VMs which fell together do not rise together.</summary>
    public const double Jitter = 0.2;

    /// <summary>The policy of a configuration, with the defaults for what it does not say.</summary>
    public static RestartPolicy Of(VmConfig config) => new(
        config.Restart?.Policy ?? RestartPolicies.No,
        config.Restart?.MaxAttempts ?? 0,
        TimeSpan.FromMilliseconds(config.Restart?.BackoffMs ?? 1000),
        TimeSpan.FromMilliseconds(config.Restart?.StableAfterMs ?? 60_000));

    /// <summary>Whether a VM is looked after at all.</summary>
    public bool IsActive => Policy != RestartPolicies.No;

    /// <summary>What follows the end of a run that nobody asked for.</summary>
    /// <param name="crashed">Whether it was a fault; otherwise the guest powered off.</param>
    /// <param name="ran">How long it ran; zero when it could not be launched.</param>
    /// <param name="attempts">Failed attempts in a row so far.</param>
    /// <param name="random">From 0 to 1, for the jitter.</param>
    public RestartDecision Decide(bool crashed, TimeSpan ran, int attempts, double random)
    {
        if (Policy == RestartPolicies.No || (Policy == RestartPolicies.OnFailure && !crashed))
        {
            return new RestartDecision(null, 0, GaveUp: false);
        }

        var failed = ran >= StableAfter ? 0 : attempts;
        if (MaxAttempts > 0 && failed >= MaxAttempts)
        {
            return new RestartDecision(null, failed, GaveUp: true);
        }

        var delay = Math.Min(Backoff.TotalMilliseconds * Math.Pow(2, Math.Min(failed, 30)), MaxBackoff.TotalMilliseconds);
        return new RestartDecision(TimeSpan.FromMilliseconds(delay * (1 + (Jitter * ((2 * random) - 1)))), failed + 1, GaveUp: false);
    }
}

/// <summary>What follows the end of a run.</summary>
/// <param name="Delay">Time until the next start; null for none.</param>
/// <param name="Attempts">Failed attempts in a row, the coming one included.</param>
/// <param name="GaveUp">Whether it is left alone because it failed too often.</param>
internal sealed record RestartDecision(TimeSpan? Delay, int Attempts, bool GaveUp);
