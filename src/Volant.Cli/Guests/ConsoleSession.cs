using System.Net.Sockets;
using System.Text.Json;
using Volant.Cli.Api;
using Volant.Cli.Output;
using Volant.Contracts;

namespace Volant.Cli.Guests;

/// <summary>A serial console on this program's streams; on a terminal raw, and Ctrl-] leaves.</summary>
/// <remarks>A serial line has no size: what runs in the guest is told with <c>stty</c> there, or run with <c>volar vms exec -it</c>.</remarks>
internal sealed class ConsoleSession(CliHost host, Talk talk)
{
    private const int ChunkBytes = 16 * 1024;

    /// <summary>Serves a console of the daemon until it ends or the user leaves.</summary>
    public async Task RunAsync(WebSocketConnection socket, string name, CancellationToken cancellationToken)
    {
        var left = false;
        await RunAsync($"the console of VM '{name}'", socket.SendAsync, ReceiveAsync, LeaveAsync, cancellationToken);

        Task LeaveAsync(Task receiving)
        {
            left = true;
            return socket.CloseAsync(receiving);
        }

        async Task ReceiveAsync(RawTerminal? raw, CancellationToken stop)
        {
            while (await socket.ReceiveAsync(stop) is { } message)
            {
                if (message.IsText)
                {
                    Notice(raw is not null, message.Bytes.Span);
                }
                else
                {
                    await WriteAsync(raw, message.Bytes);
                }
            }

            if (!left)
            {
                Say(raw is not null, $"The console ended{(socket.CloseReason is { Length: > 0 } reason ? $": {reason}" : string.Empty)}.");
            }
        }
    }

    /// <summary>Serves a serial socket of this host until it ends or the user leaves.</summary>
    /// <exception cref="CliException">It cannot be reached.</exception>
    public async Task RunAsync(string path, CancellationToken cancellationToken)
    {
        using var socket = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
        try
        {
            await socket.ConnectAsync(new UnixDomainSocketEndPoint(path), cancellationToken);
        }
        catch (Exception e) when (e is SocketException or ArgumentException)
        {
            throw new CliException(ExitCodes.Unreachable, $"The socket '{path}' cannot be reached: {e.Message}.", e) { Code = "unreachable", Hint = "'volar vms get NAME --output json' shows a VM's serial_socket; volantd holds it while somebody uses its console" };
        }

        await using var stream = new NetworkStream(socket);
        await RunAsync(
            $"'{path}'",
            async (bytes, stop) => await stream.WriteAsync(bytes, stop),
            async (raw, stop) =>
            {
                var buffer = new byte[ChunkBytes];
                while (await stream.ReadAsync(buffer, stop) is > 0 and var read)
                {
                    await WriteAsync(raw, buffer.AsMemory(0, read));
                }

                Say(raw is not null, "The console ended.");
            },
            static _ => Task.CompletedTask,
            cancellationToken);
    }

    private async Task RunAsync(
        string what,
        Func<ReadOnlyMemory<byte>, CancellationToken, Task> send,
        Func<RawTerminal?, CancellationToken, Task> receive,
        Func<Task, Task> leave,
        CancellationToken cancellationToken)
    {
        using var raw = host.InputIsTerminal ? new RawTerminal(host, cancellationToken) : null;
        using var over = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        Say(raw is not null, $"Connected to {what}.{(raw is null ? string.Empty : " Ctrl-] leaves.")}");
        var receiving = receive(raw, over.Token);
        var typing = Keyboard.PumpAsync(host.OpenInput(), watched: raw is not null, prefix: null, send, over.Token);
        try
        {
            var first = await Task.WhenAny(receiving, typing);
            if (first == typing && !await typing)
            {
                // The end of piped input does not end the console.
                await receiving;
            }
            else if (first == receiving)
            {
                await receiving;
            }
            else
            {
                raw?.Dispose();
                Say(isRaw: false, string.Empty);
                Say(isRaw: false, $"Left {what}; it goes on.");
                await leave(receiving);
            }
        }
        finally
        {
            await over.CancelAsync();
            await ((Task)typing).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
            await receiving.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        }
    }

    private async Task WriteAsync(RawTerminal? raw, ReadOnlyMemory<byte> bytes)
    {
        raw?.Watch(bytes.Span);
        await host.Output.WriteAsync(bytes, CancellationToken.None);
    }

    private void Notice(bool isRaw, ReadOnlySpan<byte> json)
    {
        try
        {
            Say(isRaw, JsonSerializer.Deserialize(json, ContractsJson.Default.ConsoleNotice)?.Message ?? string.Empty);
        }
        catch (JsonException)
        {
            // A notice of a newer daemon in another form: it is no output of the guest, and nothing is lost without it.
        }
    }

    /// <summary>In raw mode a line feed alone does not go back to the first column.</summary>
    private void Say(bool isRaw, string sentence)
    {
        if (isRaw)
        {
            talk.SayRaw(sentence);
        }
        else
        {
            talk.Say(sentence);
        }
    }
}
