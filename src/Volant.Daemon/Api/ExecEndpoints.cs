using System.Net.WebSockets;
using System.Text.Json;
using Microsoft.AspNetCore.Http.Timeouts;
using Volant.Contracts;
using Volant.Contracts.Api;
using Volant.Daemon.Guests;
using Volant.Daemon.Orchestration;

namespace Volant.Daemon.Api;

/// <summary><c>/api/v1/vms/{name}/exec</c> and <c>/ws/v1/vms/{name}/exec</c>: commands in a guest, see <see cref="ExecRequest"/>.</summary>
internal static class ExecEndpoints
{
    private static readonly AgentAnswer Result = new([200], ["application/json"]);

    // The agent ends a command that takes too long, and then says so.
    private static readonly TimeSpan Reserve = TimeSpan.FromMilliseconds(ExecRules.KillGraceMs) + TimeSpan.FromSeconds(10);

    public static void MapExec(this IEndpointRouteBuilder routes)
    {
        routes.MapPost("/api/v1/vms/{name}/exec", RunAsync).WithTags("vms").WithName("execInVM").WithSummary("Run a command in a VM and wait for its end")
            .WithDescription("No shell. Output is kept up to 1 MiB per stream. The command is ended when the time is over (504) or the caller goes away.")
            .WithMetadata(new DisableRequestTimeoutAttribute()).Produces<ExecResult>().ProducesProblem(400).ProducesProblem(404).ProducesProblem(409).ProducesProblem(422).ProducesProblem(502).ProducesProblem(503).ProducesProblem(504);
        routes.MapGet("/ws/v1/vms/{name}/exec", AttachAsync).WithTags("vms").WithName("attachVMExec").WithSummary("Talk to a command in a VM (WebSocket)")
            .WithDescription("The first text frame is the request (`ExecRequest`). Binary frames begin with a channel byte: 0 standard input, 1 standard output, 2 standard error. Text frames of the client are `ExecControl`; the last frame of the server is `ExecEnd`.")
            .WithMetadata(new DisableRequestTimeoutAttribute()).Produces(StatusCodes.Status101SwitchingProtocols).ProducesProblem(400).ProducesProblem(404).ProducesProblem(409).ProducesProblem(502).ProducesProblem(504);
    }

    private static Task RunAsync(HttpContext context, string name, ExecRequest request, GuestForwarder forwarder)
    {
        if (ExecRules.Validate(request, isInteractive: false) is { Count: > 0 } faults)
        {
            throw new VolantException(ErrorCodes.InvalidRequest, Words(faults)) { Fields = faults };
        }

        var body = JsonSerializer.SerializeToUtf8Bytes(request, ContractsJson.Readable.ExecRequest);
        context.Request.Body = new MemoryStream(body, writable: false);
        context.Request.ContentLength = body.Length;
        var patience = TimeSpan.FromMilliseconds(request.TimeoutMs ?? ExecRules.DefaultTimeoutMs) + Reserve;
        return forwarder.ForwardAsync(context, name, new GuestTarget("/v1/agent/exec", Patience: patience, Answer: Result));
    }

    private static async Task AttachAsync(HttpContext context, string name, VmOwners owners, DaemonOptions options, TimeProvider clock, IHostApplicationLifetime lifetime)
    {
        Sockets.Require(context);
        var guest = owners.GetGuest(name);
        await guest.GetStateAsync(since: 0, TimeSpan.Zero, context.RequestAborted);
        using var socket = await Sockets.AcceptAsync(context);
        await using var session = new ExecSession(guest, name, socket, options.AgentTimeout, clock);

        // A client that does not read makes the command wait; that it is alive the pings tell.
        await Sockets.ServeAsync(socket, session.SendAsync, session.ReceiveAsync, clock, lifetime.ApplicationStopping, Timeout.InfiniteTimeSpan);
    }

    internal static string Words(IEnumerable<FieldError> faults) => $"The request is not valid: {string.Join("; ", faults.Select(fault => $"{fault.Path} {fault.Message}"))}.";
}

/// <summary>One command with a client at the other end of a WebSocket.</summary>
internal sealed class ExecSession(GuestClient guest, string name, WebSocket socket, TimeSpan patience, TimeProvider clock) : IAsyncDisposable
{
    private static readonly TimeSpan RequestLimit = TimeSpan.FromSeconds(30);

    private readonly TaskCompletionSource<ExecRequest> _request = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private readonly TaskCompletionSource<GuestStream?> _stream = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private readonly CancellationTokenSource _fault = new();
    private string? _why;

    /// <summary>Starts the command once the request is there, and sends what it writes, and its end.</summary>
    public async Task<SocketEnd> SendAsync(MessageSender sender, CancellationToken stop)
    {
        using var either = CancellationTokenSource.CreateLinkedTokenSource(stop, _fault.Token);
        ExecEnd end;
        try
        {
            var request = await _request.Task.WaitAsync(RequestLimit, clock, either.Token);
            var first = ExecFrames.Encode(ExecFrames.Control, JsonSerializer.SerializeToUtf8Bytes(request, ContractsJson.Readable.ExecRequest));
            var stream = await GuestStream.OpenAsync(guest, name, "v1/agent/exec/stream", first, patience, either.Token);
            _stream.TrySetResult(stream);
            end = await CarryAsync(stream, sender, either.Token);
        }
        catch (OperationCanceledException) when (_fault.IsCancellationRequested)
        {
            end = new ExecEnd { Code = ErrorCodes.InvalidRequest, Error = _why };
        }
        catch (TimeoutException)
        {
            end = new ExecEnd { Code = ErrorCodes.InvalidRequest, Error = $"No request came within {RequestLimit.TotalSeconds:0} s." };
        }
        catch (VolantException e)
        {
            end = new ExecEnd { Code = e.Code, Error = e.Message };
        }
        finally
        {
            _stream.TrySetResult(null);
        }

        await sender.SendAsync(JsonSerializer.SerializeToUtf8Bytes(end, ContractsJson.Readable.ExecEnd), WebSocketMessageType.Text);
        return SocketEnd.Left;
    }

    /// <summary>Takes what the client sends.</summary>
    public async Task<SocketEnd> ReceiveAsync(WebSocket client, CancellationToken cancellationToken)
    {
        var messages = new MessageReader(client);
        try
        {
            if (await messages.ReadAsync(ExecFrames.MaxRequestBytes, cancellationToken) is not var (type, bytes))
            {
                return SocketEnd.Left;
            }

            _request.TrySetResult(ReadRequest(type, bytes.Span));
            if (await _stream.Task is not { } stream)
            {
                return await DrainAsync(messages, cancellationToken);
            }

            while (await messages.ReadAsync(ExecRules.MaxFrameBytes, cancellationToken) is { } message)
            {
                await stream.WriteAsync(Translate(message.Type, message.Bytes.Span), cancellationToken);
            }

            return SocketEnd.Left;
        }
        catch (InvalidDataException e)
        {
            _why = $"The client broke a rule: {e.Message}.";
            await _fault.CancelAsync();
            return await DrainAsync(messages, cancellationToken);
        }
        catch (Exception e) when (e is WebSocketException or ObjectDisposedException or OperationCanceledException)
        {
            return SocketEnd.Left;
        }
        catch (Exception e) when (e is IOException or HttpRequestException)
        {
            // The command has ended, or the agent is gone: the other direction says which.
            return await DrainAsync(messages, cancellationToken);
        }
    }

    /// <inheritdoc/>
    public async ValueTask DisposeAsync()
    {
        _stream.TrySetResult(null);
        if (await _stream.Task is { } stream)
        {
            stream.Dispose();
        }

        _fault.Dispose();
    }

    /// <summary>Waits for the client to close: it has been told, or will be, why nothing more is taken.</summary>
    private static async Task<SocketEnd> DrainAsync(MessageReader messages, CancellationToken cancellationToken)
    {
        try
        {
            while (await messages.ReadAsync(ExecFrames.MaxRequestBytes, cancellationToken) is not null)
            {
            }
        }
        catch (Exception e) when (e is WebSocketException or IOException or InvalidDataException or OperationCanceledException or ObjectDisposedException)
        {
            // It is gone.
        }

        return SocketEnd.Left;
    }

    private static ExecRequest ReadRequest(WebSocketMessageType type, ReadOnlySpan<byte> bytes)
    {
        if (type != WebSocketMessageType.Text)
        {
            throw new InvalidDataException("the first frame must be the request, as text");
        }

        var request = Parse(bytes, ContractsJson.Strict.ExecRequest);
        return ExecRules.Validate(request, isInteractive: true) is { Count: > 0 } faults
            ? throw new InvalidDataException(string.Join("; ", faults.Select(fault => $"{fault.Path} {fault.Message}")))
            : request;
    }

    private static byte[] Translate(WebSocketMessageType type, ReadOnlySpan<byte> bytes)
    {
        if (type == WebSocketMessageType.Binary)
        {
            return bytes is [ExecChannels.Stdin, ..] ? ExecFrames.Encode(ExecChannels.Stdin, bytes[1..]) : throw new InvalidDataException("a binary frame must begin with the channel byte 0");
        }

        var control = Parse(bytes, ContractsJson.Strict.ExecControl);
        return ExecRules.Validate(control) is [var fault, ..]
            ? throw new InvalidDataException($"{fault.Path} {fault.Message}")
            : ExecFrames.Encode(ExecFrames.Control, JsonSerializer.SerializeToUtf8Bytes(control, ContractsJson.Default.ExecControl));
    }

    private static T Parse<T>(ReadOnlySpan<byte> bytes, System.Text.Json.Serialization.Metadata.JsonTypeInfo<T> type)
    {
        try
        {
            return JsonSerializer.Deserialize(bytes, type) ?? throw new InvalidDataException("a text frame is null");
        }
        catch (JsonException e)
        {
            var field = StrictJson.Explain(e);
            throw new InvalidDataException($"{field.Path} {field.Message}", e);
        }
    }

    private async Task<ExecEnd> CarryAsync(GuestStream stream, MessageSender sender, CancellationToken cancellationToken)
    {
        try
        {
            var frames = new ExecFrameReader(stream.Input, ExecRules.MaxFrameBytes);
            var message = Array.Empty<byte>();
            while (await frames.ReadAsync(cancellationToken) is var (channel, bytes))
            {
                if (channel == ExecFrames.Control)
                {
                    return JsonSerializer.Deserialize(bytes.Span, ContractsJson.Default.ExecEnd) ?? throw new InvalidDataException("its last frame is null");
                }

                if (channel is not (ExecChannels.Stdout or ExecChannels.Stderr) || bytes.Length >= ExecRules.MaxFrameBytes)
                {
                    throw new InvalidDataException("a frame is not one of its side");
                }

                if (message.Length < bytes.Length + 1)
                {
                    message = new byte[bytes.Length + 1];
                }

                message[0] = channel;
                bytes.CopyTo(message.AsMemory(1));
                await sender.SendAsync(message.AsMemory(0, bytes.Length + 1), WebSocketMessageType.Binary);
            }

            throw new InvalidDataException("it broke off");
        }
        catch (Exception e) when (e is InvalidDataException or JsonException or HttpRequestException || (e is IOException && socket.State == WebSocketState.Open))
        {
            return new ExecEnd { Code = ErrorCodes.AgentUnreachable, Error = $"The agent of VM '{name}' did not tell how the command ended: {e.Message.TrimEnd('.')}." };
        }
    }
}
