using System.Text.Json;
using Volant.Cli.Api;
using Volant.Contracts;
using Volant.Contracts.Api;

namespace Volant.Cli.Guests;

/// <summary>A command in a guest with its streams on this program's, and perhaps a terminal.</summary>
/// <param name="socket">The open WebSocket.</param>
/// <param name="host">Streams and terminal.</param>
/// <param name="warn">Told when standard input cannot be read.</param>
/// <param name="name">VM, for messages.</param>
internal sealed class ExecSession(WebSocketConnection socket, CliHost host, Action<string> warn, string name)
{
    private const int Interrupt = 2; // SIGINT

    /// <summary>Runs the command to its end.</summary>
    /// <param name="request">The command.</param>
    /// <param name="forwardsInput">Whether standard input is its input.</param>
    /// <param name="cancellationToken">Cancelled by a signal: without a terminal the command gets it and may end in its own way.</param>
    /// <returns>The exit code of the command.</returns>
    /// <exception cref="CliException">It could not be started, or its end is not known.</exception>
    public async Task<int> RunAsync(ExecRequest request, bool forwardsInput, CancellationToken cancellationToken)
    {
        var tty = request.Tty is true;
        using var raw = tty && forwardsInput && host.InputIsTerminal ? new RawTerminal(host, cancellationToken) : null;
        using var over = new CancellationTokenSource();
        await socket.SendTextAsync(JsonSerializer.SerializeToUtf8Bytes(request, ContractsJson.Default.ExecRequest), cancellationToken);
        using var resized = tty ? host.WatchSize(() => _ = ResizeAsync(over.Token)) : null;

        // In raw mode Ctrl-C is a key; a signal then comes from elsewhere and means this program.
        using var interrupted = raw is null ? cancellationToken.UnsafeRegister(_ => _ = InterruptAsync(over.Token), null) : default;
        var typing = TypeAsync(forwardsInput, over.Token);
        try
        {
            return await ReceiveAsync(raw, raw is null ? CancellationToken.None : cancellationToken);
        }
        finally
        {
            await over.CancelAsync();
            await typing.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        }
    }

    private async Task TypeAsync(bool forwardsInput, CancellationToken cancellationToken)
    {
        try
        {
            if (forwardsInput)
            {
                await Keyboard.PumpAsync(host.OpenInput(), watched: false, ExecChannels.Stdin, socket.SendAsync, cancellationToken);
            }
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            warn($"Warning: standard input cannot be read and ends here: {e.Message}");
        }

        // The channel alone is the end of input.
        await socket.SendAsync(new[] { ExecChannels.Stdin }, cancellationToken);
    }

    private async Task<int> ReceiveAsync(RawTerminal? raw, CancellationToken cancellationToken)
    {
        while (await socket.ReceiveAsync(cancellationToken) is { } message)
        {
            if (message.IsText)
            {
                return Finish(message.Bytes.Span);
            }

            if (message.Bytes.Length > 0)
            {
                var toError = message.Bytes.Span[0] == ExecChannels.Stderr;
                raw?.Watch(message.Bytes.Span[1..]);
                await (toError ? host.Error : host.Output).WriteAsync(message.Bytes[1..], CancellationToken.None);
            }
        }

        throw new CliException(ExitCodes.Unreachable, $"The connection ended before the command in VM '{name}' did{(socket.CloseReason is { } reason ? $": {reason}" : ".")}")
        {
            Code = "broken_session",
            Hint = $"'volar vms get {name}' shows how the VM is; a command without its caller gets SIGHUP",
        };
    }

    private int Finish(ReadOnlySpan<byte> json)
    {
        ExecEnd? end;
        try
        {
            end = JsonSerializer.Deserialize(json, ContractsJson.Default.ExecEnd);
        }
        catch (JsonException e)
        {
            throw CliException.Failed($"VM '{name}' sent an end that is no JSON; volar and the daemon may differ in version.", e);
        }

        return end?.ExitCode ?? throw new CliException(end?.Code == ErrorCodes.Timeout ? ExitCodes.TimedOut : ExitCodes.Failed, end?.Error ?? $"VM '{name}' does not say how the command ended.")
        {
            Code = end?.Code,
        };
    }

    private Task ResizeAsync(CancellationToken cancellationToken) => host.TerminalSize() is var (columns, rows)
        ? ControlAsync(new ExecControl { Resize = Clamp(columns, rows) }, cancellationToken)
        : Task.CompletedTask;

    private Task InterruptAsync(CancellationToken cancellationToken) => ControlAsync(new ExecControl { Signal = Interrupt }, cancellationToken);

    /// <summary>A size as the contract allows it.</summary>
    public static TerminalSize Clamp(int columns, int rows) => new()
    {
        Cols = Math.Clamp(columns, 1, ExecRules.MaxTerminalSide),
        Rows = Math.Clamp(rows, 1, ExecRules.MaxTerminalSide),
    };

    private async Task ControlAsync(ExecControl control, CancellationToken cancellationToken)
    {
        try
        {
            await socket.SendTextAsync(JsonSerializer.SerializeToUtf8Bytes(control, ContractsJson.Default.ExecControl), cancellationToken);
        }
        catch (Exception e) when (e is CliException or OperationCanceledException or ObjectDisposedException)
        {
            // The session is over; the receiving side says why.
        }
    }
}
