using System.Diagnostics.CodeAnalysis;
using System.Net.Sockets;
using System.Text.Json;
using Volant.Contracts;
using Volant.Contracts.Api;

namespace Volant.Daemon.Logs;

/// <summary>One connection to a serial socket while somebody looks at it: what comes out goes to every viewer, one of them may write.</summary>
/// <remarks>
/// The first who writes holds the pen until they leave or have not written for <see cref="PenIdle"/>. A viewer who does not keep up is cut
/// off; the guest is never slowed down by one. Later viewers get the same bytes as the first from the end of the log on; what the guest
/// writes in the moment in which the first one joins may appear twice.
/// </remarks>
[SuppressMessage("Design", "CA1001", Justification = "The pump disposes the socket; the semaphore holds no handle, and late viewers still wait for it.")]
internal sealed class SerialConsole(string socketPath, string logPath, TimeProvider clock, Action<SerialConsole> forget)
{
    /// <summary>Bytes of what was written before that a viewer gets first.</summary>
    public const int BacklogBytes = 64 * 1024;

    /// <summary>Bytes that a viewer may be behind.</summary>
    public const long MaxBehind = 512 * 1024;

    /// <summary>Most viewers of one console.</summary>
    public const int MaxViewers = 64;

    /// <summary>How long the pen stays with one who does not write.</summary>
    public static readonly TimeSpan PenIdle = TimeSpan.FromSeconds(30);

    private const int MaxFrames = 4096;
    private const int ReadBytes = 16 * 1024;

    private static readonly TimeSpan ConnectLimit = TimeSpan.FromSeconds(5);

    private readonly SemaphoreSlim _joining = new(1, 1);
    private readonly Lock _gate = new();
    private readonly List<SerialViewer> _viewers = [];
    private readonly byte[] _backlog = new byte[2 * BacklogBytes];
    private int _backlogLength;
    private Socket? _socket;
    private bool _isOver;
    private SerialViewer? _writer;
    private long _wroteAt;

    /// <summary>What a viewer is told who is cut off.</summary>
    public static ConsoleFrame TooSlow => Notice(ConsoleNotices.TooSlow, "This viewer did not keep up and is cut off; connect again to go on.");

    /// <summary>The serial socket.</summary>
    public string SocketPath => socketPath;

    /// <summary>Joins; null when this console is over and another must be made.</summary>
    public async Task<SerialViewer?> TryJoinAsync(CancellationToken cancellationToken)
    {
        await _joining.WaitAsync(cancellationToken);
        try
        {
            if (_isOver)
            {
                return null;
            }

            if (_socket is null)
            {
                await OpenAsync(cancellationToken);
            }

            lock (_gate)
            {
                if (_isOver)
                {
                    return null;
                }

                if (_viewers.Count >= MaxViewers)
                {
                    throw new VolantException(ErrorCodes.Unavailable, $"This console has {MaxViewers} viewers already; close one of them.");
                }

                var viewer = new SerialViewer(this, new BoundedFeed<ConsoleFrame>(MaxFrames, MaxBehind, static frame => frame.Bytes.Length));
                if (_backlogLength > 0)
                {
                    viewer.Feed.TryAdd(new ConsoleFrame(false, Backlog_NeedsLock()));
                }

                _viewers.Add(viewer);
                return viewer;
            }
        }
        finally
        {
            _joining.Release();
        }
    }

    /// <summary>Writes for a viewer, who waits while the guest does not read. Without the pen nothing is written, and the viewer is told.</summary>
    internal async Task WriteAsync(SerialViewer viewer, ReadOnlyMemory<byte> bytes, CancellationToken cancellationToken)
    {
        Socket socket;
        lock (_gate)
        {
            if (_isOver || _socket is null)
            {
                return;
            }

            if (_writer is not null && _writer != viewer && clock.GetElapsedTime(_wroteAt) < PenIdle)
            {
                if (!viewer.IsTold)
                {
                    viewer.IsTold = true;
                    viewer.Feed.TryAdd(Notice(ConsoleNotices.ReadOnly, $"Another viewer is writing. Your input is dropped until they leave or have been idle for {PenIdle.TotalSeconds:0} s."));
                }

                return;
            }

            (_writer, _wroteAt, viewer.IsTold, socket) = (viewer, clock.GetTimestamp(), false, _socket);
        }

        try
        {
            while (!bytes.IsEmpty)
            {
                bytes = bytes[await socket.SendAsync(bytes, SocketFlags.None, cancellationToken)..];
            }
        }
        catch (Exception e) when (e is SocketException or ObjectDisposedException)
        {
            // The reader notices the end too and tells every viewer.
        }
    }

    /// <summary>Ends what <see cref="TryJoinAsync"/> began.</summary>
    internal void Leave(SerialViewer viewer)
    {
        lock (_gate)
        {
            Remove_NeedsLock(viewer);
        }
    }

    private static ConsoleFrame Notice(string notice, string message) =>
        new(true, JsonSerializer.SerializeToUtf8Bytes(new ConsoleNotice { Notice = notice, Message = message }, ContractsJson.Readable.ConsoleNotice));

    private async Task OpenAsync(CancellationToken cancellationToken)
    {
        var socket = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
        using var limit = new CancellationTokenSource(ConnectLimit, clock);
        using var either = CancellationTokenSource.CreateLinkedTokenSource(limit.Token, cancellationToken);
        try
        {
            await socket.ConnectAsync(new UnixDomainSocketEndPoint(socketPath), either.Token);
        }
        catch (Exception e) when (e is SocketException or OperationCanceledException)
        {
            socket.Dispose();
            End([]);
            cancellationToken.ThrowIfCancellationRequested();
            throw new VolantException(
                ErrorCodes.AgentUnreachable, $"The serial console cannot be reached: {(e is SocketException ? e.Message : $"no connection within {ConnectLimit.TotalSeconds:0} s")}.", e);
        }

        var backlog = LogTail.ReadBytes(logPath, BacklogBytes);
        lock (_gate)
        {
            backlog.CopyTo(_backlog, 0);
            _backlogLength = backlog.Length;
            _socket = socket;
        }

        _ = PumpAsync(socket);
    }

    private async Task PumpAsync(Socket socket)
    {
        var buffer = new byte[ReadBytes];
        try
        {
            while (await socket.ReceiveAsync(buffer, SocketFlags.None) is > 0 and var count)
            {
                HandOut(buffer.AsSpan(0, count));
            }
        }
        catch (Exception e) when (e is SocketException or ObjectDisposedException)
        {
            // The VM ended, or the last viewer left.
        }

        socket.Dispose();
        End(Notice(ConsoleNotices.Ended, "The VM ended."));
    }

    private void HandOut(ReadOnlySpan<byte> bytes)
    {
        lock (_gate)
        {
            if (_backlogLength + bytes.Length > _backlog.Length)
            {
                var keep = BacklogBytes - bytes.Length;
                _backlog.AsSpan(_backlogLength - keep, keep).CopyTo(_backlog);
                _backlogLength = keep;
            }

            bytes.CopyTo(_backlog.AsSpan(_backlogLength));
            _backlogLength += bytes.Length;
            var frame = new ConsoleFrame(false, bytes.ToArray());
            for (var i = _viewers.Count - 1; i >= 0; i--)
            {
                if (!_viewers[i].Feed.TryAdd(frame))
                {
                    Remove_NeedsLock(_viewers[i]);
                }
            }
        }
    }

    private byte[] Backlog_NeedsLock() => _backlog[Math.Max(0, _backlogLength - BacklogBytes).._backlogLength];

    private void Remove_NeedsLock(SerialViewer viewer)
    {
        if (_writer == viewer)
        {
            _writer = null;
        }

        viewer.Feed.Complete();
        if (_viewers.Remove(viewer) && _viewers.Count == 0 && !_isOver)
        {
            _isOver = true;
            forget(this);
            _socket?.Dispose();
        }
    }

    private void End(ConsoleFrame last) => End([last]);

    private void End(IReadOnlyList<ConsoleFrame> last)
    {
        lock (_gate)
        {
            _isOver = true;
            forget(this);
            foreach (var viewer in _viewers)
            {
                foreach (var frame in last)
                {
                    viewer.Feed.TryAdd(frame);
                }

                viewer.HasEnded = true;
                viewer.Feed.Complete();
            }

            _viewers.Clear();
        }
    }
}

/// <summary>One message to a viewer.</summary>
/// <param name="IsText">Whether it is a <see cref="ConsoleNotice"/>; otherwise it is what the guest wrote.</param>
/// <param name="Bytes">The message.</param>
internal readonly record struct ConsoleFrame(bool IsText, ReadOnlyMemory<byte> Bytes);

/// <summary>One who looks at a serial console, until disposed.</summary>
internal sealed class SerialViewer(SerialConsole console, BoundedFeed<ConsoleFrame> feed) : IDisposable
{
    /// <summary>What the viewer is to be sent; ends with the VM, or cut when the viewer does not keep up.</summary>
    public BoundedFeed<ConsoleFrame> Feed => feed;

    /// <summary>Whether the VM ended.</summary>
    public bool HasEnded { get; set; }

    /// <summary>Whether the viewer was told that another one is writing.</summary>
    internal bool IsTold { get; set; }

    /// <summary>Writes to the guest if this viewer has the pen or can take it; waits while the guest does not read.</summary>
    public Task WriteAsync(ReadOnlyMemory<byte> bytes, CancellationToken cancellationToken) => console.WriteAsync(this, bytes, cancellationToken);

    /// <inheritdoc/>
    public void Dispose() => console.Leave(this);
}
