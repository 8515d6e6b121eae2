namespace Volant.Bench;

/// <summary>The values of one figure, in any order and at least one.</summary>
internal sealed class Samples
{
    private readonly double[] _sorted;

    /// <summary>Sorts a copy of the values.</summary>
    public Samples(IEnumerable<double> values)
    {
        _sorted = [.. values.Order()];
        ArgumentOutOfRangeException.ThrowIfZero(_sorted.Length, nameof(values));
    }

    /// <summary>How many.</summary>
    public int Count => _sorted.Length;

    /// <summary>Smallest.</summary>
    public double Min => _sorted[0];

    /// <summary>Middle value; the mean of the two middle ones when their number is even.</summary>
    public double Median => (_sorted[(Count - 1) / 2] + _sorted[Count / 2]) / 2;

    /// <summary>Nearest-rank 95th percentile: the smallest value that at least 95 % of the values do not exceed.</summary>
    public double P95 => _sorted[(int)Math.Ceiling(0.95 * Count) - 1];

    /// <summary>Largest.</summary>
    public double Max => _sorted[^1];

    /// <summary>A figure that was taken once.</summary>
    public static Samples Once(double value) => new([value]);
}
