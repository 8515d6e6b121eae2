using System.Globalization;
using System.Net.ServerSentEvents;
using System.Text;
using System.Text.Json;
using Volant.Contracts;
using Volant.Contracts.Api;

namespace Volant.Cli.Api;

/// <summary>Which lines of a log are wanted.</summary>
/// <param name="Tail">Most lines of what is there; null for the daemon's default.</param>
/// <param name="Since">A time as in RFC 3339, or how long ago; null for any.</param>
/// <param name="Stream">One of <see cref="LogStreams"/>; null for the workload's.</param>
internal sealed record LogFilterQuery(int? Tail, string? Since, string? Stream);

/// <summary>What reaches into a guest, and what goes on coming.</summary>
internal sealed partial class VolantClient
{
    /// <summary>The workload's log, line by line.</summary>
    /// <param name="name">VM.</param>
    /// <param name="query">Which lines.</param>
    /// <param name="follow">Whether to go on with new lines until the VM is deleted.</param>
    /// <param name="say">Told about lost connections.</param>
    /// <param name="cancellationToken">Cancelled by the user.</param>
    public async IAsyncEnumerable<Answer<LogLine>> ReadLogsAsync(
        string name, LogFilterQuery query, bool follow, Action<string> say, [System.Runtime.CompilerServices.EnumeratorCancellation] CancellationToken cancellationToken)
    {
        var path = new StringBuilder($"api/v1/vms/{name}/logs?follow={(follow ? "true" : "false")}");
        if (query.Tail is { } tail)
        {
            path.Append(CultureInfo.InvariantCulture, $"&tail={tail}");
        }

        Append(path, "since", query.Since);
        Append(path, "stream", query.Stream);
        var follower = new EventFollower(connection, clock, say);
        await foreach (var item in follower.ReadAsync(path.ToString(), lastId: null, follow, () => ExistsAsync(name, cancellationToken), cancellationToken))
        {
            yield return Read(item, ContractsJson.Default.LogLine);
        }
    }

    /// <summary>Events of all VMs; the type <c>gap</c> says that some were missed.</summary>
    /// <param name="after">Number of the event to go on after; null for new ones only, or all that are kept when <paramref name="follow"/> is off.</param>
    /// <param name="logs">Whether log lines are among them; only new ones can be.</param>
    /// <param name="follow">Whether to go on with new ones.</param>
    /// <param name="say">Told about lost connections.</param>
    /// <param name="cancellationToken">Cancelled by the user.</param>
    public IAsyncEnumerable<SseItem<string>> ReadEventsAsync(long? after, bool logs, bool follow, Action<string> say, CancellationToken cancellationToken) =>
        new EventFollower(connection, clock, say).ReadAsync(
            $"api/v1/events/vms?follow={(follow ? 1 : 0)}{(logs ? "&logs=1" : string.Empty)}", after?.ToString(CultureInfo.InvariantCulture), follow, () => Task.FromResult(true), cancellationToken);

    /// <summary>Opens the serial console.</summary>
    public Task<WebSocketConnection> OpenConsoleAsync(string name, CancellationToken cancellationToken) => connection.UpgradeAsync($"ws/v1/vms/{name}/console", cancellationToken);

    /// <summary>Opens a command's terminal or streams; the request is the first text message.</summary>
    public Task<WebSocketConnection> OpenExecAsync(string name, CancellationToken cancellationToken) => connection.UpgradeAsync($"ws/v1/vms/{name}/exec", cancellationToken);

    /// <summary>Opens a TCP connection to a port in the guest.</summary>
    public Task<WebSocketConnection> OpenTunnelAsync(string name, int port, CancellationToken cancellationToken) =>
        connection.UpgradeAsync(string.Create(CultureInfo.InvariantCulture, $"ws/v1/vms/{name}/tunnel?port={port}"), cancellationToken);

    /// <summary>Runs a command and waits for its end.</summary>
    public async Task<Answer<ExecResult>> ExecAsync(string name, ExecRequest body, CancellationToken cancellationToken)
    {
        using var request = new HttpRequestMessage(HttpMethod.Post, $"api/v1/vms/{name}/exec");
        request.Content = Json(JsonSerializer.SerializeToUtf8Bytes(body, ContractsJson.Default.ExecRequest));
        var limit = TimeSpan.FromMilliseconds(body.TimeoutMs ?? ExecRules.DefaultTimeoutMs) + WaitSlack;
        return connection.Read(await connection.SucceedAsync(request, limit, cancellationToken), ContractsJson.Default.ExecResult);
    }

    /// <summary>What a path of the guest is; null when nothing is there.</summary>
    public async Task<FileStat?> FindFileAsync(string name, string path, CancellationToken cancellationToken)
    {
        try
        {
            return (await GetAsync($"api/v1/vms/{name}/files/stat?path={Uri.EscapeDataString(path)}", ContractsJson.Default.FileStat, cancellationToken)).Value;
        }
        catch (CliException e) when (e.Code == ErrorCodes.FileNotFound)
        {
            return null;
        }
    }

    /// <summary>Opens a file of the guest, or a directory as tar.</summary>
    public async Task<HttpResponseMessage> OpenFileAsync(string name, string path, CancellationToken cancellationToken)
    {
        using var request = new HttpRequestMessage(HttpMethod.Get, $"api/v1/vms/{name}/files?path={Uri.EscapeDataString(path)}");
        return await connection.OpenAsync(request, ReadTimeout, cancellationToken);
    }

    /// <summary>Writes a file of the guest, or unpacks a tar into a directory.</summary>
    /// <param name="name">VM.</param>
    /// <param name="path">Absolute path in the guest.</param>
    /// <param name="mode">Permissions of the file; null to leave them to the guest.</param>
    /// <param name="content">The bytes; with the type <see cref="FileTypes.Tar"/> an archive.</param>
    /// <param name="cancellationToken">Cancelled by the user.</param>
    public async Task WriteFileAsync(string name, string path, UnixFileMode? mode, HttpContent content, CancellationToken cancellationToken)
    {
        var query = $"api/v1/vms/{name}/files?path={Uri.EscapeDataString(path)}{(mode is { } bits ? $"&mode={Convert.ToString((int)bits & 0x1ff, 8).PadLeft(4, '0')}" : string.Empty)}";
        using var request = new HttpRequestMessage(HttpMethod.Put, query) { Content = content };

        // A wrong name is known before gigabytes are sent.
        request.Headers.ExpectContinue = true;
        await connection.SucceedAsync(request, Timeout.InfiniteTimeSpan, cancellationToken);
    }

    /// <summary>What the guest uses.</summary>
    public Task<Answer<GuestMetrics>> GetMetricsAsync(string name, CancellationToken cancellationToken) =>
        GetAsync($"api/v1/vms/{name}/agent/v1/metrics", ContractsJson.Default.GuestMetrics, cancellationToken);

    /// <summary>The OpenAPI document of the workload: JSON or YAML, as the guest wrote it.</summary>
    public async Task<Reply> GetOpenApiAsync(string name, CancellationToken cancellationToken)
    {
        using var request = new HttpRequestMessage(HttpMethod.Get, $"api/v1/vms/{name}/openapi");
        return await connection.SucceedAsync(request, ReadTimeout, cancellationToken);
    }

    /// <summary>Sends a request to the workload; whatever it answers is the result.</summary>
    /// <param name="name">VM.</param>
    /// <param name="method">HTTP method.</param>
    /// <param name="path">Path and query of the workload.</param>
    /// <param name="body">JSON to send; null for none.</param>
    /// <param name="timeout">Limit of the whole exchange.</param>
    /// <param name="cancellationToken">Cancelled by the user.</param>
    public async Task<Reply> CallAsync(string name, HttpMethod method, string path, byte[]? body, TimeSpan timeout, CancellationToken cancellationToken)
    {
        using var request = new HttpRequestMessage(method, $"api/v1/vms/{name}/agent{path}");
        request.Content = body is null ? null : Json(body);
        return await connection.SendAsync(request, timeout, cancellationToken);
    }

    /// <summary>The failure that an answer reports.</summary>
    public CliException Refusal(Reply reply) => connection.Refusal(reply);

    /// <summary>A value of an event.</summary>
    /// <exception cref="CliException">It is not what the contract says.</exception>
    public Answer<T> Read<T>(SseItem<string> item, System.Text.Json.Serialization.Metadata.JsonTypeInfo<T> type) =>
        connection.Read(Encoding.UTF8.GetBytes(item.Data), type);

    private async Task<bool> ExistsAsync(string name, CancellationToken cancellationToken)
    {
        try
        {
            await GetVmAsync(name, cancellationToken);
            return true;
        }
        catch (CliException e)
        {
            // Away is not gone.
            return !e.IsNotFound;
        }
    }

    private static void Append(StringBuilder query, string name, string? value)
    {
        if (value is not null)
        {
            query.Append('&').Append(name).Append('=').Append(Uri.EscapeDataString(value));
        }
    }
}
