using System.Text;

namespace Volant.Cli.Output;

/// <summary>Turns log bytes of a guest into text that cannot drive the operator's terminal, chunk by chunk.</summary>
/// <remarks>
/// Escape sequences (ECMA-48: ESC, CSI, and the strings OSC, DCS, SOS, PM, APC) disappear as a whole, other control characters one by
/// one; line feeds and tabs stay. A string that does not end within <see cref="MaxString"/> characters is taken as ended, so
/// that a guest cannot hide the rest of its log behind an open one.
/// </remarks>
internal sealed class LogFilter(TextWriter writer)
{
    /// <summary>Longest control string that is skipped, in characters.</summary>
    public const int MaxString = 4096;

    private readonly Decoder _decoder = Encoding.UTF8.GetDecoder();
    private State _state;
    private int _skipped;

    private enum State
    {
        Text,
        Escape,
        Control,
        String,
        StringEscape,
    }

    /// <summary>Writes what is printable of the next bytes.</summary>
    public void Write(ReadOnlySpan<byte> bytes)
    {
        Span<char> chars = stackalloc char[512];
        while (bytes.Length > 0)
        {
            _decoder.Convert(bytes, chars, flush: false, out var read, out var made, out _);
            bytes = bytes[read..];
            foreach (var c in chars[..made])
            {
                if (Passes(c))
                {
                    writer.Write(c);
                }
            }
        }
    }

    /// <summary>Hands what was written on to the reader.</summary>
    public void Flush() => writer.Flush();

    private bool Passes(char c)
    {
        if (c == '\n')
        {
            // No sequence of a log spans lines; this bounds what an unfinished one can swallow.
            _state = State.Text;
            return true;
        }

        switch (_state)
        {
            case State.Escape:
                _state = c switch
                {
                    '[' => State.Control,
                    ']' or 'P' or 'X' or '^' or '_' => OpenString(),
                    >= ' ' and <= '/' => State.Escape,
                    _ => State.Text,
                };
                return false;
            case State.Control:
                _state = c is >= ' ' and <= '?' ? State.Control : State.Text;
                return false;
            case State.String when c == '\x1b':
                _state = State.StringEscape;
                return false;
            case State.String or State.StringEscape:
                _state = c is '\a' or '\u009c' || _state == State.StringEscape || ++_skipped > MaxString ? State.Text : State.String;
                return false;
            default:
                _state = c switch
                {
                    '\x1b' => State.Escape,
                    '\u009b' => State.Control,
                    '\u0090' or '\u0098' or '\u009d' or '\u009e' or '\u009f' => OpenString(),
                    _ => State.Text,
                };
                return c == '\t' || !TerminalText.IsHostile(c);
        }
    }

    private State OpenString()
    {
        _skipped = 0;
        return State.String;
    }
}
