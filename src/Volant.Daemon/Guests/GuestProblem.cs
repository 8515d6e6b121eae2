using System.Collections.Frozen;
using System.Text.Json;
using Volant.Contracts;
using Volant.Contracts.Api;

namespace Volant.Daemon.Guests;

/// <summary>What an agent's answer means that is not the one hoped for.</summary>
internal static class GuestProblem
{
    private const int MaxBytes = 64 * 1024;
    private const int MaxDetail = 4096;

    // What the agent itself may say, with the status that goes with it; anything else is the daemon's to judge.
    private static readonly FrozenDictionary<string, int> Known = new Dictionary<string, int>(StringComparer.Ordinal)
    {
        [ErrorCodes.InvalidRequest] = 400,
        [ErrorCodes.FileNotFound] = 404,
        [ErrorCodes.FileConflict] = 409,
        [ErrorCodes.AlreadyIdentified] = 409,
        [ErrorCodes.ExecFailed] = 422,
        [ErrorCodes.TooManyRequests] = 429,
        [ErrorCodes.ConnectionRefused] = 502,
        [ErrorCodes.GuestError] = 502,
        [ErrorCodes.Unavailable] = 503,
        [ErrorCodes.Timeout] = 504,
        [ErrorCodes.DiskFull] = 507,
    }.ToFrozenDictionary(StringComparer.Ordinal);

    /// <summary>The failure to tell a caller: the agent's own words, or that it does not keep to the protocol.</summary>
    /// <param name="response">Its answer; hostile.</param>
    /// <param name="name">Name of the VM.</param>
    /// <param name="cancellationToken">The time limit.</param>
    public static async Task<VolantException> ReadAsync(HttpResponseMessage response, string name, CancellationToken cancellationToken)
    {
        var status = (int)response.StatusCode;
        if (response.Content.Headers.ContentType?.MediaType == "application/problem+json" && await ParseAsync(response, cancellationToken) is { Code: { } code, Detail: { } detail } &&
            Known.GetValueOrDefault(code) == status)
        {
            return new VolantException(code, detail.Length <= MaxDetail ? detail : detail[..MaxDetail]);
        }

        return new VolantException(ErrorCodes.AgentUnreachable, $"The agent of VM '{name}' answered {status}, which is no answer to this request; it may be older than the daemon. Rebuild its image.");
    }

    private static async Task<Problem?> ParseAsync(HttpResponseMessage response, CancellationToken cancellationToken)
    {
        await using var body = await response.Content.ReadAsStreamAsync(cancellationToken);
        var buffer = new byte[MaxBytes];
        var length = await body.ReadAtLeastAsync(buffer, buffer.Length, throwOnEndOfStream: false, cancellationToken);
        try
        {
            return JsonSerializer.Deserialize(buffer.AsSpan(0, length), ContractsJson.Default.Problem);
        }
        catch (JsonException)
        {
            return null;
        }
    }
}
