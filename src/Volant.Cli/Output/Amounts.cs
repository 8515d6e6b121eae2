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

    /// <summary>A length of time: a number with <c>ms</c>, <c>s</c>, <c>m</c> or <c>h</c>, or of seconds; null when it is none.</summary>
    public static TimeSpan? ParseDuration(string text)
    {
        var digits = text.TakeWhile(c => char.IsAsciiDigit(c) || c == '.').Count();
        double? unit = text[digits..] switch { "ms" => 0.001, "s" or "" => 1, "m" => 60, "h" => 3600, _ => null };
        return unit is { } seconds && double.TryParse(text.AsSpan(0, digits), NumberStyles.AllowDecimalPoint, CultureInfo.InvariantCulture, out var count) && count * seconds < 1e9
            ? TimeSpan.FromSeconds(count * seconds)
            : null;
    }

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
