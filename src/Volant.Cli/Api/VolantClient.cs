using System.Globalization;
using System.Net;
using System.Net.Http.Headers;
using System.Text;
using System.Text.Json;
using Volant.Contracts;
using Volant.Contracts.Api;

namespace Volant.Cli.Api;

/// <summary>Which VMs to list.</summary>
/// <param name="Statuses">Only these; empty for all.</param>
/// <param name="Plugin">Only of this plugin; null for all.</param>
internal sealed record VmFilter(IReadOnlyList<string> Statuses, string? Plugin);

/// <summary>How to change the state of a VM.</summary>
/// <param name="Verb"><c>start</c>, <c>stop</c> or <c>restart</c>.</param>
/// <param name="Grace">How long the guest may take to shut down; null for the daemon's default.</param>
/// <param name="Wait">How long the daemon may wait for readiness before it answers; null not to wait.</param>
internal sealed record VmChange(string Verb, TimeSpan? Grace, TimeSpan? Wait);

/// <summary>The API by resource (contract §2). Names are checked by the caller: they become parts of paths.</summary>
/// <remarks>Every method throws <see cref="CliException"/> for what the daemon refuses and for what never reaches it.</remarks>
internal sealed partial class VolantClient(DaemonConnection connection, TimeProvider clock) : IDisposable
{
    /// <summary>Limit of a request that only reads.</summary>
    public static readonly TimeSpan ReadTimeout = TimeSpan.FromSeconds(30);

    /// <summary>Limit of a request that changes something and does not say how long it may wait.</summary>
    public static readonly TimeSpan ChangeTimeout = TimeSpan.FromMinutes(5);

    /// <summary>How much later than the end of its own wait the daemon may answer.</summary>
    public static readonly TimeSpan WaitSlack = TimeSpan.FromSeconds(30);

    /// <summary>Longest silence of an upload.</summary>
    public static readonly TimeSpan StallTimeout = TimeSpan.FromMinutes(2);

    private const int MaxListed = 100_000;

    /// <summary>Whether the daemon is most likely on this host.</summary>
    public bool IsLocal => connection.IsLocal;

    /// <summary>Where it listens, as the user wrote it.</summary>
    public string Address => connection.Address;

    /// <inheritdoc/>
    public void Dispose() => connection.Dispose();

    /// <summary>Every VM that the filter lets through, sorted by name, however the daemon pages them.</summary>
    public async Task<IReadOnlyList<Answer<Vm>>> ListVmsAsync(VmFilter filter, CancellationToken cancellationToken = default)
    {
        var vms = new List<Answer<Vm>>();
        while (true)
        {
            var query = new StringBuilder("api/v1/vms?sort=name&order=asc");
            foreach (var status in filter.Statuses)
            {
                query.Append("&status=").Append(Uri.EscapeDataString(status));
            }

            if (filter.Plugin is { } plugin)
            {
                query.Append("&plugin=").Append(Uri.EscapeDataString(plugin));
            }

            if (vms.Count > 0)
            {
                query.Append(CultureInfo.InvariantCulture, $"&offset={vms.Count}");
            }

            using var request = new HttpRequestMessage(HttpMethod.Get, query.ToString());
            var reply = await connection.SucceedAsync(request, ReadTimeout, cancellationToken);
            var page = connection.Read(reply, ContractsJson.Default.IReadOnlyListVm);
            vms.AddRange(page.Value.Zip(page.Json.EnumerateArray(), (vm, json) => new Answer<Vm>(vm, json)));
            if (page.Value.Count == 0 || vms.Count >= Math.Min(TotalOf(reply), MaxListed))
            {
                return vms;
            }
        }
    }

    /// <summary>One VM.</summary>
    public async Task<Answer<Vm>> GetVmAsync(string name, CancellationToken cancellationToken = default)
    {
        using var request = new HttpRequestMessage(HttpMethod.Get, $"api/v1/vms/{name}");
        return connection.Read(await connection.SucceedAsync(request, ReadTimeout, cancellationToken), ContractsJson.Default.Vm);
    }

    /// <summary>Creates and starts a VM.</summary>
    /// <param name="body">What to create.</param>
    /// <param name="wait">How long the daemon may wait for readiness before it answers; null not to wait.</param>
    /// <param name="cancellationToken">Ends the wait, not the creation.</param>
    public async Task<Answer<Vm>> CreateVmAsync(CreateVmRequest body, TimeSpan? wait, CancellationToken cancellationToken = default)
    {
        using var request = new HttpRequestMessage(HttpMethod.Post, "api/v1/vms" + WaitQuery('?', wait));
        request.Content = Json(JsonSerializer.SerializeToUtf8Bytes(body, ContractsJson.Default.CreateVmRequest));
        var reply = await connection.SucceedAsync(request, LimitOf(wait), cancellationToken);
        return connection.Read(reply, ContractsJson.Default.Vm);
    }

    /// <summary>Starts, stops or restarts a VM.</summary>
    public async Task<Answer<Vm>> ChangeVmAsync(string name, VmChange change, CancellationToken cancellationToken = default)
    {
        var query = new StringBuilder();
        if (change.Grace is { } grace)
        {
            query.Append(CultureInfo.InvariantCulture, $"?grace_seconds={grace.TotalSeconds:F0}");
        }

        query.Append(WaitQuery(query.Length == 0 ? '?' : '&', change.Wait));
        using var request = new HttpRequestMessage(HttpMethod.Post, $"api/v1/vms/{name}/{change.Verb}{query}");
        var timeout = LimitOf(change.Wait) + (change.Grace ?? TimeSpan.Zero);
        return connection.Read(await connection.SucceedAsync(request, timeout, cancellationToken), ContractsJson.Default.Vm);
    }

    /// <summary>Stops and deletes a VM with everything it owned.</summary>
    public async Task DeleteVmAsync(string name, CancellationToken cancellationToken = default)
    {
        using var request = new HttpRequestMessage(HttpMethod.Delete, $"api/v1/vms/{name}");
        await connection.SucceedAsync(request, ChangeTimeout, cancellationToken);
    }

    /// <summary>The failure of a body that ended before its time.</summary>
    public CliException BrokenStream(Exception cause) => connection.Unreachable("broke the connection", cause);

    /// <summary>Names of the installed plugins.</summary>
    public async Task<IReadOnlyList<string>> ListPluginsAsync(CancellationToken cancellationToken = default)
    {
        using var request = new HttpRequestMessage(HttpMethod.Get, "api/v1/plugins");
        return connection.Read(await connection.SucceedAsync(request, ReadTimeout, cancellationToken), ContractsJson.Default.PluginList).Value.Plugins;
    }

    /// <summary>The manifest of a plugin, as JSON: a newer daemon may know more members than this version.</summary>
    public async Task<JsonElement> GetPluginAsync(string name, CancellationToken cancellationToken = default)
    {
        using var request = new HttpRequestMessage(HttpMethod.Get, $"api/v1/plugins/{name}");
        return connection.ReadElement(await connection.SucceedAsync(request, ReadTimeout, cancellationToken));
    }

    /// <summary>Installs or replaces a plugin.</summary>
    /// <param name="manifest">The manifest as UTF-8 JSON.</param>
    /// <param name="cancellationToken">Cancelled by the user.</param>
    /// <returns>Whether a plugin of that name was there before, and the answer's JSON, when it has any.</returns>
    public async Task<(bool Replaced, JsonElement? Json)> InstallPluginAsync(byte[] manifest, CancellationToken cancellationToken = default)
    {
        using var request = new HttpRequestMessage(HttpMethod.Post, "api/v1/plugins");
        request.Content = Json(manifest);
        var reply = await connection.SucceedAsync(request, ChangeTimeout, cancellationToken);
        return (reply.Status == HttpStatusCode.OK, reply.Body.Length == 0 ? null : connection.ReadElement(reply));
    }

    /// <summary>Removes a plugin.</summary>
    public async Task RemovePluginAsync(string name, CancellationToken cancellationToken = default)
    {
        using var request = new HttpRequestMessage(HttpMethod.Delete, $"api/v1/plugins/{name}");
        await connection.SucceedAsync(request, ChangeTimeout, cancellationToken);
    }

    /// <summary>Whether the daemon holds the artifact.</summary>
    /// <param name="sha256">Digest in canonical form.</param>
    /// <param name="cancellationToken">Cancelled by the user.</param>
    public async Task<bool> HasArtifactAsync(string sha256, CancellationToken cancellationToken = default)
    {
        using var probe = new HttpRequestMessage(HttpMethod.Head, $"api/v1/artifacts/{sha256}");
        var status = (await connection.SendAsync(probe, ReadTimeout, cancellationToken)).Status;
        if (status == HttpStatusCode.NotFound || (int)status is >= 200 and < 300)
        {
            return status != HttpStatusCode.NotFound;
        }

        // An answer to HEAD has no body: ask again in a way that says why.
        using var request = new HttpRequestMessage(HttpMethod.Get, $"api/v1/artifacts/{sha256}");
        using var response = await connection.OpenAsync(request, ReadTimeout, cancellationToken);
        return true;
    }

    /// <summary>Uploads an artifact; the daemon verifies the digest.</summary>
    /// <param name="sha256">Digest in canonical form.</param>
    /// <param name="content">The bytes, from the current position to the end.</param>
    /// <param name="length">How many bytes.</param>
    /// <param name="progress">Told after every part how many bytes were sent.</param>
    /// <param name="cancellationToken">Cancelled by the user.</param>
    public async Task UploadArtifactAsync(string sha256, Stream content, long length, Action<long> progress, CancellationToken cancellationToken = default)
    {
        using var stalled = new CancellationTokenSource(StallTimeout, clock);
        using var limit = CancellationTokenSource.CreateLinkedTokenSource(stalled.Token, cancellationToken);
        await using var counted = new CountedStream(content, sent =>
        {
            stalled.CancelAfter(StallTimeout);
            progress(sent);
        });
        using var request = new HttpRequestMessage(HttpMethod.Put, $"api/v1/artifacts/{sha256}");
        request.Content = new StreamContent(counted, 256 * 1024);
        request.Content.Headers.ContentType = new MediaTypeHeaderValue("application/octet-stream");
        request.Content.Headers.ContentLength = length;

        // A wrong key or a full disk is known before gigabytes are sent.
        request.Headers.ExpectContinue = true;
        try
        {
            await connection.SucceedAsync(request, Timeout.InfiniteTimeSpan, limit.Token);
        }
        catch (OperationCanceledException) when (!cancellationToken.IsCancellationRequested)
        {
            throw CliException.TimedOut(string.Create(CultureInfo.InvariantCulture, $"The upload made no progress for {StallTimeout.TotalSeconds:F0} s; the daemon or the network is stuck."));
        }
    }

    private static ByteArrayContent Json(byte[] json)
    {
        var content = new ByteArrayContent(json);
        content.Headers.ContentType = new MediaTypeHeaderValue("application/json");
        return content;
    }

    private static string WaitQuery(char separator, TimeSpan? wait) =>
        wait is { } limit ? string.Create(CultureInfo.InvariantCulture, $"{separator}wait=ready&timeout={limit.TotalSeconds:F0}") : string.Empty;

    private static TimeSpan LimitOf(TimeSpan? wait) => wait is { } limit ? limit + WaitSlack : ChangeTimeout;

    private static int TotalOf(Reply reply) =>
        reply.Headers.TryGetValues("X-Total-Count", out var values) &&
        int.TryParse(values.FirstOrDefault(), NumberStyles.None, CultureInfo.InvariantCulture, out var total) ? total : 0;
}
