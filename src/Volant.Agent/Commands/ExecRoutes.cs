using Microsoft.AspNetCore.Http;
using Volant.Agent.Http;
using Volant.Contracts;
using Volant.Contracts.Api;

namespace Volant.Agent.Commands;

/// <summary><c>POST /v1/agent/exec</c>: runs a command and waits; <c>POST /v1/agent/exec/stream</c>: talks to one while it runs.</summary>
internal sealed class ExecRoutes(CommandRunner runner, CaptureBudget budget, TimeProvider clock)
{
    private const int ReadSize = 16 * 1024;

    /// <summary>The routes.</summary>
    public IEnumerable<AgentRoute> Routes =>
    [
        new("POST", "/v1/agent/exec", RunAsync, RouteTraits.HostOnly),
        new("POST", "/v1/agent/exec/stream", StreamAsync, RouteTraits.HostOnly),
    ];

    /// <summary>Why a request is not valid; null when it is.</summary>
    internal static string? FaultOf(ExecRequest request, bool isInteractive) =>
        ExecRules.Validate(request, isInteractive) is { Count: > 0 } faults ? $"The request is not valid: {string.Join("; ", faults.Select(fault => $"{fault.Path} {fault.Message}"))}." : null;

    /// <summary>HTTP status of a code.</summary>
    internal static int StatusOf(string code) => code switch
    {
        ErrorCodes.TooManyRequests => 429,
        ErrorCodes.ExecFailed => 422,
        ErrorCodes.Timeout => 504,
        _ => 400,
    };

    private async Task StreamAsync(HttpContext context)
    {
        using var stream = new ExecStream(runner, context, clock);
        await stream.ServeAsync();
    }

    private async Task RunAsync(HttpContext context)
    {
        try
        {
            var request = await Json.ReadAsync(context, ContractsJson.Strict.ExecRequest, ExecFrames.MaxRequestBytes);
            if (FaultOf(request, isInteractive: false) is { } fault)
            {
                throw new FormatException(fault);
            }

            var result = await RunAsync(request, context.RequestAborted);
            await Json.WriteAsync(context, 200, result, ContractsJson.Readable.ExecResult);
        }
        catch (FormatException e)
        {
            await Problems.WriteAsync(context, 400, ErrorCodes.InvalidRequest, e.Message);
        }
        catch (CommandException e)
        {
            await Problems.WriteAsync(context, StatusOf(e.Code), e.Code, e.Message);
        }
        catch (OperationCanceledException) when (context.RequestAborted.IsCancellationRequested)
        {
            context.Abort();
        }
    }

    private async Task<ExecResult> RunAsync(ExecRequest request, CancellationToken cancellationToken)
    {
        var limit = TimeSpan.FromMilliseconds(request.TimeoutMs ?? ExecRules.DefaultTimeoutMs);
        using var late = new CancellationTokenSource(limit, clock);
        using var either = CancellationTokenSource.CreateLinkedTokenSource(late.Token, cancellationToken);
        using var output = new OutputCapture(budget);
        using var error = new OutputCapture(budget);
        await using var command = runner.Start(request, hasInput: request.Stdin is not null);
        try
        {
            await Task.WhenAll(
                FeedAsync(command, request.Stdin, either.Token),
                CaptureAsync(command, command.Output, output, either.Token),
                CaptureAsync(command, command.Error!, error, either.Token),
                command.WaitForExitAsync().WaitAsync(either.Token));
        }
        catch (OperationCanceledException) when (!cancellationToken.IsCancellationRequested)
        {
            throw new CommandException(ErrorCodes.Timeout, $"The command did not end within {limit.TotalMilliseconds} ms and was ended; raise 'timeout_ms'.");
        }

        var elapsed = clock.GetElapsedTime(command.StartedAt);
        var (code, signal) = RunningCommand.CodeOf(await command.WaitForExitAsync());
        var (outText, outBytes) = output.Read();
        var (errorText, errorBytes) = error.Read();
        return new ExecResult
        {
            ExitCode = code,
            Signal = signal,
            Stdout = outText,
            Stderr = errorText,
            StdoutBase64 = outBytes,
            StderrBase64 = errorBytes,
            Truncated = output.IsCut || error.IsCut,
            DurationMs = (long)elapsed.TotalMilliseconds,
        };
    }

    /// <summary>Writes the input; gives up when the command has ended without reading it.</summary>
    private static async Task FeedAsync(RunningCommand command, string? text, CancellationToken cancellationToken)
    {
        if (text is null)
        {
            return;
        }

        using var over = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        var writing = WriteAsync(command, text, over.Token);
        await Task.WhenAny(writing, command.WaitForExitAsync());
        if (!writing.IsCompleted)
        {
            await over.CancelAsync();
        }

        try
        {
            await writing;
        }
        catch (OperationCanceledException) when (!cancellationToken.IsCancellationRequested)
        {
            // A process that it left behind holds its input.
        }
    }

    private static async Task WriteAsync(RunningCommand command, string text, CancellationToken cancellationToken)
    {
        await command.WriteAsync(System.Text.Encoding.UTF8.GetBytes(text), cancellationToken);
        await command.CloseInputAsync(cancellationToken);
    }

    private static Task CaptureAsync(RunningCommand command, Linux.IO.FdStream from, OutputCapture capture, CancellationToken cancellationToken)
    {
        var buffer = new byte[ReadSize];
        return command.CarryAsync(
            from,
            buffer,
            count =>
            {
                capture.Add(buffer.AsSpan(0, count));
                return ValueTask.CompletedTask;
            },
            cancellationToken);
    }
}
