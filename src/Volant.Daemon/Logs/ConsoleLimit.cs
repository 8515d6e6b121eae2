using System.Collections.Concurrent;
using Microsoft.Win32.SafeHandles;

namespace Volant.Daemon.Logs;

/// <summary>Bounds the file that a hypervisor writes a serial console to, which has no limit of its own (reliability G22).</summary>
/// <remarks>
/// The hypervisor appends (<c>O_APPEND</c>) and keeps its descriptor, so the file is copied and emptied in place, never renamed. What is
/// written between the last read and the emptying is lost, which only a flood can do.
/// </remarks>
internal sealed partial class ConsoleLimit(TimeProvider clock, ILogger<ConsoleLimit> logger) : BackgroundService
{
    /// <summary>Size at which a file is emptied.</summary>
    public const long MaxBytes = 4 * 1024 * 1024;

    /// <summary>How much of its end is kept in the file beside it.</summary>
    public const long KeptBytes = 2 * 1024 * 1024;

    private const int CopyBytes = 256 * 1024;

    private static readonly TimeSpan Interval = TimeSpan.FromSeconds(1);

    private readonly ConcurrentDictionary<string, int> _paths = new(StringComparer.Ordinal);

    /// <summary>Starts to bound a file, which need not exist yet.</summary>
    public void Watch(string path) => _paths.AddOrUpdate(path, 1, static (_, users) => users + 1);

    /// <summary>Bounds a file a last time.</summary>
    public void Release(string path)
    {
        Bound(path);
        if (_paths.AddOrUpdate(path, 0, static (_, users) => users - 1) <= 0)
        {
            _paths.TryRemove(KeyValuePair.Create(path, 0));
        }
    }

    /// <summary>Keeps the end of a file that is too large; true when it did.</summary>
    /// <exception cref="IOException">The end could not be kept; the file is empty all the same.</exception>
    internal static bool Trim(string path)
    {
        if (new FileInfo(path) is not { Exists: true, Length: > MaxBytes })
        {
            return false;
        }

        using var file = File.OpenHandle(path, FileMode.Open, FileAccess.ReadWrite, FileShare.ReadWrite | FileShare.Delete);
        var temporary = path + ".new";
        try
        {
            CopyEnd(file, temporary);
        }
        catch
        {
            // A full disk is no reason to let the guest fill it further.
            RandomAccess.SetLength(file, 0);
            File.Delete(temporary);
            throw;
        }

        RandomAccess.SetLength(file, 0);
        File.Move(temporary, LogTail.PreviousOf(path), overwrite: true);
        return true;
    }

    /// <inheritdoc/>
    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        using var timer = new PeriodicTimer(Interval, clock);
        try
        {
            while (await timer.WaitForNextTickAsync(stoppingToken))
            {
                foreach (var path in _paths.Keys)
                {
                    Bound(path);
                }
            }
        }
        catch (OperationCanceledException)
        {
            // The daemon stops.
        }
    }

    private static void CopyEnd(SafeFileHandle file, string to)
    {
        const UnixFileMode ownerOnly = UnixFileMode.UserRead | UnixFileMode.UserWrite;
        using var copy = new FileStream(to, new FileStreamOptions { Mode = FileMode.Create, Access = FileAccess.Write, BufferSize = 0, UnixCreateMode = ownerOnly });
        var buffer = new byte[CopyBytes];
        var position = RandomAccess.GetLength(file) - KeptBytes;

        // The guest may go on writing; a flood must not be chased for ever.
        var end = position + (2 * KeptBytes);
        while (position < end && RandomAccess.Read(file, buffer, position) is > 0 and var read)
        {
            copy.Write(buffer, 0, read);
            position += read;
        }
    }

    private void Bound(string path)
    {
        try
        {
            if (Trim(path))
            {
                LogTrimmed(path, MaxBytes);
            }
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            LogNotTrimmed(e, path);
        }
    }

    [LoggerMessage(EventId = 1611, Level = LogLevel.Debug, Message = "The console log {Path} was larger than {Limit} bytes; its end was kept")]
    private partial void LogTrimmed(string path, long limit);

    [LoggerMessage(EventId = 1612, Level = LogLevel.Warning, Message = "The console log {Path} could not be bounded")]
    private partial void LogNotTrimmed(Exception exception, string path);
}
