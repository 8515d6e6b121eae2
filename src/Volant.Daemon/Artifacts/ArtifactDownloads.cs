using System.Net;
using System.Net.Http.Headers;
using Volant.Contracts.Api;

namespace Volant.Daemon.Artifacts;

/// <summary>Limits of a download.</summary>
/// <param name="Total">Longest time of the whole.</param>
/// <param name="Silence">Longest time without a byte.</param>
internal sealed record DownloadLimits(TimeSpan Total, TimeSpan Silence);

/// <summary>Downloads into the cache: hashed on the way, gone on with after a break, once for all who ask for the same.</summary>
/// <remarks>Sources: RFC 9110, sections 8.8 (validators), 13.1 (conditional requests), 14 (ranges) and 15.4 (redirects).</remarks>
internal sealed partial class ArtifactDownloads : IDisposable
{
    /// <summary>Most redirects of one request.</summary>
    public const int MaxRedirects = 5;

    /// <summary>Attempts in a row that bring no byte.</summary>
    private const int MaxFailures = 4;

    private const int BufferSize = 256 * 1024;

    private static readonly TimeSpan FirstPause = TimeSpan.FromMilliseconds(250);

    private readonly ArtifactCache _cache;
    private readonly string _sources;
    private readonly ArtifactTransfers _transfers;
    private readonly DownloadLimits _limits;
    private readonly TimeProvider _clock;
    private readonly ILogger<ArtifactDownloads> _logger;
    private readonly HttpClient _client;
    private readonly CancellationTokenSource _stopping = new();
    private readonly Lock _gate = new();
    private readonly Dictionary<string, Task<CachedMedia>> _running = new(StringComparer.Ordinal);

    public ArtifactDownloads(ArtifactCache cache, string cacheDirectory, ArtifactTransfers transfers, AddressGuard guard, DownloadLimits limits, TimeProvider clock, ILogger<ArtifactDownloads> logger)
    {
        (_cache, _transfers, _limits, _clock, _logger) = (cache, transfers, limits, clock, logger);
        _sources = Path.Combine(cacheDirectory, "sources");
        _client = new HttpClient(new SocketsHttpHandler
        {
            ConnectCallback = (context, cancellationToken) => guard.ConnectAsync(context.DnsEndPoint, cancellationToken),
            AllowAutoRedirect = false,
            AutomaticDecompression = DecompressionMethods.None,
            ConnectTimeout = limits.Silence,
            MaxResponseHeadersLength = 64,
            PooledConnectionIdleTimeout = TimeSpan.FromSeconds(5),
            UseCookies = false,

            // A proxy would connect in our place, to whatever it likes.
            UseProxy = false,
        })
        {
            Timeout = Timeout.InfiniteTimeSpan,
        };
        _client.DefaultRequestHeaders.UserAgent.Add(new ProductInfoHeaderValue("volantd", typeof(ArtifactDownloads).Assembly.GetName().Version!.ToString(3)));
        _client.DefaultRequestHeaders.AcceptEncoding.Add(new StringWithQualityHeaderValue("identity"));
    }

    /// <summary>The artifact at a URL, downloaded unless it is there. Goes on when the caller does not wait any more.</summary>
    /// <param name="url">An http or https URL.</param>
    /// <param name="checksum">Digest that it must have; without one the server is asked whether what is there is still the same.</param>
    /// <param name="cancellationToken">Stops the caller from waiting.</param>
    /// <exception cref="VolantException">
    /// <c>download_failed</c>, <c>address_not_allowed</c>, <c>checksum_mismatch</c>, <c>invalid_media</c>, <c>too_large</c>, <c>timeout</c> or <c>disk_full</c>; nothing is left.
    /// </exception>
    public Task<CachedMedia> FetchAsync(string url, string? checksum, CancellationToken cancellationToken)
    {
        var key = $"{checksum} {url}";
        Task<CachedMedia>? running;
        lock (_gate)
        {
            if (!_running.TryGetValue(key, out running))
            {
                // It begins outside of the lock, and takes itself out at its end.
                _running[key] = running = Task.Run(() => RunAsync(key, url, checksum), CancellationToken.None);
            }
        }

        return running.WaitAsync(cancellationToken);
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        _stopping.Cancel();
        _client.Dispose();
        _stopping.Dispose();
    }

    private async Task<CachedMedia> RunAsync(string key, string url, string? checksum)
    {
        try
        {
            if (checksum is not null)
            {
                return _cache.Use(checksum) ?? (await DownloadAsync(url, checksum, known: null))!;
            }

            var known = SourceRecord.Find(_sources, url) is { } record && _cache.Use(record.Sha256) is not null ? record : null;
            try
            {
                return await DownloadAsync(url, checksum: null, known) ?? _cache.Use(known!.Sha256)!;
            }
            catch (VolantException e) when (e.Code is ErrorCodes.DownloadFailed or ErrorCodes.Timeout && known is not null && _cache.Use(known.Sha256) is not null)
            {
                // A VM that ran yesterday starts today, too, although the server is down.
                LogStale(e, Shown(url), known.Sha256);
                return new CachedMedia(_cache.PathOf(known.Sha256), known.Sha256);
            }
        }
        finally
        {
            lock (_gate)
            {
                _running.Remove(key);
            }
        }
    }

    /// <summary>Downloads; null when the server says that <paramref name="known"/> is still what it has.</summary>
    private async Task<CachedMedia?> DownloadAsync(string url, string? checksum, SourceRecord? known)
    {
        var progress = _transfers.Begin(Shown(url));
        try
        {
            using var limit = new CancellationTokenSource(_limits.Total, _clock);
            using var ends = CancellationTokenSource.CreateLinkedTokenSource(limit.Token, _stopping.Token);
            try
            {
                var artifact = await TransferAsync(new Download(url, known), checksum, progress, ends.Token);
                progress.Complete(artifact ?? _cache.Find(known!.Sha256)!);
                return artifact is null ? null : new CachedMedia(_cache.PathOf(artifact.Sha256), artifact.Sha256);
            }
            catch (OperationCanceledException e)
            {
                throw limit.IsCancellationRequested
                    ? new VolantException(ErrorCodes.Timeout, $"'{Shown(url)}' could not be downloaded within {_limits.Total.TotalSeconds:0} s; fetch it by other means and upload it, or raise VOLANT_DOWNLOAD_TIMEOUT.", e)
                    : new VolantException(ErrorCodes.Unavailable, "The daemon is stopping.", e);
            }
        }
        catch (Exception e)
        {
            progress.Fail(e);
            throw;
        }
    }

    private async Task<StoredArtifact?> TransferAsync(Download download, string? checksum, ArtifactTransfers.Progress progress, CancellationToken ends)
    {
        using var writer = _cache.Begin();
        for (var failures = 0; ;)
        {
            var before = writer.Length;
            try
            {
                using var silence = new CancellationTokenSource(_limits.Silence, _clock);
                using var either = CancellationTokenSource.CreateLinkedTokenSource(silence.Token, ends);
                if (await AttemptAsync(download, writer, progress, silence, either.Token) == HttpStatusCode.NotModified)
                {
                    return null;
                }

                var artifact = writer.Commit(checksum, $"'{Shown(download.Url)}'");
                if (checksum is null)
                {
                    new SourceRecord(artifact.Sha256, download.ETag?.ToString(), download.LastModified?.ToString("R")).Write(_sources, download.Url);
                }

                return artifact;
            }
            catch (Exception e) when (IsBreak(e) && !ends.IsCancellationRequested)
            {
                if (e.InnerException is VolantException refusal)
                {
                    throw refusal;
                }

                failures = writer.Length > before ? 1 : failures + 1;
                if (failures >= MaxFailures)
                {
                    throw new VolantException(ErrorCodes.DownloadFailed, $"'{Shown(download.Url)}' could not be downloaded: {Why(e)} Nothing of it is kept; try again, or fetch it by other means and upload it.", e);
                }

                LogBreak(e, Shown(download.Url), writer.Length);
                await Task.Delay(FirstPause * (1 << failures), _clock, ends);
            }
        }
    }

    /// <summary>One request, from where the last one ended. Throws what <see cref="IsBreak"/> knows when it is worth another.</summary>
    private async Task<HttpStatusCode> AttemptAsync(Download download, ArtifactWriter writer, ArtifactTransfers.Progress progress, CancellationTokenSource silence, CancellationToken cancellationToken)
    {
        using var response = await SendAsync(download, writer.Length, cancellationToken);
        if (response.StatusCode == HttpStatusCode.NotModified && writer.Length == 0 && download.IsKnown)
        {
            return response.StatusCode;
        }

        Judge(download.Url, response);
        var content = response.Content.Headers;
        if (response.StatusCode != HttpStatusCode.PartialContent || !download.GoesOn(response, writer.Length))
        {
            writer.Restart();
            download.Remember(response);
            if (response.StatusCode == HttpStatusCode.PartialContent)
            {
                throw new IOException("The server continued with another part than was asked for.");
            }
        }

        var total = content.ContentLength is { } length ? writer.Length + length : (long?)null;
        writer.RequireSize(total ?? 0);
        await using var body = await response.Content.ReadAsStreamAsync(cancellationToken);
        var buffer = new byte[BufferSize];
        while (true)
        {
            silence.CancelAfter(_limits.Silence);
            var read = await body.ReadAtLeastAsync(buffer, writer.Length == 0 ? WebPage.ProbeLength : 1, throwOnEndOfStream: false, cancellationToken);
            if (read == 0)
            {
                return response.StatusCode;
            }

            if (writer.Length == 0 && WebPage.Is(content.ContentType?.MediaType, buffer.AsSpan(0, read)))
            {
                throw new VolantException(ErrorCodes.InvalidMedia, $"'{Shown(download.Url)}' is a web page, not an image; it may want a login or be the page about the file. Use the address of the file itself.");
            }

            await writer.WriteAsync(buffer.AsMemory(0, read), cancellationToken);
            progress.Report(writer.Length, total);
        }
    }

    /// <summary>Sends a request, and again to wherever it is redirected: by http or https only, and from https to nothing less.</summary>
    private async Task<HttpResponseMessage> SendAsync(Download download, long have, CancellationToken cancellationToken)
    {
        var target = new Uri(download.Url);
        for (var redirects = 0; ; redirects++)
        {
            using var request = download.Request(target, have);
            var response = await _client.SendAsync(request, HttpCompletionOption.ResponseHeadersRead, cancellationToken);
            if ((int)response.StatusCode is not (301 or 302 or 303 or 307 or 308))
            {
                return response;
            }

            response.Dispose();
            if (redirects == MaxRedirects || !Uri.TryCreate(target, response.Headers.Location, out var next) || (next.Scheme != target.Scheme && next.Scheme != Uri.UriSchemeHttps))
            {
                throw new VolantException(ErrorCodes.DownloadFailed, $"'{Shown(download.Url)}' redirects more than {MaxRedirects} times, or to where a download cannot go; use the address of the file itself.");
            }

            target = next;
        }
    }

    private static void Judge(string url, HttpResponseMessage response)
    {
        var status = (int)response.StatusCode;
        if (status is 408 or 416 or 429 or >= 500)
        {
            throw new IOException($"The server answered {status} {response.ReasonPhrase}.");
        }

        if (status is not (200 or 206))
        {
            throw new VolantException(ErrorCodes.DownloadFailed, $"'{Shown(url)}' could not be downloaded: the server answered {status} {response.ReasonPhrase}. Correct the URL, or fetch the file by other means and upload it.");
        }
    }

    /// <summary>What ends a request and may go well the next time: the connection, the server's silence, its trouble.</summary>
    private static bool IsBreak(Exception failure) => failure is HttpRequestException or IOException or OperationCanceledException;

    private string Why(Exception failure) => failure is OperationCanceledException ? $"the server was silent for {_limits.Silence.TotalSeconds:0} s." : $"{failure.Message.TrimEnd('.')}.";

    /// <summary>A URL without its query, which may hold a token.</summary>
    private static string Shown(string url) => url.Split('?', '#')[0];

    [LoggerMessage(EventId = 1701, Level = LogLevel.Information, Message = "The download of {Source} was interrupted after {Bytes} bytes and goes on")]
    private partial void LogBreak(Exception exception, string source, long bytes);

    [LoggerMessage(EventId = 1702, Level = LogLevel.Warning, Message = "{Source} cannot be asked whether it has changed; {Sha256}, which it held last, is used")]
    private partial void LogStale(Exception exception, string source, string sha256);

    /// <summary>What is known of the file that is downloaded.</summary>
    private sealed class Download(string url, SourceRecord? known)
    {
        public string Url => url;

        /// <summary>Whether the cache has what the URL held last.</summary>
        public bool IsKnown => known is not null;

        public EntityTagHeaderValue? ETag { get; private set; }

        public DateTimeOffset? LastModified { get; private set; }

        /// <summary>The request for all, or for what follows after so many bytes if it is still the same file.</summary>
        public HttpRequestMessage Request(Uri target, long have)
        {
            var request = new HttpRequestMessage(HttpMethod.Get, target);
            if (have > 0 && ETag is { IsWeak: false } tag)
            {
                request.Headers.Range = new RangeHeaderValue(have, null);
                request.Headers.IfRange = new RangeConditionHeaderValue(tag);
            }
            else if (have > 0 && ETag is null && LastModified is { } time)
            {
                request.Headers.Range = new RangeHeaderValue(have, null);
                request.Headers.IfRange = new RangeConditionHeaderValue(time);
            }
            else if (have == 0 && known is not null)
            {
                Add("If-None-Match", known.ETag);
                Add("If-Modified-Since", known.LastModified);
            }

            return request;

            void Add(string name, string? value)
            {
                if (value is not null)
                {
                    request.Headers.TryAddWithoutValidation(name, value);
                }
            }
        }

        /// <summary>Whether a partial answer is the rest of the same file.</summary>
        public bool GoesOn(HttpResponseMessage response, long have) =>
            response.Content.Headers.ContentRange?.From == have && (response.Headers.ETag is null || response.Headers.ETag.Equals(ETag));

        public void Remember(HttpResponseMessage response) => (ETag, LastModified) = (response.Headers.ETag, response.Content.Headers.LastModified);
    }
}
