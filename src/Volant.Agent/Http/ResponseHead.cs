namespace Volant.Agent.Http;

/// <summary>How the end of a response body is found (RFC 9112 §6.3).</summary>
internal enum BodyFraming
{
    /// <summary>There is no body.</summary>
    None,

    /// <summary>The head told its length.</summary>
    Length,

    /// <summary>Chunks with their own lengths.</summary>
    Chunked,

    /// <summary>Everything until the workload closes the connection.</summary>
    UntilClose,
}

/// <summary>Status line and header fields of a response, checked.</summary>
/// <param name="Status">100 to 599.</param>
/// <param name="Fields">Fields in the order they came; names are tokens, values are Latin-1 without control characters.</param>
/// <param name="Length">Value of Content-Length, if any.</param>
/// <param name="IsChunked">Whether the body comes in chunks.</param>
internal sealed record ResponseHead(int Status, IReadOnlyList<KeyValuePair<string, string>> Fields, long? Length, bool IsChunked)
{
    /// <summary>Framing of the body of an answer to a request with <paramref name="method"/>.</summary>
    public BodyFraming FramingFor(string method) =>
        method == "HEAD" || Status is (>= 100 and < 200) or 204 or 304 ? BodyFraming.None
        : IsChunked ? BodyFraming.Chunked
        : Length is not null ? BodyFraming.Length
        : BodyFraming.UntilClose;
}
