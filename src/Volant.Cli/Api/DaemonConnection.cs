using System.Globalization;
using System.Net;
using System.Net.Sockets;
using System.Text.Json;
using System.Text.Json.Serialization.Metadata;
using Volant.Linux.IO;

namespace Volant.Cli.Api;

/// <summary>HTTP to one daemon: every failure becomes a <see cref="CliException"/>, every answer has a size and a time limit.</summary>
/// <remarks>
/// Redirects are never followed and proxies never used, so that the key reaches nobody but the daemon.
/// </remarks>
internal sealed class DaemonConnection : IDisposable
{
    /// <summary>Largest answer that is read into memory, in bytes.</summary>
    public const int MaxBody = 16 * 1024 * 1024;

    /// <summary>Header that carries the key (contract §3).</summary>
    public const string KeyHeader = "X-Volant-API-Key";

    private static readonly TimeSpan ConnectTimeout = TimeSpan.FromSeconds(10);

    private readonly ApiAddress _address;
    private readonly TimeProvider _clock;
    private readonly SocketsHttpHandler _handler;
    private readonly HttpClient _http;

    /// <summary>Prepares the connection; nothing is sent yet.</summary>
    /// <param name="address">Where the daemon listens.</param>
    /// <param name="key">Value of <c>VOLANT_API_KEY</c>; null or blank sends none.</param>
    /// <param name="clock">Measures the time limits.</param>
    /// <param name="tls">Whom to trust over https.</param>
    /// <exception cref="CliException">The key holds a character that no header may hold, or a file of <paramref name="tls"/> is bad.</exception>
    public DaemonConnection(ApiAddress address, string? key, TimeProvider clock, TlsSettings tls)
    {
        _address = address;
        _clock = clock;
        if (address.Base.Scheme == Uri.UriSchemeHttps)
        {
            OpenSsl.Require("An https address");
        }

        var trimmedKey = key?.Trim() ?? string.Empty;
        if (trimmedKey.Any(c => c is <= ' ' or > '~'))
        {
            throw CliException.Usage("VOLANT_API_KEY holds a space, a control character or a letter outside ASCII; set it to the key of volantd.");
        }

        _handler = new SocketsHttpHandler
        {
            AllowAutoRedirect = false,
            UseProxy = false,
            UseCookies = false,
            ConnectTimeout = ConnectTimeout,
            ActivityHeadersPropagator = null,
            MaxResponseHeadersLength = 64,
        };
        if (address.Base.Scheme == Uri.UriSchemeHttps)
        {
            _handler.SslOptions = tls.ToOptions();
        }

        if (address.SocketPath is { } path)
        {
            _handler.ConnectCallback = (_, cancellationToken) => new(SocketConnector.ConnectAsync(path, cancellationToken));
        }

        _http = new HttpClient(_handler, disposeHandler: false) { BaseAddress = address.Base, Timeout = Timeout.InfiniteTimeSpan };
        if (trimmedKey.Length > 0)
        {
            _http.DefaultRequestHeaders.Add(KeyHeader, trimmedKey);
        }
    }

    /// <summary>Whether the daemon is most likely on this host.</summary>
    public bool IsLocal => _address.IsLocal;

    /// <summary>Where it listens, as the user wrote it.</summary>
    public string Address => _address.Text;

    /// <inheritdoc/>
    public void Dispose()
    {
        _http.Dispose();
        _handler.Dispose();
    }

    /// <summary>Sends a request and reads the whole answer, whatever its status.</summary>
    /// <param name="request">Request with a path relative to the base.</param>
    /// <param name="timeout">Limit of the whole exchange; <see cref="Timeout.InfiniteTimeSpan"/> when the caller has a better one.</param>
    /// <param name="cancellationToken">Cancelled by the user.</param>
    public Task<Reply> SendAsync(HttpRequestMessage request, TimeSpan timeout, CancellationToken cancellationToken) =>
        GuardAsync(request, timeout, ReadAsync, cancellationToken);

    /// <summary>Sends a request and opens the body of a successful answer; only the headers are subject to the time limit.</summary>
    /// <exception cref="CliException">The daemon refused.</exception>
    public async Task<HttpResponseMessage> OpenAsync(HttpRequestMessage request, TimeSpan timeout, CancellationToken cancellationToken)
    {
        return await GuardAsync(request, timeout, OpenBodyAsync, cancellationToken);

        async Task<HttpResponseMessage> OpenBodyAsync(HttpRequestMessage sent, CancellationToken limit)
        {
            var response = await _http.SendAsync(sent, HttpCompletionOption.ResponseHeadersRead, limit);
            if (response.IsSuccessStatusCode || response.StatusCode == HttpStatusCode.SwitchingProtocols)
            {
                return response;
            }

            using (response)
            {
                throw Problems.ToException(await ToReplyAsync(response, limit), _address);
            }
        }
    }

    /// <summary>Opens a stream of server-sent events.</summary>
    /// <param name="path">Path and query, relative to the base.</param>
    /// <param name="lastId">Id to go on after; null for none.</param>
    /// <param name="cancellationToken">Cancelled by the user.</param>
    public async Task<HttpResponseMessage> OpenEventsAsync(string path, string? lastId, CancellationToken cancellationToken)
    {
        using var request = new HttpRequestMessage(HttpMethod.Get, path);
        request.Headers.TryAddWithoutValidation("Accept", "text/event-stream");
        if (lastId is not null)
        {
            request.Headers.TryAddWithoutValidation("Last-Event-ID", lastId);
        }

        return await OpenAsync(request, VolantClient.ReadTimeout, cancellationToken);
    }

    /// <summary>Opens a WebSocket.</summary>
    /// <param name="path">Path and query, relative to the base.</param>
    /// <param name="cancellationToken">Cancelled by the user.</param>
    public async Task<WebSocketConnection> UpgradeAsync(string path, CancellationToken cancellationToken)
    {
        var key = WebSocketConnection.NewKey();
        using var request = new HttpRequestMessage(HttpMethod.Get, path) { Version = HttpVersion.Version11, VersionPolicy = HttpVersionPolicy.RequestVersionExact };
        request.Headers.TryAddWithoutValidation("Connection", "Upgrade");
        request.Headers.TryAddWithoutValidation("Upgrade", "websocket");
        request.Headers.TryAddWithoutValidation("Sec-WebSocket-Version", "13");
        request.Headers.TryAddWithoutValidation("Sec-WebSocket-Key", key);
        var response = await OpenAsync(request, VolantClient.ReadTimeout, cancellationToken);
        try
        {
            var accepted = response.StatusCode == HttpStatusCode.SwitchingProtocols &&
                response.Headers.TryGetValues("Sec-WebSocket-Accept", out var values) && values.SingleOrDefault() == WebSocketConnection.AcceptOf(key);
            return accepted
                ? new WebSocketConnection(response, await response.Content.ReadAsStreamAsync(cancellationToken), _clock, cause => Unreachable("broke the connection", cause))
                : throw Unexpected(string.Create(CultureInfo.InvariantCulture, $"answered {(int)response.StatusCode} where a WebSocket was due; is there a proxy in between, or is it not volantd?"), cause: null);
        }
        catch
        {
            response.Dispose();
            throw;
        }
    }

    /// <summary>Sends a request that must succeed.</summary>
    /// <exception cref="CliException">The daemon refused.</exception>
    public async Task<Reply> SucceedAsync(HttpRequestMessage request, TimeSpan timeout, CancellationToken cancellationToken)
    {
        var reply = await SendAsync(request, timeout, cancellationToken);
        return (int)reply.Status is >= 200 and < 300 ? reply : throw Problems.ToException(reply, _address);
    }

    /// <summary>The failure that an answer reports.</summary>
    public CliException Refusal(Reply reply) => Problems.ToException(reply, _address);

    /// <summary>Reads the JSON of a successful answer.</summary>
    /// <exception cref="CliException">It is not JSON, or not what the contract says.</exception>
    public Answer<T> Read<T>(Reply reply, JsonTypeInfo<T> type) => Read(ReadElement(reply), type);

    /// <summary>Reads JSON that came in a stream.</summary>
    /// <exception cref="CliException">It is not JSON, or not what the contract says.</exception>
    public Answer<T> Read<T>(byte[] json, JsonTypeInfo<T> type) => Read(ParseElement(json), type);

    private Answer<T> Read<T>(JsonElement json, JsonTypeInfo<T> type)
    {
        try
        {
            return new Answer<T>(json.Deserialize(type) ?? throw new JsonException("null"), json);
        }
        catch (JsonException e)
        {
            throw Unexpected($"answered with JSON that is no {typeof(T).Name} ({e.Path ?? "$"}); volar and volantd may differ in version", e);
        }
    }

    /// <summary>Reads the JSON of a successful answer as it is.</summary>
    /// <exception cref="CliException">It is not JSON.</exception>
    public JsonElement ReadElement(Reply reply)
    {
        if (!Problems.IsJson(reply.MediaType))
        {
            var type = reply.MediaType.Length > 0 ? $"'{reply.MediaType}'" : "nothing";
            throw Unexpected(string.Create(CultureInfo.InvariantCulture, $"answered {(int)reply.Status} with {type} where JSON was due; is it volantd?"), cause: null);
        }

        return ParseElement(reply.Body);
    }

    private JsonElement ParseElement(byte[] json)
    {
        try
        {
            return JsonElement.Parse(json);
        }
        catch (JsonException e)
        {
            throw Unexpected("answered with broken JSON; is it volantd?", e);
        }
    }

    /// <summary>Failure to reach the daemon, or the end of a connection before its time.</summary>
    public CliException Unreachable(string what, Exception? cause) => new(ExitCodes.Unreachable, $"{_address.Text} {what}.", cause)
    {
        Code = "unreachable",
        Hint = "is volantd running? Start it with 'volantd' or 'systemctl start volantd', or set VOLANT_API_BASE to where it listens",
    };

    private async Task<T> GuardAsync<T>(HttpRequestMessage request, TimeSpan timeout, Func<HttpRequestMessage, CancellationToken, Task<T>> send, CancellationToken cancellationToken)
    {
        using var expired = new CancellationTokenSource(timeout, _clock);
        using var limit = CancellationTokenSource.CreateLinkedTokenSource(expired.Token, cancellationToken);
        try
        {
            return await send(request, limit.Token);
        }
        catch (OperationCanceledException) when (cancellationToken.IsCancellationRequested)
        {
            throw new OperationCanceledException(cancellationToken);
        }
        catch (OperationCanceledException e) when (expired.IsCancellationRequested)
        {
            throw CliException.TimedOut(string.Create(CultureInfo.InvariantCulture, $"{_address.Text} did not answer {request.Method} {request.RequestUri} within {timeout.TotalSeconds:F0} s."), e);
        }
        catch (OperationCanceledException e)
        {
            throw Unreachable(string.Create(CultureInfo.InvariantCulture, $"did not accept a connection within {ConnectTimeout.TotalSeconds:F0} s"), e);
        }
        catch (HttpRequestException e)
        {
            throw Explain(e);
        }
        catch (IOException e)
        {
            throw Unreachable("broke the connection before the answer was complete", e);
        }
    }

    private CliException Explain(HttpRequestException failure)
    {
        var cause = failure.InnerException as SocketException ?? failure.InnerException?.InnerException as SocketException;
        return failure.HttpRequestError switch
        {
            HttpRequestError.NameResolutionError => Unreachable("names a host that cannot be resolved", failure),
            HttpRequestError.SecureConnectionError => Unreachable($"cannot be trusted: {failure.InnerException?.Message ?? failure.Message}", failure),
            HttpRequestError.ConnectionError => Unreachable($"cannot be reached: {Describe(cause?.SocketErrorCode)}", failure),
            HttpRequestError.ConfigurationLimitExceeded => Unexpected("sent headers of more than 64 KiB; is it volantd?", failure),
            HttpRequestError.InvalidResponse => Unexpected("does not speak HTTP as volantd does", failure),
            _ => Unreachable("broke the connection before the answer was complete", failure),
        };
    }

    private string Describe(SocketError? error) => error switch
    {
        SocketError.ConnectionRefused => "connection refused",
        SocketError.HostUnreachable => "no route to the host",
        SocketError.NetworkUnreachable => "no route to the network",
        SocketError.TimedOut => "no answer to the connection",
        SocketError.AccessDenied => _address.SocketPath is null ? "access denied" : "access to the socket is denied to this user",
        SocketError.AddressNotAvailable when _address.SocketPath is not null => "there is no such socket",
        null => "the connection failed",
        _ => error.Value.ToString(),
    };

    private CliException Unexpected(string what, Exception? cause) =>
        new(ExitCodes.Failed, $"{_address.Text} {what}{(what.EndsWith('?') ? string.Empty : ".")}", cause) { Code = "unexpected_answer" };

    private async Task<Reply> ReadAsync(HttpRequestMessage request, CancellationToken cancellationToken)
    {
        using var response = await _http.SendAsync(request, HttpCompletionOption.ResponseHeadersRead, cancellationToken);
        return await ToReplyAsync(response, cancellationToken);
    }

    private async Task<Reply> ToReplyAsync(HttpResponseMessage response, CancellationToken cancellationToken)
    {
        await using var stream = await response.Content.ReadAsStreamAsync(cancellationToken);
        var body = await BoundedBody.TryReadAsync(stream, MaxBody, cancellationToken) ??
            throw Unexpected(string.Create(CultureInfo.InvariantCulture, $"answered with more than {MaxBody / (1024 * 1024)} MiB; is it volantd?"), cause: null);
        var mediaType = response.Content.Headers.ContentType?.MediaType?.ToLowerInvariant() ?? string.Empty;
        return new Reply(response.StatusCode, response.Headers, mediaType, body);
    }
}
