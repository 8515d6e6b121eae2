using System.Diagnostics.CodeAnalysis;
using System.Net.Sockets;
using System.Text.Json;
using Volant.Linux.IO;
using Volant.Linux.Processes;

namespace Volant.Daemon.Hypervisors.Qemu;

/// <summary>A live QEMU process, launched or adopted.</summary>
/// <remarks>
/// The control connection is kept in the background and opened again when it breaks; until it is there, commands wait for it.
/// QEMU serves one control connection at a time, so there is one object per VM. The process is waited for even after disposal:
/// a child that nobody waits for would stay a zombie.
/// </remarks>
internal sealed partial class QemuProcess : VmProcess
{
    private const int MaxReason = 32;

    private static readonly TimeSpan CommandLimit = TimeSpan.FromSeconds(5);
    private static readonly TimeSpan LastEventsLimit = TimeSpan.FromMilliseconds(500);
    private static readonly TimeSpan ShortestPause = TimeSpan.FromMilliseconds(1);
    private static readonly TimeSpan LongestPause = TimeSpan.FromSeconds(1);

    private readonly HypervisorProcess _process;
    private readonly TimeProvider _clock;
    private readonly ILogger _logger;
    private readonly Lock _gate = new();

    [SuppressMessage("Usage", "CA2213", Justification = "Holds no timer, and is cancelled by whichever comes last of disposal and exit.")]
    private readonly CancellationTokenSource _stopControl = new();
    private readonly Task<HypervisorExit> _exited;
    private readonly Task _control;
    private TaskCompletionSource<QmpClient> _client = NewClientSource();
    private QmpClient? _published;
    private volatile string? _reason;

    /// <summary>Takes over a process.</summary>
    /// <param name="handle">Its identity and files.</param>
    /// <param name="process">Its descriptor, owned from now on.</param>
    /// <param name="control">A connection to its control socket, if there is one already; owned from now on.</param>
    /// <param name="link">How the agent is reached.</param>
    /// <param name="clock">Measures the limits.</param>
    /// <param name="logger">Told when the control connection broke.</param>
    public QemuProcess(VmHandle handle, PidFd process, Stream? control, AgentLink link, TimeProvider clock, ILogger logger)
    {
        Handle = handle;
        AgentLink = link;
        _process = new HypervisorProcess(process, clock);
        _clock = clock;
        _logger = logger;
        _control = KeepControlAsync(control);
        _exited = WatchAsync();
    }

    /// <inheritdoc/>
    public override VmHandle Handle { get; }

    /// <inheritdoc/>
    public override AgentLink AgentLink { get; }

    /// <inheritdoc/>
    public override Task<HypervisorExit> Exited => _exited;

    /// <inheritdoc/>
    public override Task RequestPowerOffAsync(CancellationToken cancellationToken) => ExecuteAsync("system_powerdown", cancellationToken);

    /// <inheritdoc/>
    public override Task PauseAsync(CancellationToken cancellationToken) => ExecuteAsync("stop", cancellationToken);

    /// <inheritdoc/>
    public override Task ResumeAsync(CancellationToken cancellationToken) => ExecuteAsync("cont", cancellationToken);

    /// <summary>What QEMU says of the VM: <c>running</c>, <c>paused</c> and others.</summary>
    /// <exception cref="IOException">The hypervisor does not answer.</exception>
    public async Task<string?> QueryStatusAsync(CancellationToken cancellationToken) =>
        Text(await ExecuteAsync("query-status", cancellationToken), "status");

    /// <summary>Completes once the control connection is there.</summary>
    /// <exception cref="TimeoutException">It is not there in time.</exception>
    public Task WaitForControlAsync(TimeSpan limit, CancellationToken cancellationToken) =>
        CurrentClientAsync().WaitAsync(limit, _clock, cancellationToken);

    /// <inheritdoc/>
    public override async Task KillAsync()
    {
        await _process.EndAsync();
        await _exited;
    }

    /// <summary>Ends the process with SIGKILL and completes when it is gone.</summary>
    public async Task KillNowAsync()
    {
        await _process.KillAsync();
        await _exited;
    }

    /// <summary>Closes the control connection as a fault would; it is opened again.</summary>
    internal async Task BreakControlAsync() => await (await CurrentClientAsync()).DisposeAsync();

    /// <inheritdoc/>
    public override async ValueTask DisposeAsync()
    {
        await StopControlAsync();
        await _control;
    }

    private async Task<JsonElement> ExecuteAsync(string command, CancellationToken cancellationToken)
    {
        QmpClient client;
        try
        {
            client = await CurrentClientAsync().WaitAsync(CommandLimit, _clock, cancellationToken);
        }
        catch (TimeoutException e)
        {
            throw new QmpException(
                $"The hypervisor of VM {Handle.Uid} (process {Handle.Process.Pid}) gave no control connection within " +
                $"{CommandLimit.TotalSeconds:F0} s, so it cannot be asked to '{command}'.",
                e);
        }

        return await client.ExecuteAsync(command, cancellationToken);
    }

    /// <summary>The control connection; one that is over counts for none.</summary>
    private Task<QmpClient> CurrentClientAsync()
    {
        lock (_gate)
        {
            if (_client.Task.IsCompletedSuccessfully && _published is { Closed.IsCompleted: true })
            {
                _client = NewClientSource();
            }

            return _client.Task;
        }
    }

    private async Task<HypervisorExit> WatchAsync()
    {
        var exit = await _process.Ended;
        if (CurrentClientAsync() is { IsCompletedSuccessfully: true } client)
        {
            // What it said last lies in the socket still: read to the end.
            await WaitAtMostAsync((await client).Closed, LastEventsLimit);
        }

        await StopControlAsync();
        return new HypervisorExit(exit.ExitCode, exit.Signal, _reason);
    }

    private async Task WaitAtMostAsync(Task task, TimeSpan limit) =>
        // Without a token: this runs when the control is being stopped, too.
        await task.WaitAsync(limit, _clock, CancellationToken.None).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);

    /// <summary>Ends the control connection for good and tells those who wait for one.</summary>
    private async Task StopControlAsync()
    {
        await _stopControl.CancelAsync();
        lock (_gate)
        {
            if (!_client.TrySetException(Over()))
            {
                _client = NewClientSource();
                _client.SetException(Over());
            }

            // Nobody may be waiting.
            _ = _client.Task.Exception;
        }
    }

    private QmpException Over() => new(
        _process.IsGone
            ? $"The hypervisor of VM {Handle.Uid} (process {Handle.Process.Pid}) has ended."
            : $"The hypervisor of VM {Handle.Uid} (process {Handle.Process.Pid}) is not controlled from here any more.");

    private async Task KeepControlAsync(Stream? connected)
    {
        var stop = _stopControl.Token;
        var since = _clock.GetTimestamp();
        var again = false;
        while (!stop.IsCancellationRequested)
        {
            try
            {
                // A new process needs its time: looking is cheap, a failed connection is not.
                if (connected is null && !File.Exists(Handle.Paths.ControlSocket))
                {
                    await PauseAsync(_clock.GetElapsedTime(since), stop);
                    continue;
                }

                var stream = connected ?? await SocketConnector.ConnectAsync(Handle.Paths.ControlSocket, stop);
                connected = null;
                await using var client = await QmpClient.OpenAsync(stream, OnEvent, _clock, CommandLimit, stop);
                Publish(client);
                if (again)
                {
                    LogControlBack(Handle.Uid, Handle.Process.Pid);
                }

                again = true;
                await client.Closed.WaitAsync(stop);
                since = _clock.GetTimestamp();
            }
            catch (OperationCanceledException) when (stop.IsCancellationRequested)
            {
                return;
            }
            catch (Exception e) when (e is IOException or SocketException)
            {
                LogNoControl(e, Handle.Uid, Handle.Process.Pid);
            }

            await PauseAsync(_clock.GetElapsedTime(since), stop);
        }
    }

    /// <summary>Waits a tenth of the time that has passed: the socket of a new process is found at once, a hung one costs little.</summary>
    private async Task PauseAsync(TimeSpan elapsed, CancellationToken stop)
    {
        var pause = elapsed / 10;
        pause = pause < ShortestPause ? ShortestPause : pause > LongestPause ? LongestPause : pause;
        await Task.Delay(pause, _clock, stop).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
    }

    private void Publish(QmpClient client)
    {
        // The one before may still be there if nobody has asked since it broke.
        lock (_gate)
        {
            _published = client;
            if (!_client.TrySetResult(client) && _client.Task.IsCompletedSuccessfully)
            {
                _client = NewClientSource();
                _client.SetResult(client);
            }
        }
    }

    private void OnEvent(QmpEvent happened)
    {
        if (happened.Name == "GUEST_PANICKED")
        {
            _reason = "guest-panic";
        }
        else if (happened.Name == "SHUTDOWN" && Text(happened.Data, "reason") is { Length: <= MaxReason } reason && _reason is null)
        {
            _reason = reason;
        }
    }

    private static string? Text(JsonElement data, string member) =>
        data.ValueKind == JsonValueKind.Object && data.TryGetProperty(member, out var value) && value.ValueKind == JsonValueKind.String
            ? value.GetString()
            : null;

    private static TaskCompletionSource<QmpClient> NewClientSource() => new(TaskCreationOptions.RunContinuationsAsynchronously);

    [LoggerMessage(2001, LogLevel.Warning, "The control connection of VM {Vm}, hypervisor process {ProcessId}, broke and was opened again.")]
    private partial void LogControlBack(Guid vm, int processId);

    [LoggerMessage(2002, LogLevel.Debug, "No control connection of VM {Vm}, hypervisor process {ProcessId}, yet.")]
    private partial void LogNoControl(Exception exception, Guid vm, int processId);
}
