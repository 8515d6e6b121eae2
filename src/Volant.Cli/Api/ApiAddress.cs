using System.Net;
using System.Net.Sockets;
using Volant.Cli.Output;

namespace Volant.Cli.Api;

/// <summary>Where the daemon listens.</summary>
/// <param name="Base">What request paths are appended to; ends with a slash.</param>
/// <param name="SocketPath">Unix socket to connect to in place of <paramref name="Base"/>'s host; null over TCP.</param>
/// <param name="Text">The address as the user wrote it, for messages.</param>
internal sealed record ApiAddress(Uri Base, string? SocketPath, string Text)
{
    /// <summary>Where volantd listens unless told otherwise (contract §7).</summary>
    public const string Default = "http://127.0.0.1:7777";

    private const string UnixPrefix = "unix://";

    /// <summary>Whether what is sent stays on this host or is encrypted.</summary>
    public bool IsPrivate => IsLocal || Base.Scheme == Uri.UriSchemeHttps;

    /// <summary>Whether it is a socket or a loopback address; a tunnel may lead elsewhere from there.</summary>
    public bool IsLocal => SocketPath is not null || IsLoopback(Base);

    /// <summary>Reads <c>http://host:port</c>, <c>https://host:port</c> (both perhaps with a path) or <c>unix:///path</c>.</summary>
    /// <exception cref="CliException">It is none of them.</exception>
    public static ApiAddress Parse(string text)
    {
        var trimmed = text.Trim();
        if (trimmed.StartsWith(UnixPrefix, StringComparison.OrdinalIgnoreCase))
        {
            return ParseSocket(trimmed);
        }

        if (!Uri.TryCreate(trimmed, UriKind.Absolute, out var url) ||
            (url.Scheme != Uri.UriSchemeHttp && url.Scheme != Uri.UriSchemeHttps) ||
            url.Host.Length == 0)
        {
            throw Refuse(trimmed, "write it as http://HOST:PORT, https://HOST:PORT or unix:///PATH");
        }

        if (url.UserInfo.Length > 0)
        {
            throw CliException.Usage("The API address holds a user name or a password; remove it and set VOLANT_API_KEY.");
        }

        if (url.Query.Length > 0 || url.Fragment.Length > 0)
        {
            throw Refuse(trimmed, "it must not have a query or a fragment");
        }

        var root = url.AbsolutePath.EndsWith('/') ? url : new Uri(url.AbsoluteUri + "/");
        return new ApiAddress(root, SocketPath: null, trimmed);
    }

    private static ApiAddress ParseSocket(string text)
    {
        var path = text[UnixPrefix.Length..];
        if (!path.StartsWith('/'))
        {
            throw Refuse(text, "the socket must be an absolute path, as in unix:///run/volant/api.sock");
        }

        try
        {
            _ = new UnixDomainSocketEndPoint(path);
        }
        catch (ArgumentOutOfRangeException)
        {
            throw Refuse(text, "the path of a Unix socket has at most 107 bytes");
        }

        return new ApiAddress(new Uri("http://localhost/"), path, text);
    }

    private static CliException Refuse(string text, string remedy) =>
        CliException.Usage($"'{TerminalText.Clean(text)}' is not an API address: {remedy}.");

    private static bool IsLoopback(Uri url) =>
        url.IsLoopback || (IPAddress.TryParse(url.Host.Trim('[', ']'), out var address) && IPAddress.IsLoopback(address));
}
