using System.Buffers;
using System.IO.Pipelines;
using System.Text.Json;
using System.Threading.Channels;

namespace Volant.Daemon.Hypervisors.Qemu;

/// <summary>One session of the QEMU Machine Protocol.</summary>
/// <remarks>
/// Source: QEMU, docs/interop/qmp-spec.rst. Replies are matched by id: events arrive between a command and its reply.
/// QEMU serves one session at a time; another connection gets no greeting until the first one ends.
/// Safe for concurrent use.
/// </remarks>
internal sealed class QmpClient : IAsyncDisposable
{
    /// <summary>Longest message that is read; a longer one ends the session.</summary>
    public const int MaxMessageBytes = 1 << 20;

    private const int MaxPending = 64;

    private readonly Stream _stream;
    private readonly PipeReader _reader;
    private readonly Action<QmpEvent> _onEvent;
    private readonly TimeProvider _clock;
    private readonly TimeSpan _commandLimit;
    private readonly Channel<byte[]> _commands = Channel.CreateBounded<byte[]>(new BoundedChannelOptions(MaxPending) { SingleReader = true });
    private readonly Lock _gate = new();
    private readonly Dictionary<long, TaskCompletionSource<JsonElement>> _pending = [];
    private readonly TaskCompletionSource _closed = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private string? _closedBecause;
    private Task _session = Task.CompletedTask;
    private long _lastId;

    private QmpClient(Stream stream, Action<QmpEvent> onEvent, TimeProvider clock, TimeSpan commandLimit)
    {
        _stream = stream;
        _reader = PipeReader.Create(stream, new StreamPipeReaderOptions(leaveOpen: true, useZeroByteReads: true));
        _onEvent = onEvent;
        _clock = clock;
        _commandLimit = commandLimit;
    }

    /// <summary>Completes when the session is over, whoever ended it and why; never faults.</summary>
    public Task Closed => _closed.Task;

    /// <summary>Waits for QEMU's greeting and opens a session; owns <paramref name="stream"/> from the first moment.</summary>
    /// <param name="stream">A connection to the control socket.</param>
    /// <param name="onEvent">Called with every event, in order, on the reading task: it must return quickly and not throw.</param>
    /// <param name="clock">Measures the limits.</param>
    /// <param name="commandLimit">Longest wait for a reply. The greeting has no limit: it may have to wait for another session's end.</param>
    /// <param name="cancellationToken">Gives up.</param>
    /// <exception cref="QmpException">The other side does not speak QMP, or closed the connection.</exception>
    public static async Task<QmpClient> OpenAsync(
        Stream stream,
        Action<QmpEvent> onEvent,
        TimeProvider clock,
        TimeSpan commandLimit,
        CancellationToken cancellationToken)
    {
        var client = new QmpClient(stream, onEvent, clock, commandLimit);
        try
        {
            var greeting = await client.ReadAsync(cancellationToken)
                ?? throw new QmpException("The hypervisor closed its control socket without a greeting.");
            if (greeting.Greeting is null)
            {
                throw new QmpException("The control socket's first message is not a QMP greeting.");
            }

            client._session = Task.WhenAll(client.ReadAllAsync(), client.WriteAllAsync());
            await client.ExecuteAsync("qmp_capabilities", cancellationToken);
            return client;
        }
        catch (Exception e)
        {
            await client.DisposeAsync();
            if (e is IOException and not QmpException)
            {
                throw new QmpException($"The control socket failed: {e.Message}", e);
            }

            throw;
        }
    }

    /// <summary>Sends a command and waits for its reply.</summary>
    /// <exception cref="QmpException">QEMU refuses, does not answer in time, or the session is over.</exception>
    public async Task<JsonElement> ExecuteAsync(string command, CancellationToken cancellationToken)
    {
        var reply = new TaskCompletionSource<JsonElement>(TaskCreationOptions.RunContinuationsAsynchronously);
        var id = Send(command, reply);
        try
        {
            return await reply.Task.WaitAsync(_commandLimit, _clock, cancellationToken);
        }
        catch (TimeoutException e)
        {
            throw new QmpException($"The hypervisor did not answer '{command}' within {_commandLimit.TotalSeconds:F0} s.", e);
        }
        finally
        {
            lock (_gate)
            {
                _pending.Remove(id);
            }
        }
    }

    /// <inheritdoc/>
    public async ValueTask DisposeAsync()
    {
        await CloseAsync("it was closed here");
        await _session;
        await _reader.CompleteAsync();
    }

    private long Send(string command, TaskCompletionSource<JsonElement> reply)
    {
        lock (_gate)
        {
            if (_closedBecause is not null)
            {
                throw new QmpException($"The hypervisor cannot be asked to '{command}': the control connection is over, {_closedBecause}.");
            }

            var id = ++_lastId;
            byte[] line = [.. JsonSerializer.SerializeToUtf8Bytes(new QmpCommand(command, id), QmpJson.Default.QmpCommand), (byte)'\n'];
            if (_pending.Count >= MaxPending || !_commands.Writer.TryWrite(line))
            {
                throw new QmpException($"The hypervisor cannot be asked to '{command}': {MaxPending} commands wait for it already.");
            }

            _pending.Add(id, reply);
            return id;
        }
    }

    /// <summary>Writes whole commands only, whatever becomes of those who wait for the replies.</summary>
    private async Task WriteAllAsync()
    {
        try
        {
            await foreach (var line in _commands.Reader.ReadAllAsync())
            {
                await _stream.WriteAsync(line);
            }
        }
        catch (Exception e) when (e is IOException or ObjectDisposedException)
        {
            await CloseAsync(e.Message);
        }
    }

    private async Task ReadAllAsync()
    {
        var because = "the hypervisor ended it";
        try
        {
            while (await ReadAsync(CancellationToken.None) is { } message)
            {
                Handle(message);
            }
        }
        catch (Exception e) when (e is IOException or ObjectDisposedException)
        {
            because = e.Message;
        }

        await CloseAsync(because);
    }

    private void Handle(QmpMessage message)
    {
        if (message.Event is { } name)
        {
            _onEvent(new QmpEvent(name, message.Data));
            return;
        }

        TaskCompletionSource<JsonElement>? reply;
        lock (_gate)
        {
            // A reply that nobody waits for any more is dropped.
            if (message.Id is not { } id || !_pending.Remove(id, out reply))
            {
                return;
            }
        }

        if (message.Error is { } error)
        {
            reply.TrySetException(new QmpException($"The hypervisor refuses: {error.Description} ({error.Class})."));
        }
        else
        {
            reply.TrySetResult(message.Return);
        }
    }

    /// <summary>Next message; null at the end of the stream.</summary>
    private async ValueTask<QmpMessage?> ReadAsync(CancellationToken cancellationToken)
    {
        while (true)
        {
            var result = await _reader.ReadAsync(cancellationToken);
            var buffer = result.Buffer;
            if (buffer.PositionOf((byte)'\n') is { } end)
            {
                var line = buffer.Slice(0, end);
                var message = line.Length <= MaxMessageBytes ? Parse(line) : throw TooLong();
                _reader.AdvanceTo(buffer.GetPosition(1, end));
                if (message is not null)
                {
                    return message;
                }

                continue;
            }

            if (buffer.Length > MaxMessageBytes)
            {
                throw TooLong();
            }

            if (result.IsCompleted)
            {
                return null;
            }

            _reader.AdvanceTo(buffer.Start, buffer.End);
        }
    }

    private static QmpMessage? Parse(ReadOnlySequence<byte> line)
    {
        try
        {
            var reader = new Utf8JsonReader(line);
            return JsonSerializer.Deserialize(ref reader, QmpJson.Default.QmpMessage);
        }
        catch (JsonException e)
        {
            throw new QmpException($"The control socket sent something that is not QMP: {e.Message}", e);
        }
    }

    private static QmpException TooLong() => new($"The control socket sent a message of more than {MaxMessageBytes} bytes.");

    private async Task CloseAsync(string because)
    {
        List<TaskCompletionSource<JsonElement>> orphans;
        lock (_gate)
        {
            _closedBecause ??= because;
            orphans = [.. _pending.Values];
            _pending.Clear();
        }

        foreach (var reply in orphans)
        {
            reply.TrySetException(new QmpException($"The control connection ended before the reply: {because}."));
        }

        _commands.Writer.TryComplete();
        await _stream.DisposeAsync();
        _closed.TrySetResult();
    }
}
