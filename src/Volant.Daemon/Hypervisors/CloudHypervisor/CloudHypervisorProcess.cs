using System.ComponentModel;
using System.Diagnostics.CodeAnalysis;
using System.Net.Sockets;
using Microsoft.Win32.SafeHandles;
using Volant.Linux;
using Volant.Linux.Networking;
using Volant.Linux.Processes;

namespace Volant.Daemon.Hypervisors.CloudHypervisor;

/// <summary>A live Cloud Hypervisor process, launched or adopted.</summary>
/// <remarks>
/// A guest that resets itself, or whose kernel panics, is started again inside the same process; that is seen in the events, and ended: what
/// follows a crash is decided in one place, for every hypervisor. A clean exit says nothing of who wanted it, so the reason comes from the
/// events as well.
/// </remarks>
internal sealed partial class CloudHypervisorProcess : VmProcess
{
    private const string GuestReset = "guest-reset";
    private const string GuestPanic = "guest-panic";
    private const string GuestShutdown = "guest-shutdown";
    private const string HostSignal = "host-signal";

    private static readonly TimeSpan CommandLimit = TimeSpan.FromSeconds(5);
    private const int TapPatience = 50;
    private static readonly TimeSpan TapPause = TimeSpan.FromMilliseconds(20);
    private static readonly TimeSpan LookEvery = TimeSpan.FromMilliseconds(500);

    private readonly HypervisorProcess _process;
    private readonly CloudHypervisorApi _api;
    private readonly VmmEvents _events;
    private readonly TimeProvider _clock;
    private readonly ILogger _logger;

    [SuppressMessage("Usage", "CA2213", Justification = "Holds no timer, and is cancelled by whichever comes last of disposal and exit.")]
    private readonly CancellationTokenSource _stop = new();
    private readonly Lock _recording = new();
    private readonly Task _watching;
    private ConsoleRecorder? _recorder;
    private volatile string? _reason;
    private bool _isDisposed;

    /// <summary>Takes over a process.</summary>
    /// <param name="handle">Its identity and files.</param>
    /// <param name="process">Its descriptor, owned from now on.</param>
    /// <param name="clock">Measures the limits.</param>
    /// <param name="logger">Told what the guest did.</param>
    public CloudHypervisorProcess(VmHandle handle, PidFd process, TimeProvider clock, ILogger logger)
    {
        Handle = handle;
        _clock = clock;
        _logger = logger;
        _process = new HypervisorProcess(process, clock);
        _api = new CloudHypervisorApi(handle.Paths.ControlSocket);
        _events = new VmmEvents(handle.Paths.EventLog);
        _watching = WatchEventsAsync();
        Exited = AwaitExitAsync();
    }

    /// <inheritdoc/>
    public override VmHandle Handle { get; }

    /// <inheritdoc/>
    public override AgentLink AgentLink => AgentLink.VsockSocket;

    /// <inheritdoc/>
    public override Task<HypervisorExit> Exited { get; }

    /// <summary>Counters of every device by its id.</summary>
    /// <exception cref="IOException">The hypervisor does not answer.</exception>
    public Task<Dictionary<string, Dictionary<string, long>>> CountersAsync(CancellationToken cancellationToken) => AskAsync(_api.CountersAsync, cancellationToken);

    /// <summary>State of the VM.</summary>
    /// <exception cref="IOException">The hypervisor does not answer, or has no VM.</exception>
    public async Task<string?> QueryStateAsync(CancellationToken cancellationToken) => (await AskAsync(_api.InfoAsync, cancellationToken)).State;

    /// <summary>Waits until the process answers on its socket.</summary>
    /// <exception cref="TimeoutException">It does not in time.</exception>
    /// <exception cref="CloudHypervisorException">It has ended.</exception>
    public async Task WaitForControlAsync(TimeSpan limit, CancellationToken cancellationToken)
    {
        var started = _clock.GetTimestamp();
        while (true)
        {
            try
            {
                if (File.Exists(Handle.Paths.ControlSocket))
                {
                    await _api.PingAsync(cancellationToken).WaitAsync(limit, _clock, cancellationToken);
                    return;
                }
            }
            catch (CloudHypervisorException e) when (e.InnerException?.InnerException is SocketException or IOException)
            {
                // Made, but not listened on yet.
            }

            if (_process.IsGone)
            {
                throw new CloudHypervisorException("It has ended.");
            }

            var waited = _clock.GetElapsedTime(started);
            if (waited > limit)
            {
                throw new TimeoutException();
            }

            // A tenth of the time that has passed: a new process is found at once, a hung one costs little.
            await Task.Delay(TimeSpan.FromMilliseconds(Math.Clamp(waited.TotalMilliseconds / 10, 1, 100)), _clock, cancellationToken);
        }
    }

    /// <summary>Describes the VM, begins to record its console, and starts it.</summary>
    /// <remarks>The tap is handed over open: by its name, the hypervisor would set it up anew, which takes CAP_NET_ADMIN even for one that is up.</remarks>
    /// <exception cref="CloudHypervisorException">The hypervisor refuses, with its own words.</exception>
    /// <exception cref="TimeoutException">It does not answer in time.</exception>
    public async Task BootAsync(VmConfigBody vm, NicSpec? nic, TimeSpan limit, CancellationToken cancellationToken)
    {
        await _api.CreateAsync(vm, cancellationToken).WaitAsync(limit, _clock, cancellationToken);
        if (nic is not null)
        {
            using var tap = await OpenTapAsync(nic.Tap, cancellationToken);
            await _api.AddNetAsync(VmConfigBuilder.Net(nic), tap, cancellationToken).WaitAsync(limit, _clock, cancellationToken);
        }

        await StartRecorder().Connected.WaitAsync(limit, _clock, cancellationToken);
        await _api.BootAsync(cancellationToken).WaitAsync(limit, _clock, cancellationToken);
    }

    /// <summary>Begins to record the console of a VM that runs.</summary>
    public ConsoleRecorder StartRecorder()
    {
        lock (_recording)
        {
            return _recorder ??= new ConsoleRecorder(Handle.Paths, _clock, _logger);
        }
    }

    /// <inheritdoc/>
    public override Task RequestPowerOffAsync(CancellationToken cancellationToken) => AskAsync(_api.PressPowerButtonAsync, cancellationToken);

    /// <inheritdoc/>
    public override Task PauseAsync(CancellationToken cancellationToken) => AskAsync(_api.PauseAsync, cancellationToken);

    /// <inheritdoc/>
    public override Task ResumeAsync(CancellationToken cancellationToken) => AskAsync(_api.ResumeAsync, cancellationToken);

    /// <inheritdoc/>
    /// <remarks>SIGTERM is <c>vm.shutdown</c> and <c>vmm.shutdown</c> in one, also where the API hangs.</remarks>
    public override async Task KillAsync()
    {
        _reason ??= _process.IsGone ? null : HostSignal;
        await _process.EndAsync();
        await Exited;
    }

    /// <inheritdoc/>
    public override async ValueTask DisposeAsync()
    {
        if (_isDisposed)
        {
            return;
        }

        _isDisposed = true;
        await _stop.CancelAsync();
        await _watching;
        await StopRecordingAsync();
        _api.Dispose();
    }

    /// <summary>Opens the tap; a process that is just being started has what an earlier run had, for a moment.</summary>
    private async Task<SafeFileHandle> OpenTapAsync(string name, CancellationToken cancellationToken)
    {
        for (var patience = TapPatience; ; patience--)
        {
            try
            {
                return TapDevice.Open(name);
            }
            catch (Win32Exception e) when (e.NativeErrorCode == Errno.Busy && patience > 0)
            {
                await Task.Delay(TapPause, _clock, cancellationToken);
            }
            catch (Win32Exception e)
            {
                throw new CloudHypervisorException($"Its tap '{name}' cannot be opened: {e.Message}.", e);
            }
        }
    }

    private async Task<T> AskAsync<T>(Func<CancellationToken, Task<T>> ask, CancellationToken cancellationToken)
    {
        var answer = default(T);
        await AskAsync(
            async token =>
            {
                // A block: as an expression it would have a value, and be this method's again.
                answer = await ask(token);
            },
            cancellationToken);
        return answer!;
    }

    private async Task AskAsync(Func<CancellationToken, Task> ask, CancellationToken cancellationToken)
    {
        using var limit = new CancellationTokenSource(CommandLimit, _clock);
        using var either = CancellationTokenSource.CreateLinkedTokenSource(limit.Token, cancellationToken);
        try
        {
            await ask(either.Token);
        }
        catch (OperationCanceledException) when (limit.IsCancellationRequested && !cancellationToken.IsCancellationRequested)
        {
            throw new CloudHypervisorException($"The hypervisor of VM {Handle.Uid} (process {Handle.Process.Pid}) did not answer within {CommandLimit.TotalSeconds:F0} s.");
        }
    }

    private async Task<HypervisorExit> AwaitExitAsync()
    {
        var exit = await _process.Ended;
        await _stop.CancelAsync();
        await _watching;
        Note(_events.Read());
        await StopRecordingAsync();
        return new HypervisorExit(exit.ExitCode, exit.Signal, _reason);
    }

    private async Task StopRecordingAsync()
    {
        ConsoleRecorder? recorder;
        lock (_recording)
        {
            (recorder, _recorder) = (_recorder, null);
        }

        if (recorder is not null)
        {
            await recorder.DisposeAsync();
        }
    }

    private async Task WatchEventsAsync()
    {
        while (!_stop.IsCancellationRequested)
        {
            if (Note(_events.Read()))
            {
                LogGuestReset(Handle.Uid, Handle.Process.Pid);
                _ = _process.EndAsync();
                return;
            }

            await Task.Delay(LookEvery, _clock, _stop.Token).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        }
    }

    /// <summary>Keeps the first reason; true when the guest has reset itself.</summary>
    private bool Note(IReadOnlyList<string> events)
    {
        var reset = false;
        foreach (var happened in events)
        {
            switch (happened)
            {
                case "guest panic":
                    _reason ??= GuestPanic;
                    break;
                case "vm rebooting":
                    _reason ??= GuestReset;
                    reset = true;
                    break;
                case "vm shutdown":
                    _reason ??= GuestShutdown;
                    break;
            }
        }

        return reset;
    }

    [LoggerMessage(2102, LogLevel.Information, "The guest of VM {Vm} reset itself; the hypervisor, process {ProcessId}, is ended.")]
    private partial void LogGuestReset(Guid vm, int processId);
}
