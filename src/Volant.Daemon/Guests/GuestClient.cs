using System.Diagnostics.CodeAnalysis;
using System.Net;
using System.Security.Cryptography;
using System.Text.Json;
using Volant.Contracts;
using Volant.Contracts.Api;

namespace Volant.Daemon.Guests;

/// <summary>HTTP to the agent of one running VM: one HTTP/2 connection that carries everything.</summary>
/// <remarks>
/// The connection is opened by the first request and again by the first one after it broke; a broken one is closed before the next is
/// opened, because a virtio-serial port carries one at a time. What comes from the guest is hostile: headers and answers are capped, calls
/// limited in time, redirects, cookies, proxies and compression off. Safe for concurrent use.
/// </remarks>
internal sealed class GuestClient : IAsyncDisposable
{
    /// <summary>Largest answer that <see cref="GetStateAsync"/> reads.</summary>
    public const int MaxStateBytes = 64 * 1024;

    /// <summary>How long a call may take beyond the time it asks the guest to wait.</summary>
    public static readonly TimeSpan AnswerLimit = TimeSpan.FromSeconds(10);

    /// <summary>How long a connection may take; a guest that is still starting is waited for as long.</summary>
    public static readonly TimeSpan ConnectLimit = TimeSpan.FromSeconds(10);

    /// <summary>Most <see cref="GuestStream"/>s at a time: the agent serves 1,000 requests at a time over one connection, and needs some for itself.</summary>
    public const int MaxStreams = 512;

    private const int UsualStateBytes = 1024;
    private const int MaxHeaderKib = 32;
    private const int SeedBytes = 64;

    // What one slow reader can make us hold; grows by itself for fast readers.
    private const int StreamWindowBytes = 256 * 1024;
    private const string Host = "guest";

    private static readonly TimeSpan PingDelay = TimeSpan.FromSeconds(10);
    private static readonly TimeSpan PingTimeout = TimeSpan.FromSeconds(10);

    private readonly GuestEndpoint _endpoint;
    private readonly TimeProvider _clock;

    [SuppressMessage("Usage", "CA2213", Justification = "Holds no handle, and late connection attempts still wait for it.")]
    private readonly SemaphoreSlim _connecting = new(1, 1);
    private Stream? _connection;
    private bool _disposed;
    private int _streams;

    /// <summary>Makes a client; connects with the first request.</summary>
    /// <param name="endpoint">Where the agent listens.</param>
    /// <param name="clock">Measures the limits of calls.</param>
    [SuppressMessage("Reliability", "CA2000", Justification = "The invoker owns the handlers.")]
    public GuestClient(GuestEndpoint endpoint, TimeProvider clock)
    {
        _endpoint = endpoint;
        _clock = clock;
        Invoker = new HttpMessageInvoker(new OneConnection(new SocketsHttpHandler
        {
            ConnectCallback = (_, cancellationToken) => ConnectAsync(cancellationToken),
            ConnectTimeout = ConnectLimit,
            EnableMultipleHttp2Connections = false,
            InitialHttp2StreamWindowSize = StreamWindowBytes,
            PooledConnectionLifetime = Timeout.InfiniteTimeSpan,
            PooledConnectionIdleTimeout = Timeout.InfiniteTimeSpan,
            KeepAlivePingPolicy = HttpKeepAlivePingPolicy.Always,
            KeepAlivePingDelay = PingDelay,
            KeepAlivePingTimeout = PingTimeout,
            MaxResponseHeadersLength = MaxHeaderKib,
            AutomaticDecompression = DecompressionMethods.None,
            AllowAutoRedirect = false,
            UseProxy = false,
            UseCookies = false,
            ActivityHeadersPropagator = null,
        }));
    }

    /// <summary>Address that every request must start with; only its path and query reach the guest.</summary>
    public static Uri BaseAddress { get; } = new($"http://{Host}/");

    /// <summary>Sends any request below <see cref="BaseAddress"/>; always HTTP/2. Without limits of its own on time or size of an answer.</summary>
    /// <remarks>
    /// Other addresses and upgrades by HTTP/1.1 are refused with <see cref="InvalidOperationException"/>: either would need a second connection.
    /// A forwarder must therefore ask for HTTP/2 exactly; WebSockets then travel as extended CONNECT.
    /// </remarks>
    public HttpMessageInvoker Invoker { get; }

    /// <summary>State of the agent: at once when its version exceeds <paramref name="since"/>, otherwise when it does or the wait is over.</summary>
    /// <exception cref="VolantException"><c>agent_unreachable</c>, or <c>timeout</c> when there is no answer in time.</exception>
    public Task<AgentState> GetStateAsync(long since, TimeSpan wait, CancellationToken cancellationToken)
    {
        var path = $"v1/agent/state?since={since}&timeout_ms={(long)wait.TotalMilliseconds}";
        return CallAsync(HttpMethod.Get, path, wait + AnswerLimit, ReadStateAsync, cancellationToken);
    }

    /// <summary>Asks the agent to stop the workload and power the guest off, without waiting for it to happen.</summary>
    /// <exception cref="VolantException"><c>agent_unreachable</c>, or <c>timeout</c> when there is no answer in time.</exception>
    public Task ShutdownAsync(CancellationToken cancellationToken) =>
        CallAsync(HttpMethod.Post, "v1/agent/shutdown", AnswerLimit, static (_, _) => Task.FromResult(true), cancellationToken);

    /// <summary>Tells the guest the time, and gives its random generator a seed.</summary>
    /// <exception cref="VolantException"><c>agent_unreachable</c>, also from an agent that is too old to be told; or <c>timeout</c>.</exception>
    public async Task SetClockAsync(CancellationToken cancellationToken)
    {
        var told = new AgentClock { Time = _clock.GetUtcNow(), Seed = RandomNumberGenerator.GetBytes(SeedBytes) };
        using var body = new ByteArrayContent(JsonSerializer.SerializeToUtf8Bytes(told, ContractsJson.Default.AgentClock));
        await CallAsync(HttpMethod.Post, "v1/agent/clock", AnswerLimit, static (_, _) => Task.FromResult(true), cancellationToken, body);
    }

    /// <summary>Closes the connection, whatever travels on it.</summary>
    public async ValueTask DisposeAsync()
    {
        Invoker.Dispose();
        await _connecting.WaitAsync();
        try
        {
            _disposed = true;
            await CloseConnectionAsync();
        }
        finally
        {
            _connecting.Release();
        }
    }

    /// <summary>Counts a <see cref="GuestStream"/> that begins.</summary>
    /// <exception cref="VolantException"><c>agent_unreachable</c>: there are <see cref="MaxStreams"/> already.</exception>
    internal void EnterStream()
    {
        if (Interlocked.Increment(ref _streams) > MaxStreams)
        {
            LeaveStream();
            throw Unreachable($"{MaxStreams} streams lead into it already", null);
        }
    }

    /// <summary>Counts one that ended.</summary>
    internal void LeaveStream() => Interlocked.Decrement(ref _streams);

    /// <summary>A time limit by the clock of this client.</summary>
    internal CancellationTokenSource StartLimit(TimeSpan limit) => new(limit, _clock);

    private async ValueTask<Stream> ConnectAsync(CancellationToken cancellationToken)
    {
        await _connecting.WaitAsync(cancellationToken);
        try
        {
            ObjectDisposedException.ThrowIf(_disposed, this);
            await CloseConnectionAsync();
            _connection = await GuestChannel.ConnectAsync(_endpoint, cancellationToken);
            return _connection;
        }
        finally
        {
            _connecting.Release();
        }
    }

    private async ValueTask CloseConnectionAsync()
    {
        if (_connection is { } connection)
        {
            _connection = null;
            await connection.DisposeAsync();
        }
    }

    private async Task<T> CallAsync<T>(
        HttpMethod method,
        string path,
        TimeSpan limit,
        Func<HttpResponseMessage, CancellationToken, Task<T>> read,
        CancellationToken cancellationToken,
        HttpContent? body = null)
    {
        using var deadline = new CancellationTokenSource(limit, _clock);
        using var both = CancellationTokenSource.CreateLinkedTokenSource(deadline.Token, cancellationToken);
        try
        {
            using var request = new HttpRequestMessage(method, new Uri(BaseAddress, path)) { Content = body };
            using var response = await Invoker.SendAsync(request, both.Token);
            return response.IsSuccessStatusCode
                ? await read(response, both.Token)
                : throw Unreachable($"it answered {(int)response.StatusCode} to {method} /{path}", null);
        }
        catch (Exception e) when (!cancellationToken.IsCancellationRequested && deadline.IsCancellationRequested && e is not VolantException)
        {
            throw new VolantException(
                ErrorCodes.Timeout,
                $"The guest's agent did not answer {method} /{path} within {limit.TotalSeconds:F0} s.",
                e);
        }
        catch (Exception e) when (IsConnectionFault(e, cancellationToken))
        {
            throw Unreachable(CauseOf(e).Message, e);
        }
    }

    /// <summary>Whether the connection failed; the handler reports a connection that took too long as a cancellation.</summary>
    private static bool IsConnectionFault(Exception e, CancellationToken cancellationToken) =>
        e is HttpRequestException or IOException ||
        (e is OperationCanceledException && !cancellationToken.IsCancellationRequested);

    /// <summary>The exception below those that only say that something failed.</summary>
    private static Exception CauseOf(Exception e)
    {
        while (e.InnerException is { } inner && (e is HttpRequestException or OperationCanceledException || inner is HttpIOException))
        {
            e = inner;
        }

        return e;
    }

    private static VolantException Unreachable(string why, Exception? cause) =>
        new(ErrorCodes.AgentUnreachable, $"The guest's agent cannot be reached: {why.TrimEnd('.')}.", cause);

    private static async Task<AgentState> ReadStateAsync(HttpResponseMessage response, CancellationToken cancellationToken)
    {
        await using var body = await response.Content.ReadAsStreamAsync(cancellationToken);
        var buffer = new byte[UsualStateBytes];
        var length = await body.ReadAtLeastAsync(buffer, buffer.Length, throwOnEndOfStream: false, cancellationToken);
        if (length == buffer.Length)
        {
            Array.Resize(ref buffer, MaxStateBytes + 1);
            length += await body.ReadAtLeastAsync(buffer.AsMemory(length), buffer.Length - length, throwOnEndOfStream: false, cancellationToken);
        }

        if (length > MaxStateBytes)
        {
            throw new IOException($"Its state has more than {MaxStateBytes} bytes.");
        }

        try
        {
            return JsonSerializer.Deserialize(buffer.AsSpan(0, length), ContractsJson.Default.AgentState) ?? throw new JsonException("null");
        }
        catch (JsonException e)
        {
            throw new IOException("Its answer is not the JSON of a state.", e);
        }
    }

    /// <summary>Refuses what would make the handler below open a second connection.</summary>
    private sealed class OneConnection(HttpMessageHandler inner) : DelegatingHandler(inner)
    {
        protected override Task<HttpResponseMessage> SendAsync(HttpRequestMessage request, CancellationToken cancellationToken)
        {
            if (request.RequestUri is not { Scheme: "http", Authority: Host } || request.Headers.Upgrade.Count > 0)
            {
                throw new InvalidOperationException(
                    $"A request to a guest must start with {BaseAddress} and must not upgrade by HTTP/1.1: '{request.RequestUri}'.");
            }

            request.Version = HttpVersion.Version20;
            request.VersionPolicy = HttpVersionPolicy.RequestVersionExact;
            return base.SendAsync(request, cancellationToken);
        }
    }
}
