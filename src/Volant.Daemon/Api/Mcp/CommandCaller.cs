using System.Text;
using System.Text.Json;
using Volant.Contracts;
using Volant.Contracts.Api;
using Volant.Daemon.Guests;
using Volant.Daemon.Orchestration;

namespace Volant.Daemon.Api.Mcp;

/// <summary>Runs a command in a guest to its end and keeps the beginning of what it wrote: the guest is hostile, and nothing of it is gathered beyond that.</summary>
internal sealed class CommandCaller(VmOwners owners, DaemonOptions options, TimeProvider clock)
{
    /// <summary>Most bytes of each stream that are returned.</summary>
    public const int MaxBytes = 32 * 1024;

    /// <summary>Most characters of standard input.</summary>
    public const int MaxInput = 64 * 1024;

    // The agent ends a command that takes too long, and then says so.
    private static readonly TimeSpan Reserve = TimeSpan.FromMilliseconds(ExecRules.KillGraceMs) + TimeSpan.FromSeconds(10);

    /// <summary>Runs a command.</summary>
    /// <param name="name">Name of the VM.</param>
    /// <param name="request">The command with its time limit, without <see cref="ExecRequest.Stdin"/>.</param>
    /// <param name="input">Standard input; none when null.</param>
    /// <param name="cancellationToken">Ends the command.</param>
    /// <exception cref="VolantException"><c>vm_not_found</c>, <c>vm_not_running</c>, <c>exec_failed</c>, <c>timeout</c> (of the agent, not of the command) or <c>agent_unreachable</c>.</exception>
    public async Task<CommandOutcome> RunAsync(string name, ExecRequest request, string? input, CancellationToken cancellationToken)
    {
        var guest = owners.GetGuest(name);
        var started = clock.GetTimestamp();
        using var deadline = new CancellationTokenSource(TimeSpan.FromMilliseconds(request.TimeoutMs ?? ExecRules.DefaultTimeoutMs) + Reserve, clock);
        using var either = CancellationTokenSource.CreateLinkedTokenSource(deadline.Token, cancellationToken);
        var first = ExecFrames.Encode(ExecFrames.Control, JsonSerializer.SerializeToUtf8Bytes(request, ContractsJson.Readable.ExecRequest));
        using var stream = await GuestStream.OpenAsync(guest, name, "v1/agent/exec/stream", first, options.AgentTimeout, either.Token);
        var typing = TypeAsync(stream, input ?? string.Empty, either.Token);
        var (output, error) = (new Beginning(), new Beginning());
        try
        {
            var end = await ReadAsync(stream, output, error, either.Token);
            return Describe(name, end, output, error, clock.GetElapsedTime(started));
        }
        catch (OperationCanceledException e) when (!cancellationToken.IsCancellationRequested)
        {
            throw new VolantException(ErrorCodes.Timeout, GuestForwarder.Complaint(name, "did not tell in time how the command ended"), e);
        }
        catch (Exception e) when (e is HttpRequestException or IOException or InvalidDataException or JsonException)
        {
            throw new VolantException(ErrorCodes.AgentUnreachable, GuestForwarder.Complaint(name, "did not tell how the command ended"), e);
        }
        finally
        {
            await either.CancelAsync();
            await typing.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        }
    }

    private static async Task TypeAsync(GuestStream stream, string input, CancellationToken cancellationToken)
    {
        foreach (var piece in Encoding.UTF8.GetBytes(input).Chunk(ExecRules.MaxFrameBytes / 2))
        {
            await stream.WriteAsync(ExecFrames.Encode(ExecChannels.Stdin, piece), cancellationToken);
        }

        // A frame without bytes is the end of input.
        await stream.WriteAsync(ExecFrames.Encode(ExecChannels.Stdin, []), cancellationToken);
    }

    private static async Task<ExecEnd> ReadAsync(GuestStream stream, Beginning output, Beginning error, CancellationToken cancellationToken)
    {
        var frames = new ExecFrameReader(stream.Input, ExecRules.MaxFrameBytes);
        while (await frames.ReadAsync(cancellationToken) is var (channel, bytes))
        {
            switch (channel)
            {
                case ExecChannels.Stdout:
                    output.Add(bytes.Span);
                    break;
                case ExecChannels.Stderr:
                    error.Add(bytes.Span);
                    break;
                case ExecFrames.Control:
                    return JsonSerializer.Deserialize(bytes.Span, ContractsJson.Default.ExecEnd) ?? throw new InvalidDataException("its last frame is null");
                default:
                    throw new InvalidDataException("a frame is not one of its side");
            }
        }

        throw new InvalidDataException("it broke off");
    }

    private static CommandOutcome Describe(string name, ExecEnd end, Beginning output, Beginning error, TimeSpan duration)
    {
        if (end.ExitCode is null && end.Code != ErrorCodes.Timeout)
        {
            throw new InvalidDataException("there is no exit code");
        }

        var notes = new List<string>();
        if (end.ExitCode is null)
        {
            notes.Add("The command took too long and was ended; this is what it wrote until then.");
        }

        if (output.IsCut || error.IsCut)
        {
            notes.Add($"Output longer than {MaxBytes >> 10} KiB was cut; this is its beginning. Filter it in the guest, or write it to a file there.");
        }

        return new CommandOutcome
        {
            Vm = name,
            ExitCode = end.ExitCode,
            Signal = end.Signal,
            Stdout = output.ToString(),
            Stderr = error.ToString(),
            DurationMs = (long)duration.TotalMilliseconds,
            Note = notes.Count > 0 ? string.Join(' ', notes) : null,
        };
    }

    /// <summary>The first bytes of a stream, as text that is safe to show.</summary>
    private sealed class Beginning
    {
        private readonly byte[] _bytes = new byte[MaxBytes];
        private int _length;

        public bool IsCut { get; private set; }

        public void Add(ReadOnlySpan<byte> bytes)
        {
            var kept = bytes[..Math.Min(MaxBytes - _length, bytes.Length)];
            kept.CopyTo(_bytes.AsSpan(_length));
            _length += kept.Length;
            IsCut |= kept.Length < bytes.Length;
        }

        /// <summary>A cut may go through a character.</summary>
        public override string ToString()
        {
            var text = Encoding.UTF8.GetString(_bytes, 0, _length);
            return string.Join('\n', (IsCut ? text.TrimEnd('\uFFFD') : text).Split('\n').Select(LogTail.Clean));
        }
    }
}
