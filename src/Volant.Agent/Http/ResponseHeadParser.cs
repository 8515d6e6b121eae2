using System.Buffers;
using System.Globalization;
using System.Text;

namespace Volant.Agent.Http;

/// <summary>Reads the head of an HTTP/1.x response (RFC 9112 §2 to §6). Pure and strict: the workload is not trusted.</summary>
/// <remarks>
/// A line may end with LF alone, as §2.2 allows: shell scripts behind a CGI server write that. Everything else that has ever been
/// read in two ways is refused: folded lines, a space before the colon, Content-Length beside Transfer-Encoding or with two values.
/// </remarks>
internal static class ResponseHeadParser
{
    /// <summary>Longest status line in bytes, without its end.</summary>
    public const int MaxStatusLine = 8 * 1024;

    /// <summary>Longest header section in bytes.</summary>
    public const int MaxHeaderBytes = 64 * 1024;

    /// <summary>Most header fields.</summary>
    public const int MaxFields = 100;

    /// <summary>Longest head in bytes.</summary>
    public const int MaxHeadBytes = MaxStatusLine + MaxHeaderBytes;

    private static readonly SearchValues<byte> TokenBytes =
        SearchValues.Create("!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"u8);

    /// <summary>Length of the head at the start of <paramref name="bytes"/>, with the empty line; null when it is not complete.</summary>
    /// <param name="bytes">What was received so far.</param>
    /// <param name="scanned">Start of the line that an earlier call stopped in; 0 at first.</param>
    /// <exception cref="WorkloadProtocolException">The head is longer than allowed.</exception>
    public static int? FindEnd(ReadOnlySpan<byte> bytes, ref int scanned)
    {
        while (true)
        {
            var line = bytes[scanned..];
            var end = line.IndexOf((byte)'\n');
            if ((end < 0 ? bytes.Length : scanned + end) > (scanned == 0 ? MaxStatusLine : MaxHeadBytes))
            {
                throw new WorkloadProtocolException(scanned == 0
                    ? $"The workload's status line is longer than {MaxStatusLine} bytes."
                    : $"The workload's header is longer than {MaxHeaderBytes} bytes.");
            }

            if (end < 0)
            {
                return null;
            }

            var isEmpty = end == 0 || (end == 1 && line[0] == '\r');
            if (isEmpty && scanned == 0)
            {
                throw new WorkloadProtocolException("The workload's answer begins with an empty line instead of a status line.");
            }

            scanned += end + 1;
            if (isEmpty)
            {
                return scanned;
            }
        }
    }

    /// <summary>Parses a complete head.</summary>
    /// <exception cref="WorkloadProtocolException">It breaks a rule or a limit.</exception>
    public static ResponseHead Parse(ReadOnlySpan<byte> head)
    {
        var status = ParseStatusLine(NextLine(ref head), out var isVersion11);
        var fields = new List<KeyValuePair<string, string>>();
        long? length = null;
        var isChunked = false;
        while (true)
        {
            var line = NextLine(ref head);
            if (line.IsEmpty)
            {
                break;
            }

            if (fields.Count == MaxFields)
            {
                throw new WorkloadProtocolException($"The workload sent more than {MaxFields} header fields.");
            }

            var (name, value) = ParseField(line);
            fields.Add(new(name, value));
            if (name.Equals("Content-Length", StringComparison.OrdinalIgnoreCase))
            {
                var parsed = ParseLength(value);
                length = length is null || length == parsed
                    ? parsed
                    : throw new WorkloadProtocolException($"The workload sent two lengths, {length} and {parsed}.");
            }
            else if (name.Equals("Transfer-Encoding", StringComparison.OrdinalIgnoreCase))
            {
                isChunked = !isChunked && isVersion11 && value.Equals("chunked", StringComparison.OrdinalIgnoreCase)
                    ? true
                    : throw new WorkloadProtocolException($"The workload sent the transfer encoding '{value}'; only one 'chunked' of HTTP/1.1 is understood.");
            }
        }

        return isChunked && length is not null
            ? throw new WorkloadProtocolException("The workload sent both Content-Length and Transfer-Encoding.")
            : new ResponseHead(status, fields, length, isChunked);
    }

    private static ReadOnlySpan<byte> NextLine(ref ReadOnlySpan<byte> rest)
    {
        var end = rest.IndexOf((byte)'\n');
        if (end < 0)
        {
            throw new WorkloadProtocolException("The workload's header ends in the middle of a line.");
        }

        var line = rest[..end];
        rest = rest[(end + 1)..];
        return line is [.., (byte)'\r'] ? line[..^1] : line;
    }

    private static int ParseStatusLine(ReadOnlySpan<byte> line, out bool isVersion11)
    {
        isVersion11 = line.StartsWith("HTTP/1.1 "u8);
        if (line.Length < 12 || (!isVersion11 && !line.StartsWith("HTTP/1.0 "u8)) || (line.Length > 12 && line[12] != ' ') ||
            HasControl(line) || !int.TryParse(line[9..12], NumberStyles.None, CultureInfo.InvariantCulture, out var status) || status is < 100 or > 599)
        {
            throw new WorkloadProtocolException($"The workload answered '{Shown(line)}' instead of an HTTP/1.1 status line.");
        }

        return status;
    }

    private static (string Name, string Value) ParseField(ReadOnlySpan<byte> line)
    {
        var colon = line.IndexOf((byte)':');
        if (colon <= 0 || line[..colon].ContainsAnyExcept(TokenBytes))
        {
            throw new WorkloadProtocolException($"The workload sent '{Shown(line)}' instead of a header field.");
        }

        var value = line[(colon + 1)..].Trim(" \t"u8);
        return HasControl(value)
            ? throw new WorkloadProtocolException($"The workload's header field '{Shown(line[..colon])}' holds a control character.")
            : (Encoding.ASCII.GetString(line[..colon]), Encoding.Latin1.GetString(value));
    }

    private static long ParseLength(string value) =>
        value.Length is > 0 and <= 18 && long.TryParse(value, NumberStyles.None, CultureInfo.InvariantCulture, out var length)
            ? length
            : throw new WorkloadProtocolException($"The workload sent the length '{value}', which is not a number of bytes.");

    private static bool HasControl(ReadOnlySpan<byte> text)
    {
        foreach (var b in text)
        {
            if (b is (< 0x20 and not (byte)'\t') or 0x7f)
            {
                return true;
            }
        }

        return false;
    }

    /// <summary>The beginning of hostile bytes in a form that a log can hold.</summary>
    private static string Shown(ReadOnlySpan<byte> bytes)
    {
        var text = new StringBuilder();
        foreach (var b in bytes[..Math.Min(bytes.Length, 40)])
        {
            text.Append(b is >= 0x20 and < 0x7f ? (char)b : '?');
        }

        return text.ToString();
    }
}
