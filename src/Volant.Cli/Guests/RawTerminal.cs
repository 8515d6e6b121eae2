namespace Volant.Cli.Guests;

/// <summary>The user's terminal while it belongs to a guest: raw, and put right at the end, however that comes.</summary>
/// <remarks>SIGKILL alone leaves it raw: no program can help that; <c>stty sane</c> does.</remarks>
internal sealed class RawTerminal : IDisposable
{
    /// <summary>Ends what a guest may have left on: mouse reports, bracketed paste, a hidden cursor, colours (xterm's control sequences).</summary>
    private static readonly byte[] Reset = [.. "\x1b[?1000l\x1b[?1002l\x1b[?1003l\x1b[?1006l\x1b[?2004l\x1b[?25h\x1b[0m"u8];

    private static readonly byte[] LeaveAlternate = [.. "\x1b[?1049l"u8];

    private readonly CliHost _host;
    private readonly IDisposable _mode;
    private readonly CancellationTokenRegistration _interrupted;
    private readonly AlternateScreen _screen = new();
    private bool _disposed;

    /// <summary>Switches to raw mode; a signal switches back at once.</summary>
    public RawTerminal(CliHost host, CancellationToken interrupted)
    {
        _host = host;
        _mode = host.EnterRawMode();
        _interrupted = interrupted.UnsafeRegister(static mode => ((IDisposable)mode!).Dispose(), _mode);
    }

    /// <summary>Looks at what the guest prints, to know what must be undone.</summary>
    public void Watch(ReadOnlySpan<byte> output) => _screen.Watch(output);

    /// <inheritdoc/>
    public void Dispose()
    {
        if (_disposed)
        {
            return;
        }

        _disposed = true;
        _interrupted.Dispose();
        _mode.Dispose();
        if (!_host.OutputIsTerminal)
        {
            return;
        }

        try
        {
            _host.Output.Write(_screen.IsOn ? [.. LeaveAlternate, .. Reset] : Reset);
        }
        catch (IOException)
        {
            // The terminal is gone, and nothing is left to put right.
        }
    }

    /// <summary>Knows from a stream of bytes, however it is cut, whether the alternate screen is on.</summary>
    private sealed class AlternateScreen
    {
        private static ReadOnlySpan<byte> Sequence => "\x1b[?1049"u8;

        private int _matched;

        public bool IsOn { get; private set; }

        public void Watch(ReadOnlySpan<byte> output)
        {
            foreach (var value in output)
            {
                if (_matched == Sequence.Length)
                {
                    IsOn = value == 'h' || (value != 'l' && IsOn);
                    _matched = 0;
                }

                _matched = value == Sequence[_matched] ? _matched + 1 : value == Sequence[0] ? 1 : 0;
            }
        }
    }
}
