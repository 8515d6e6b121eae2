using System.Text.Json;
using Microsoft.AspNetCore.Http;
using Volant.Agent.Http;
using Volant.Contracts;
using Volant.Contracts.Api;
using Volant.Linux.IO;

namespace Volant.Agent.Commands;

/// <summary>One command with somebody at the other end: <see cref="ExecFrames"/> both ways on one request.</summary>
/// <remarks>When the request is aborted the command is ended. Nothing is buffered: a side that does not read makes the other one wait.</remarks>
internal sealed class ExecStream(CommandRunner runner, HttpContext context, TimeProvider clock) : IDisposable
{
    private const int ReadSize = 16 * 1024;

    private readonly SemaphoreSlim _writing = new(1, 1);
    private readonly ExecFrameReader _frames = new(context.Request.Body, ExecFrames.MaxRequestBytes);

    /// <summary>Serves the request to its end.</summary>
    public async Task ServeAsync()
    {
        try
        {
            var request = await ReadRequestAsync();
            await using var command = runner.Start(request, hasInput: true);
            await TalkAsync(command, request.TimeoutMs is { } limit ? TimeSpan.FromMilliseconds(limit) : Timeout.InfiniteTimeSpan);
        }
        catch (Exception e) when (e is FormatException or InvalidDataException)
        {
            await Problems.WriteAsync(context, 400, ErrorCodes.InvalidRequest, e.Message);
        }
        catch (CommandException e)
        {
            await Problems.WriteAsync(context, ExecRoutes.StatusOf(e.Code), e.Code, e.Message);
        }
        catch (Exception e) when (e is OperationCanceledException or IOException && context.RequestAborted.IsCancellationRequested)
        {
            context.Abort();
        }
    }

    /// <inheritdoc/>
    public void Dispose() => _writing.Dispose();

    private async Task<ExecRequest> ReadRequestAsync()
    {
        if (await _frames.ReadAsync(context.RequestAborted) is not var (channel, bytes) || channel != ExecFrames.Control)
        {
            throw new FormatException("The first frame must be the request.");
        }

        var request = Json.Parse(bytes.Span, ContractsJson.Strict.ExecRequest);
        return ExecRoutes.FaultOf(request, isInteractive: true) is { } fault ? throw new FormatException(fault) : request;
    }

    private async Task TalkAsync(RunningCommand command, TimeSpan limit)
    {
        context.Response.ContentType = ExecFrames.ContentType;
        using var late = new CancellationTokenSource(limit, clock);
        using var either = CancellationTokenSource.CreateLinkedTokenSource(late.Token, context.RequestAborted);
        using var over = CancellationTokenSource.CreateLinkedTokenSource(either.Token);
        var input = Task.CompletedTask;
        ExecEnd end;
        try
        {
            await context.Response.StartAsync(context.RequestAborted);

            // The head alone waits for bytes, and a command may be silent for as long as it likes.
            await context.Response.Body.FlushAsync(context.RequestAborted);
            input = ListenAsync(command, over.Token);
            var all = Task.WhenAll(
                CarryAsync(command, command.Output, ExecChannels.Stdout, either.Token),
                command.Error is { } error ? CarryAsync(command, error, ExecChannels.Stderr, either.Token) : Task.CompletedTask,
                command.WaitForExitAsync().WaitAsync(either.Token));
            await Task.WhenAny(all, Task.Delay(Timeout.InfiniteTimeSpan, clock, either.Token));
            if (!all.IsCompleted && late.IsCancellationRequested)
            {
                // At once: what it wrote may wait long for somebody who reads it. How it ends now is no answer of its own.
                await command.EndAsync();
                await all.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
                late.Token.ThrowIfCancellationRequested();
            }

            await all;
            var (code, signal) = RunningCommand.CodeOf(await command.WaitForExitAsync());
            end = new ExecEnd { ExitCode = code, Signal = signal };
        }
        catch (OperationCanceledException) when (!context.RequestAborted.IsCancellationRequested)
        {
            end = new ExecEnd { Code = ErrorCodes.Timeout, Error = $"The command did not end within {limit.TotalMilliseconds} ms and was ended; raise 'timeout_ms'." };
        }
        finally
        {
            await over.CancelAsync();
            await input;
        }

        await SendAsync(ExecFrames.Encode(ExecFrames.Control, JsonSerializer.SerializeToUtf8Bytes(end, ContractsJson.Readable.ExecEnd)));
    }

    /// <summary>Does what the other side sends, until it has no more to say.</summary>
    private async Task ListenAsync(RunningCommand command, CancellationToken cancellationToken)
    {
        try
        {
            while (await _frames.ReadAsync(cancellationToken) is var (channel, bytes))
            {
                switch (channel)
                {
                    case ExecChannels.Stdin when bytes.IsEmpty:
                        await command.CloseInputAsync(cancellationToken);
                        break;
                    case ExecChannels.Stdin:
                        await command.WriteAsync(bytes, cancellationToken);
                        break;
                    case ExecFrames.Control:
                        Obey(command, Json.Parse(bytes.Span, ContractsJson.Strict.ExecControl));
                        break;
                    default:
                        throw new InvalidDataException($"A frame of channel {channel} is not for this side.");
                }
            }
        }
        catch (Exception e) when (e is InvalidDataException or FormatException)
        {
            // The daemon checks what clients send: this is no daemon of ours.
            context.Abort();
        }
        catch (Exception e) when (e is IOException or OperationCanceledException)
        {
            // The other side is gone, which the request's token tells, or the command has ended.
        }
    }

    private static void Obey(RunningCommand command, ExecControl control)
    {
        if (ExecRules.Validate(control) is [var fault, ..])
        {
            throw new FormatException($"{fault.Path} {fault.Message}");
        }

        if (control.Signal is { } signal)
        {
            command.Signal(signal);
        }
        else
        {
            command.Resize(control.Resize!);
        }
    }

    private Task CarryAsync(RunningCommand command, FdStream from, byte channel, CancellationToken cancellationToken)
    {
        var buffer = new byte[ExecFrames.HeaderBytes + ReadSize];
        return command.CarryAsync(
            from,
            buffer.AsMemory(ExecFrames.HeaderBytes),
            count =>
            {
                ExecFrames.WriteHeader(buffer, channel, count);
                return SendAsync(buffer.AsMemory(0, ExecFrames.HeaderBytes + count));
            },
            cancellationToken);
    }

    /// <summary>Sends a frame. Nothing but the other side's leaving cancels it: the server ends a stream whose write is cancelled, and the rest could not be said.</summary>
    private async ValueTask SendAsync(ReadOnlyMemory<byte> frame)
    {
        await _writing.WaitAsync(context.RequestAborted);
        try
        {
            await context.Response.Body.WriteAsync(frame, context.RequestAborted);
            await context.Response.Body.FlushAsync(context.RequestAborted);
        }
        finally
        {
            _writing.Release();
        }
    }
}
