using System.Globalization;

namespace Volant.Fledge.Output;

/// <summary>Says on standard error how far the work is; only ever on a terminal.</summary>
internal sealed class Progress(TextWriter? terminal, TimeProvider clock)
{
    private static readonly TimeSpan Interval = TimeSpan.FromMilliseconds(100);

    private long _last;
    private bool _shown;

    /// <summary>Shows how much has been packed, at most ten times a second.</summary>
    public void Packed(long done, long total)
    {
        if (terminal is null || (_shown && clock.GetElapsedTime(_last) < Interval))
        {
            return;
        }

        _last = clock.GetTimestamp();
        _shown = true;
        terminal.Write(string.Create(CultureInfo.InvariantCulture, $"\rpacking {done / 1048576.0:0.0} of {total / 1048576.0:0.0} MiB "));
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
}
