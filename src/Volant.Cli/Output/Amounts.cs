using System.Globalization;

namespace Volant.Cli.Output;

/// <summary>Amounts in words that people read at a glance.</summary>
internal static class Amounts
{
    /// <summary>An age by its largest unit: <c>12s</c>, <c>3m</c>, <c>4h</c>, <c>9d</c>; a moment in the future is <c>0s</c>.</summary>
    public static string Age(TimeSpan age) => age switch
    {
        { Ticks: < 0 } => "0s",
        { TotalMinutes: < 1 } => Text($"{age.Seconds}s"),
        { TotalHours: < 1 } => Text($"{age.Minutes}m"),
        { TotalDays: < 1 } => Text($"{age.Hours}h"),
        _ => Text($"{(int)age.TotalDays}d"),
    };

    /// <summary>Bytes in binary units: <c>512 B</c>, <c>3.4 MiB</c>.</summary>
    public static string Bytes(long bytes)
    {
        if (bytes < 1024)
        {
            return Text($"{bytes} B");
        }

        string[] units = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
        var amount = bytes / 1024.0;
        var unit = 0;
        for (; amount >= 1024 && unit < units.Length - 1; unit++)
        {
            amount /= 1024;
        }

        return Text($"{amount:F1} {units[unit]}");
    }

    private static string Text(FormattableString text) => text.ToString(CultureInfo.InvariantCulture);
}
