using System.Buffers;
using System.Collections.Frozen;
using System.Globalization;
using System.Text;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.Primitives;

namespace Volant.Agent.Http;

/// <summary>What the request for the workload shall be besides the caller's own fields.</summary>
/// <param name="Method">HTTP method.</param>
/// <param name="Path">Path and query.</param>
/// <param name="Length">Length of the body; null for no body, or one of unknown length.</param>
/// <param name="IsChunked">Whether a body of unknown length follows.</param>
/// <param name="WebSocketKey">Value of Sec-WebSocket-Key when the request asks for a WebSocket.</param>
internal readonly record struct RequestShape(string Method, string Path, long? Length, bool IsChunked, string? WebSocketKey);

/// <summary>Writes the head of a request for the workload: the caller's fields without those that belong to one connection (RFC 9110 §7.6.1).</summary>
internal static class RequestHead
{
    private static readonly FrozenSet<string> Dropped = FrozenSet.Create(
        StringComparer.OrdinalIgnoreCase,
        "Connection", "Keep-Alive", "Proxy-Connection", "Transfer-Encoding", "Upgrade", "TE", "Trailer", "Host", "HTTP2-Settings", "Expect",
        "Content-Length", "Sec-WebSocket-Key");

    private static readonly SearchValues<char> NotInPath = SearchValues.Create([.. Enumerable.Range(0, 0x21).Select(i => (char)i), '\x7f']);

    /// <summary>Path and query of a request as they stand in its head; null when they cannot be passed on.</summary>
    /// <param name="target">Request target: a path, an absolute URL (RFC 9112 §3.2.2), or <c>*</c>.</param>
    public static string? PathOf(string target)
    {
        if (target.StartsWith("http://", StringComparison.OrdinalIgnoreCase) || target.StartsWith("https://", StringComparison.OrdinalIgnoreCase))
        {
            var slash = target.IndexOf('/', target.IndexOf("//", StringComparison.Ordinal) + 2);
            target = slash < 0 ? "/" : target[slash..];
        }

        return (target.StartsWith('/') || target == "*") && !target.AsSpan().ContainsAny(NotInPath) && Ascii.IsValid(target) ? target : null;
    }

    /// <summary>The bytes of the head; null when a field of the caller cannot be written in HTTP/1.1.</summary>
    public static byte[]? Write(WorkloadTarget target, RequestShape shape, IHeaderDictionary fields)
    {
        var text = new StringBuilder(1024);
        text.Append(shape.Method).Append(' ').Append(shape.Path == "*" ? string.Empty : target.BasePath).Append(shape.Path).Append(" HTTP/1.1\r\n");
        Field(text, "Host", target.Authority);
        var named = FieldsNamedBy(fields.Connection);
        foreach (var (name, values) in fields)
        {
            if (name.StartsWith(':') || Dropped.Contains(name) || named.Contains(name))
            {
                continue;
            }

            // HTTP/2 may split a cookie; HTTP/1.1 must not (RFC 9113 §8.2.3).
            var written = name.Equals("Cookie", StringComparison.OrdinalIgnoreCase) ? new StringValues(string.Join("; ", values.ToArray())) : values;
            foreach (var value in written)
            {
                if (value is null || value.AsSpan().ContainsAny("\r\n\0") || value.AsSpan().ContainsAnyExceptInRange('\0', '\xff'))
                {
                    return null;
                }

                Field(text, name, value);
            }
        }

        if (shape.WebSocketKey is { } key)
        {
            Field(text, "Sec-WebSocket-Key", key);
            if (fields.SecWebSocketVersion.Count == 0)
            {
                Field(text, "Sec-WebSocket-Version", "13");
            }

            Field(text, "Upgrade", "websocket");
            Field(text, "Connection", "Upgrade");
        }
        else
        {
            Field(text, "Connection", "close");
        }

        if (shape.Length is { } length)
        {
            Field(text, "Content-Length", length.ToString(CultureInfo.InvariantCulture));
        }
        else if (shape.IsChunked)
        {
            Field(text, "Transfer-Encoding", "chunked");
        }

        return Encoding.Latin1.GetBytes(text.Append("\r\n").ToString());
    }

    /// <summary>Names that a Connection field adds to those of one connection.</summary>
    public static HashSet<string> FieldsNamedBy(StringValues connection)
    {
        var names = new HashSet<string>(StringComparer.OrdinalIgnoreCase);
        foreach (var value in connection)
        {
            foreach (var name in (value ?? string.Empty).Split(',', StringSplitOptions.TrimEntries | StringSplitOptions.RemoveEmptyEntries))
            {
                names.Add(name);
            }
        }

        return names;
    }

    private static void Field(StringBuilder text, string name, string value) => text.Append(name).Append(": ").Append(value).Append("\r\n");
}
