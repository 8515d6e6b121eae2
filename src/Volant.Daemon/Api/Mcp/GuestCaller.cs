using System.Buffers;
using System.Diagnostics;
using System.Net.Http.Headers;
using System.Text;
using System.Text.Json;
using Volant.Contracts.Api;
using Volant.Daemon.Guests;
using Volant.Daemon.Orchestration;
using Volant.Daemon.Telemetry;
using Yarp.ReverseProxy.Forwarder;

namespace Volant.Daemon.Api.Mcp;

/// <summary>Sends a request into a guest and gathers its answer, bounded in size and time: the guest is hostile.</summary>
/// <remarks>Apart from <see cref="GuestForwarder"/>, which streams a caller's own request. Redirects are not followed, and nothing of the caller reaches the guest.</remarks>
internal sealed class GuestCaller(VmOwners owners, DaemonOptions options, TimeProvider clock)
{
    /// <summary>Most bytes of an answer that are returned.</summary>
    public const int MaxBytes = 64 * 1024;

    private const int MaxTypeLength = 128;

    private static readonly SearchValues<char> NotText = SearchValues.Create('\0', '\uFFFD');

    /// <summary>Calls a VM.</summary>
    /// <param name="name">Name of the VM.</param>
    /// <param name="target">Where in it, and how long it may take until it begins to answer.</param>
    /// <param name="query">Query string.</param>
    /// <param name="body">What to send; nothing when null.</param>
    /// <param name="cancellationToken">Ends it.</param>
    /// <exception cref="VolantException"><c>vm_not_found</c>, <c>vm_not_running</c>, <c>timeout</c> or <c>agent_unreachable</c>.</exception>
    public async Task<ActionAnswer> CallAsync(string name, GuestTarget target, QueryString query, JsonElement? body, CancellationToken cancellationToken)
    {
        var guest = owners.GetGuest(name);
        var patience = target.Patience ?? options.AgentTimeout;
        using var activity = Instruments.Activities.StartActivity("guest.call", ActivityKind.Client);
        activity?.SetTag("volant.vm", name);
        using var request = new HttpRequestMessage(target.Method ?? HttpMethod.Get, RequestUtilities.MakeDestinationAddress(GuestClient.BaseAddress.ToString(), target.Path, query));
        if (body is { } json)
        {
            request.Content = new StringContent(json.GetRawText(), Encoding.UTF8, new MediaTypeHeaderValue("application/json"));
        }

        using var deadline = new CancellationTokenSource(patience, clock);
        using var either = CancellationTokenSource.CreateLinkedTokenSource(deadline.Token, cancellationToken);
        try
        {
            using var response = await guest.Invoker.SendAsync(request, either.Token);

            // As long again for what follows the head.
            deadline.CancelAfter(patience);
            var (answer, note) = await ReadAsync(response, patience, deadline.Token, either.Token);
            return Describe(name, response, answer, note);
        }
        catch (OperationCanceledException e) when (deadline.IsCancellationRequested && !cancellationToken.IsCancellationRequested)
        {
            throw new VolantException(ErrorCodes.Timeout, GuestForwarder.Complaint(name, $"did not answer within {patience.TotalSeconds:0.###} s"), e);
        }
        catch (Exception e) when (e is HttpRequestException or IOException || (e is OperationCanceledException && !cancellationToken.IsCancellationRequested))
        {
            throw new VolantException(ErrorCodes.AgentUnreachable, GuestForwarder.Complaint(name, "could not be reached or broke off its answer"), e);
        }
    }

    private static async Task<(ReadOnlyMemory<byte> Body, string? Note)> ReadAsync(HttpResponseMessage response, TimeSpan patience, CancellationToken late, CancellationToken cancellationToken)
    {
        var buffer = new byte[MaxBytes + 1];
        var length = 0;
        try
        {
            await using var stream = await response.Content.ReadAsStreamAsync(cancellationToken);
            while (length < buffer.Length && await stream.ReadAsync(buffer.AsMemory(length), cancellationToken) is > 0 and var count)
            {
                length += count;
            }
        }
        catch (OperationCanceledException) when (late.IsCancellationRequested)
        {
            return (buffer.AsMemory(0, length), $"The answer was not complete after {patience.TotalSeconds:0.###} s; this is its beginning.");
        }

        return length <= MaxBytes ? (buffer.AsMemory(0, length), null) : (buffer.AsMemory(0, MaxBytes), $"The answer is longer than {MaxBytes >> 10} KiB; this is its beginning.");
    }

    private static ActionAnswer Describe(string name, HttpResponseMessage response, ReadOnlyMemory<byte> body, string? note)
    {
        // A cut may go through a character.
        var text = Encoding.UTF8.GetString(body.Span);
        text = note is null ? text : text.TrimEnd('\uFFFD');
        var isText = text.AsSpan().IndexOfAny(NotText) < 0;
        var type = response.Content.Headers.ContentType?.ToString();
        return new ActionAnswer
        {
            Vm = name,
            Status = (int)response.StatusCode,
            ContentType = type is { Length: > MaxTypeLength } ? type[..MaxTypeLength] : type,
            Body = isText && text.Length > 0 ? text : null,
            Note = isText ? note : $"The answer is not text ({(note is null ? string.Empty : "at least ")}{body.Length} bytes); fetch it over the HTTP API.",
        };
    }
}
