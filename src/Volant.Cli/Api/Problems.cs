using System.Globalization;
using System.Text;
using System.Text.Json;
using Volant.Cli.Output;
using Volant.Contracts;
using Volant.Contracts.Api;

namespace Volant.Cli.Api;

/// <summary>Turns answers that are no success into failures for people (contract §1).</summary>
internal static class Problems
{
    private const int MaxExcerpt = 200;

    /// <summary>The failure that <paramref name="reply"/> reports.</summary>
    public static CliException ToException(Reply reply, ApiAddress address)
    {
        var status = (int)reply.Status;
        if (status is >= 300 and < 400)
        {
            var target = reply.Headers.Location is { } location ? $" to '{location}'" : string.Empty;
            return new CliException(ExitCodes.Failed, $"{address.Text} answered with a redirect{target}, which is never followed.")
            {
                Code = "redirect",
                Hint = "set VOLANT_API_BASE or --api to the address of volantd itself",
            };
        }

        var problem = Read(reply);
        var code = problem?.Code;
        var detail = problem?.Detail ?? problem?.Error ?? problem?.Title;
        return new CliException(ExitOf(status, code), string.IsNullOrWhiteSpace(detail) ? Describe(reply, address) : detail)
        {
            Code = code,
            Status = status,
            Fields = [.. (problem?.Errors ?? new Dictionary<string, IReadOnlyList<string>>(StringComparer.Ordinal))
                .SelectMany(field => (field.Value ?? []).Select(message => new FieldError(field.Key, message ?? string.Empty)))],
            Hint = HintOf(status, code),
            ProblemJson = problem is null ? null : reply.Body,
        };
    }

    private static int ExitOf(int status, string? code) => (status, code) switch
    {
        (_, ErrorCodes.Timeout) or (504, _) => ExitCodes.TimedOut,
        _ => ExitCodes.Failed,
    };

    private static string? HintOf(int status, string? code) => (code, status) switch
    {
        (ErrorCodes.VmNotFound, _) => "'volar vms list' shows the VMs",
        (ErrorCodes.PluginNotFound, _) => "'volar plugins list' shows the installed plugins",
        (ErrorCodes.PluginInUse, _) => "'volar vms list --plugin NAME' shows the VMs that use it",
        (ErrorCodes.VmExists, _) => "choose another name, or remove that VM with 'volar vms delete NAME'",
        (ErrorCodes.VmNotRunning, _) => "start it with 'volar vms start NAME'",
        (ErrorCodes.Unauthorized, _) or (_, 401) => "set VOLANT_API_KEY to the key that volantd was started with",
        (ErrorCodes.Forbidden, _) or (_, 403) => "volantd allows only the addresses in its VOLANT_API_ALLOW_CIDR",
        (ErrorCodes.HypervisorUnavailable, _) => "the log of volantd says which hypervisor it looked for",
        _ => null,
    };

    private static Problem? Read(Reply reply)
    {
        if (!IsJson(reply.MediaType))
        {
            return null;
        }

        try
        {
            return JsonSerializer.Deserialize(reply.Body, ContractsJson.Default.Problem);
        }
        catch (JsonException)
        {
            // A proxy in between may answer with JSON of its own.
            return null;
        }
    }

    /// <summary>Whether a media type says JSON.</summary>
    public static bool IsJson(string mediaType) =>
        mediaType == "application/json" || mediaType.EndsWith("+json", StringComparison.Ordinal);

    private static string Describe(Reply reply, ApiAddress address)
    {
        var status = string.Create(CultureInfo.InvariantCulture, $"{(int)reply.Status} ({(Enum.IsDefined(reply.Status) ? reply.Status : "unknown")})");
        var said = reply.MediaType == "text/plain" ? TerminalText.Clean(Encoding.UTF8.GetString(reply.Body.AsSpan(0, Math.Min(reply.Body.Length, MaxExcerpt)))).Trim() : string.Empty;
        return said.Length > 0 ? $"{address.Text} answered {status}: {said}" : $"{address.Text} answered {status} without saying why; is it volantd?";
    }
}
