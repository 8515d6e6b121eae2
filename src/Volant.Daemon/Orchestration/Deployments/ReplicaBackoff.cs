namespace Volant.Daemon.Orchestration.Deployments;

/// <summary>When each replica of one deployment may be made anew: 1, 2, 4 … 60 s after failures in a row.</summary>
/// <remarks>Counts by index, so that one replica that always fails does not hold up the others. Not safe for concurrent use.</remarks>
internal sealed class ReplicaBackoff(TimeProvider clock)
{
    /// <summary>Longest delay, jitter aside.</summary>
    public static readonly TimeSpan Longest = TimeSpan.FromSeconds(60);

    /// <summary>Time of being ready after which earlier failures are forgotten.</summary>
    public static readonly TimeSpan StableAfter = TimeSpan.FromSeconds(60);

    private readonly Dictionary<int, (int Failures, long At, TimeSpan Delay)> _failed = [];
    private readonly Dictionary<int, long> _readySince = [];

    /// <summary>A replica could not be made, or broke.</summary>
    public void Fail(int index)
    {
        var failures = _failed.TryGetValue(index, out var before) ? before.Failures + 1 : 1;
        var seconds = Math.Min(Math.Pow(2, Math.Min(failures - 1, 10)), Longest.TotalSeconds);
        _failed[index] = (failures, clock.GetTimestamp(), TimeSpan.FromSeconds(seconds * (0.9 + (0.2 * Random.Shared.NextDouble()))));
        _readySince.Remove(index);
    }

    /// <summary>What was observed of a replica.</summary>
    public void Observe(int index, bool ready)
    {
        if (!ready)
        {
            _readySince.Remove(index);
        }
        else if (!_readySince.TryGetValue(index, out var since))
        {
            _readySince[index] = clock.GetTimestamp();
        }
        else if (clock.GetElapsedTime(since) >= StableAfter)
        {
            _failed.Remove(index);
        }
    }

    /// <summary>Time until a replica may be made; zero when it may be now.</summary>
    public TimeSpan Remaining(int index)
    {
        if (!_failed.TryGetValue(index, out var failed))
        {
            return TimeSpan.Zero;
        }

        var left = failed.Delay - clock.GetElapsedTime(failed.At);
        return left > TimeSpan.Zero ? left : TimeSpan.Zero;
    }

    /// <summary>Forgets everything: something else is wanted now.</summary>
    public void Clear()
    {
        _failed.Clear();
        _readySince.Clear();
    }
}
