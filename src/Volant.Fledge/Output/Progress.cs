using System.Globalization;

namespace Volant.Fledge.Output;

/// <summary>Says on standard error how far the work is; only ever on a terminal.</summary>
internal sealed class Progress(TextWriter? terminal, TimeProvider clock)
{
    private const int BarWidth = 24;
    private const double Mib = 1024 * 1024;

    private static readonly TimeSpan Interval = TimeSpan.FromMilliseconds(100);

    private long _last;
    private bool _shown;

    /// <summary>Shows how much is done, at most ten times a second.</summary>
    /// <param name="what">What is being done: "packing".</param>
    /// <param name="done">Bytes done.</param>
    /// <param name="total">Bytes in all; 0 when unknown.</param>
    public void Show(string what, long done, long total)
    {
        if (terminal is null || (_shown && clock.GetElapsedTime(_last) < Interval))
        {
            return;
        }

        _last = clock.GetTimestamp();
        _shown = true;
        terminal.Write(string.Create(CultureInfo.InvariantCulture, $"\r{what,-11} {Bar(done, total)}{done / Mib:0.0}{(total > 0 ? string.Create(CultureInfo.InvariantCulture, $" of {total / Mib:0.0}") : string.Empty)} MiB \u001b[K"));
        terminal.Flush();
    }

    /// <summary>Removes what was shown.</summary>
    public void Clear()
    {
        if (_shown)
        {
            terminal!.Write("\r\u001b[K");
            terminal.Flush();
            _shown = false;
        }
    }

    private static string Bar(long done, long total)
    {
        if (total <= 0)
        {
            return string.Empty;
        }

        var filled = (int)(Math.Clamp((double)done / total, 0, 1) * BarWidth);
        return $"[{new string('#', filled)}{new string('.', BarWidth - filled)}] ";
    }
}
