using System.Text;

namespace Volant.Daemon.Logs;

/// <summary>One server-sent event.</summary>
/// <param name="Type">Its type; empty for the default one.</param>
/// <param name="Id">Its id, if it carries one.</param>
/// <param name="Data">Its data, lines joined by line feeds.</param>
internal sealed record StreamEvent(string Type, string? Id, string Data);

/// <summary>Reads server-sent events from a guest, which is hostile: no event may have more than <see cref="MaxEvent"/> bytes.</summary>
/// <remarks>Source: WHATWG HTML, section 9.2 (server-sent events); line ends are LF or CR LF.</remarks>
internal sealed class EventStreamReader(Stream stream)
{
    /// <summary>Most bytes of an event.</summary>
    public const int MaxEvent = 96 * 1024;

    private const int UsualEvent = 1024;

    private byte[] _buffer = new byte[UsualEvent];
    private readonly StringBuilder _data = new();
    private int _filled;
    private string _type = string.Empty;
    private string? _id;
    private bool _hasData;

    /// <summary>Waits for bytes and adds every event that they complete; false at the end of the stream.</summary>
    /// <exception cref="IOException">The stream broke, or an event is too long.</exception>
    public async ValueTask<bool> ReadAsync(List<StreamEvent> events, CancellationToken cancellationToken)
    {
        var read = await stream.ReadAsync(_buffer.AsMemory(_filled), cancellationToken);
        if (read == 0)
        {
            return false;
        }

        _filled += read;
        var start = 0;
        while (_buffer.AsSpan(start, _filled - start).IndexOf((byte)'\n') is >= 0 and var size)
        {
            Take(_buffer.AsSpan(start, size).TrimEnd((byte)'\r'), events);
            start += size + 1;
        }

        _buffer.AsSpan(start, _filled - start).CopyTo(_buffer);
        _filled -= start;
        if (_filled >= MaxEvent || _data.Length > MaxEvent)
        {
            throw new IOException($"An event of the guest has more than {MaxEvent} bytes.");
        }

        if (_filled == _buffer.Length)
        {
            Array.Resize(ref _buffer, Math.Min(2 * _buffer.Length, MaxEvent));
        }

        return true;
    }

    private void Take(ReadOnlySpan<byte> line, List<StreamEvent> events)
    {
        if (line.IsEmpty)
        {
            if (_hasData)
            {
                events.Add(new StreamEvent(_type, _id, _data.ToString()));
            }

            _data.Clear();
            (_type, _id, _hasData) = (string.Empty, null, false);
            return;
        }

        var colon = line.IndexOf((byte)':');
        var field = colon < 0 ? line : line[..colon];
        var value = colon < 0 ? default : line[(colon + 1)..];
        if (value.StartsWith(" "u8))
        {
            value = value[1..];
        }

        if (field.SequenceEqual("data"u8))
        {
            _data.Append(_hasData ? "\n" : string.Empty).Append(Encoding.UTF8.GetString(value));
            _hasData = true;
        }
        else if (field.SequenceEqual("id"u8))
        {
            _id = Encoding.UTF8.GetString(value);
        }
        else if (field.SequenceEqual("event"u8))
        {
            _type = Encoding.UTF8.GetString(value);
        }
    }
}
