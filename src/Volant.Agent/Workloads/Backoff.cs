namespace Volant.Agent.Workloads;

/// <summary>How long to wait before the workload is started again: 1, 2, 4, 8, 16, then 30 s; from the beginning after 10 s of health.</summary>
internal sealed class Backoff(TimeProvider clock)
{
    /// <summary>Longest wait.</summary>
    public static readonly TimeSpan Longest = TimeSpan.FromSeconds(30);

    /// <summary>Uninterrupted health after which earlier failures are forgotten.</summary>
    public static readonly TimeSpan Forgiven = TimeSpan.FromSeconds(10);

    private const int MaxDoublings = 5;

    private int _failures;
    private long? _healthySince;

    /// <summary>Tells the outcome of a health check.</summary>
    public void Health(bool isHealthy)
    {
        if (isHealthy)
        {
            _healthySince ??= clock.GetTimestamp();
            return;
        }

        Forgive();
        _healthySince = null;
    }

    /// <summary>Tells that the workload ended or could not start; returns how long to wait.</summary>
    public TimeSpan Failed()
    {
        Health(isHealthy: false);
        var wait = TimeSpan.FromSeconds(1 << Math.Min(_failures, MaxDoublings));
        _failures++;
        return wait < Longest ? wait : Longest;
    }

    private void Forgive()
    {
        if (_healthySince is { } since && clock.GetElapsedTime(since) >= Forgiven)
        {
            _failures = 0;
        }
    }
}
