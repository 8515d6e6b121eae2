using System.Text.Json;
using System.Text.Json.Serialization.Metadata;
using Microsoft.AspNetCore.Http;
using Volant.Contracts;

namespace Volant.Agent.Http;

/// <summary>Who may use a route of the agent, and when.</summary>
[Flags]
internal enum RouteTraits
{
    /// <summary>Everybody who reaches the agent, once its gate is open.</summary>
    None = 0,

    /// <summary>Only the host, over the guest channel; never over TCP, nor from inside the guest.</summary>
    HostOnly = 1,

    /// <summary>Also while the gate is closed.</summary>
    Ungated = 2,
}

/// <summary>A route of the agent itself.</summary>
/// <param name="Method">HTTP method; GET serves HEAD, too.</param>
/// <param name="Path">Exact path.</param>
/// <param name="Handle">Answers.</param>
/// <param name="Traits">Who may use it.</param>
internal sealed record AgentRoute(string Method, string Path, Func<HttpContext, Task> Handle, RouteTraits Traits = RouteTraits.None);

/// <summary>JSON of a request or an answer.</summary>
internal static class Json
{
    /// <summary>Answers with an object.</summary>
    public static async Task WriteAsync<T>(HttpContext context, int status, T value, JsonTypeInfo<T> type)
    {
        var body = JsonSerializer.SerializeToUtf8Bytes(value, type);
        context.Response.StatusCode = status;
        context.Response.ContentType = "application/json";
        context.Response.ContentLength = body.Length;
        if (context.Request.Method != "HEAD")
        {
            await context.Response.Body.WriteAsync(body, context.RequestAborted);
        }
    }

    /// <summary>Reads the whole body as an object.</summary>
    /// <exception cref="FormatException">It is not; the message says why.</exception>
    public static async Task<T> ReadAsync<T>(HttpContext context, JsonTypeInfo<T> type, int mostBytes)
    {
        var buffer = new byte[Math.Min(mostBytes, 16 * 1024) + 1];
        var length = 0;
        while (true)
        {
            length += await context.Request.Body.ReadAtLeastAsync(buffer.AsMemory(length), buffer.Length - length, throwOnEndOfStream: false, context.RequestAborted);
            if (length < buffer.Length)
            {
                return Parse(buffer.AsSpan(0, length), type);
            }

            if (length > mostBytes)
            {
                throw new FormatException($"The body has more than {mostBytes} bytes.");
            }

            Array.Resize(ref buffer, Math.Min(4 * buffer.Length, mostBytes + 1));
        }
    }

    /// <summary>Reads an object.</summary>
    /// <exception cref="FormatException">It is none; the message says why.</exception>
    public static T Parse<T>(ReadOnlySpan<byte> text, JsonTypeInfo<T> type)
    {
        try
        {
            return JsonSerializer.Deserialize(text, type) ?? throw new FormatException("The body is null.");
        }
        catch (JsonException e)
        {
            var field = StrictJson.Explain(e);
            throw new FormatException($"The body is not valid: {field.Path} {field.Message}.", e);
        }
    }
}
