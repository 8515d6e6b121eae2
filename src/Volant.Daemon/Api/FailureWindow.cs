namespace Volant.Daemon.Api;

/// <summary>Counts the wrong keys of each address in the current minute. Safe for concurrent use.</summary>
internal sealed class FailureWindow
{
    /// <summary>Refusals of one address in a minute that are answered in full.</summary>
    public const int Limit = 10;

    private const int MaxAddresses = 4096;

    private readonly Lock _gate = new();
    private readonly Dictionary<string, int> _counts = new(StringComparer.Ordinal);
    private long _since;

    /// <summary>Counts a refusal, and says whether the address had too many before.</summary>
    public bool IsOver(string address, TimeProvider clock)
    {
        lock (_gate)
        {
            if (_since == 0 || clock.GetElapsedTime(_since) > TimeSpan.FromMinutes(1))
            {
                _since = clock.GetTimestamp();
                _counts.Clear();
            }

            // Beyond so many addresses everybody is one of the crowd: memory stays bounded.
            var counted = _counts.Count < MaxAddresses || _counts.ContainsKey(address) ? address : string.Empty;
            _counts[counted] = _counts.GetValueOrDefault(counted) + 1;
            return _counts[counted] > Limit;
        }
    }
}
