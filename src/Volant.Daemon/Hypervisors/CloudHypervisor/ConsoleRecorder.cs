using System.Diagnostics.CodeAnalysis;
using System.Net.Sockets;
using Microsoft.Win32.SafeHandles;

namespace Volant.Daemon.Hypervisors.CloudHypervisor;

/// <summary>
/// Stands between the serial socket of Cloud Hypervisor and the rest of the daemon: all output goes to the console log, and to one viewer
/// at a time at <see cref="VmPaths.SerialSocket"/>, as QEMU does it by itself.
/// </summary>
/// <remarks>
/// Cloud Hypervisor serves one connection, the newest, and keeps no log. What the guest writes while no daemon runs is not in the log. A
/// viewer that does not keep up loses output; neither the log nor the guest waits for it.
/// </remarks>
internal sealed partial class ConsoleRecorder : IAsyncDisposable
{
    private const int BufferBytes = 16 * 1024;
    private const int Backlog = 4;

    private static readonly TimeSpan Pause = TimeSpan.FromMilliseconds(50);

    private readonly VmPaths _paths;
    private readonly TimeProvider _clock;
    private readonly ILogger _logger;
    private readonly CancellationTokenSource _stop = new();
    private readonly TaskCompletionSource _connected = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private readonly Socket _listener = new(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
    private readonly Task _work;

    [SuppressMessage("Usage", "CA2213", Justification = "Whoever connects it disposes of it.")]
    private volatile Socket? _console;
    private volatile Socket? _viewer;

    /// <summary>Begins at once; the hypervisor's socket need not be there yet.</summary>
    /// <param name="paths">Files of the VM.</param>
    /// <param name="clock">Measures pauses between attempts.</param>
    /// <param name="logger">Told when the log cannot be written.</param>
    /// <exception cref="SocketException">Viewers cannot be listened for.</exception>
    public ConsoleRecorder(VmPaths paths, TimeProvider clock, ILogger logger)
    {
        _paths = paths;
        _clock = clock;
        _logger = logger;
        File.Delete(paths.SerialSocket);
        _listener.Bind(new UnixDomainSocketEndPoint(paths.SerialSocket));
        _listener.Listen(Backlog);
        _work = Task.WhenAll(RecordAsync(), ServeViewersAsync());
    }

    /// <summary>Completes once the hypervisor's socket is connected to: from then on nothing is lost.</summary>
    public Task Connected => _connected.Task;

    /// <inheritdoc/>
    public async ValueTask DisposeAsync()
    {
        await _stop.CancelAsync();
        _listener.Dispose();
        _viewer?.Dispose();
        await _work;
        _stop.Dispose();
    }

    private async Task RecordAsync()
    {
        var buffer = new byte[BufferBytes];
        while (!_stop.IsCancellationRequested)
        {
            using var console = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
            try
            {
                await console.ConnectAsync(new UnixDomainSocketEndPoint(_paths.HypervisorSerialSocket), _stop.Token);
                _console = console;
                _connected.TrySetResult();
                using var log = OpenLog();
                while (await console.ReceiveAsync(buffer, SocketFlags.None, _stop.Token) is > 0 and var count)
                {
                    Record(log, buffer.AsSpan(0, count));
                    Show(buffer.AsSpan(0, count));
                }
            }
            catch (Exception e) when (e is SocketException or OperationCanceledException or ObjectDisposedException)
            {
                // Not there yet, or over: whoever owns the process stops this.
            }
            catch (Exception e) when (e is IOException or UnauthorizedAccessException)
            {
                LogNotRecorded(e, _paths.ConsoleLog);
            }

            _console = null;
            await Task.Delay(Pause, _clock, _stop.Token).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        }
    }

    private async Task ServeViewersAsync()
    {
        var buffer = new byte[BufferBytes];
        while (!_stop.IsCancellationRequested)
        {
            try
            {
                using var viewer = await _listener.AcceptAsync(_stop.Token);
                viewer.Blocking = false;
                _viewer = viewer;
                while (await viewer.ReceiveAsync(buffer, SocketFlags.None, _stop.Token) is > 0 and var count)
                {
                    await TypeAsync(buffer.AsMemory(0, count));
                }
            }
            catch (Exception e) when (e is SocketException or OperationCanceledException or ObjectDisposedException)
            {
                // The viewer left, or this is over.
            }

            _viewer = null;
        }
    }

    private async Task TypeAsync(ReadOnlyMemory<byte> bytes)
    {
        while (!bytes.IsEmpty && _console is { } console)
        {
            bytes = bytes[await console.SendAsync(bytes, SocketFlags.None, _stop.Token)..];
        }
    }

    private void Show(ReadOnlySpan<byte> bytes)
    {
        try
        {
            _viewer?.Send(bytes, SocketFlags.None);
        }
        catch (Exception e) when (e is SocketException or ObjectDisposedException)
        {
            // It does not keep up, or left.
        }
    }

    private SafeFileHandle OpenLog()
    {
        const UnixFileMode ownerOnly = UnixFileMode.UserRead | UnixFileMode.UserWrite;
        using (new FileStream(_paths.ConsoleLog, new FileStreamOptions { Mode = FileMode.OpenOrCreate, Access = FileAccess.Write, Share = FileShare.ReadWrite | FileShare.Delete, UnixCreateMode = ownerOnly }))
        {
            return File.OpenHandle(_paths.ConsoleLog, FileMode.Open, FileAccess.Write, FileShare.ReadWrite | FileShare.Delete);
        }
    }

    private void Record(SafeFileHandle log, ReadOnlySpan<byte> bytes)
    {
        try
        {
            // At the end as it is now: the log is emptied in place when it is too large.
            RandomAccess.Write(log, bytes, RandomAccess.GetLength(log));
        }
        catch (IOException e)
        {
            // A full disk must not stop the console.
            LogNotRecorded(e, _paths.ConsoleLog);
        }
    }

    [LoggerMessage(2103, LogLevel.Debug, "Output of a serial console could not be written to {Path}.")]
    private partial void LogNotRecorded(Exception exception, string path);
}
