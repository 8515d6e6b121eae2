using System.Collections.Frozen;
using Microsoft.AspNetCore.Http;

namespace Volant.Agent.Http;

/// <summary>Copies the head of the workload's answer, without the fields that belong to one connection (RFC 9110 §7.6.1).</summary>
internal static class ResponseFields
{
    private static readonly FrozenSet<string> Dropped = FrozenSet.Create(
        StringComparer.OrdinalIgnoreCase,
        "Connection", "Keep-Alive", "Proxy-Connection", "Transfer-Encoding", "Upgrade", "TE", "Trailer", "Content-Length", "Sec-WebSocket-Accept");

    /// <summary>Copies status and fields.</summary>
    public static void Copy(ResponseHead head, HttpResponse response)
    {
        response.StatusCode = head.Status;
        CopyFields(head, response);
        if (head.Length is { } length && head.Status is not (101 or 204))
        {
            response.ContentLength = length;
        }
    }

    /// <summary>Copies the fields alone.</summary>
    public static void CopyFields(ResponseHead head, HttpResponse response)
    {
        var named = new HashSet<string>(StringComparer.OrdinalIgnoreCase);
        foreach (var (name, value) in head.Fields)
        {
            if (name.Equals("Connection", StringComparison.OrdinalIgnoreCase))
            {
                named.UnionWith(RequestHead.FieldsNamedBy(value));
            }
        }

        foreach (var (name, value) in head.Fields)
        {
            if (!Dropped.Contains(name) && !named.Contains(name))
            {
                response.Headers.Append(name, value);
            }
        }
    }
}
