using System.Globalization;

namespace Volant.Cli.Output;

/// <summary>What <c>volar</c> says on standard error: sentences, and on a terminal one line of progress.</summary>
/// <remarks>Safe to call from several threads: a timer may draw progress while a command speaks.</remarks>
/// <param name="writer">Standard error.</param>
/// <param name="host">The surroundings.</param>
/// <param name="quiet">Whether only warnings are said.</param>
internal sealed class Talk(TextWriter writer, CliHost host, bool quiet = false)
{
    private static readonly TimeSpan Redraw = TimeSpan.FromMilliseconds(100);

    private readonly Lock _gate = new();
    private long _drawnAt;
    private bool _drawn;

    /// <summary>Says a sentence, unless asked to be quiet.</summary>
    public void Say(string sentence)
    {
        if (!quiet)
        {
            Warn(sentence);
        }
    }

    /// <summary>Says a sentence on a terminal in raw mode, on a line of its own.</summary>
    public void SayRaw(string sentence)
    {
        lock (_gate)
        {
            if (!quiet)
            {
                writer.Write($"\r\n[{TerminalText.Clean(sentence)}]\r\n");
            }
        }
    }

    /// <summary>Says a sentence in any case.</summary>
    public void Warn(string sentence)
    {
        lock (_gate)
        {
            Erase_NeedsLock();
            writer.WriteLine(TerminalText.Clean(sentence));
        }
    }

    /// <summary>Draws the line of progress; does nothing off a terminal, and at most ten times a second.</summary>
    public void Progress(string text)
    {
        if (quiet || !host.ErrorIsTerminal)
        {
            return;
        }

        lock (_gate)
        {
            if (_drawn && host.Clock.GetElapsedTime(_drawnAt) < Redraw)
            {
                return;
            }

            _drawn = true;
            _drawnAt = host.Clock.GetTimestamp();
            var clean = TerminalText.Clean(text);
            var width = Screen.WidthOf(host) - 1;
            writer.Write($"\r\x1b[2K{(clean.Length > width ? clean[..width] : clean)}");
        }
    }

    /// <summary>Removes the line of progress.</summary>
    public void EndProgress()
    {
        lock (_gate)
        {
            Erase_NeedsLock();
        }
    }

    /// <summary>Draws what <paramref name="text"/> returns and the seconds since the call, every second until the result is disposed.</summary>
    public IDisposable Elapsed(Func<string> text) => new Ticker(this, host, text);

    private void Erase_NeedsLock()
    {
        if (_drawn)
        {
            _drawn = false;
            writer.Write("\r\x1b[2K");
        }
    }

    private sealed class Ticker : IDisposable
    {
        private readonly Talk _talk;
        private readonly ITimer? _timer;
        private bool _ended;

        public Ticker(Talk talk, CliHost host, Func<string> text)
        {
            _talk = talk;
            if (!host.ErrorIsTerminal)
            {
                return;
            }

            var since = host.Clock.GetTimestamp();
            Tick();
            _timer = host.Clock.CreateTimer(_ => Tick(), state: null, TimeSpan.FromSeconds(1), TimeSpan.FromSeconds(1));

            void Tick() => Draw(string.Create(CultureInfo.InvariantCulture, $"{text()} {host.Clock.GetElapsedTime(since).TotalSeconds:F0} s"));
        }

        public void Dispose()
        {
            lock (_talk._gate)
            {
                _ended = true;
                _talk.Erase_NeedsLock();
            }

            _timer?.Dispose();
        }

        private void Draw(string text)
        {
            lock (_talk._gate)
            {
                // A tick that was under way when the wait ended must not draw over what came after it.
                if (!_ended)
                {
                    _talk.Progress(text);
                }
            }
        }
    }
}
