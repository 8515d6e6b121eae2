using System.Runtime.CompilerServices;
using System.Text;
using Volant.Contracts.Api;
using Volant.Daemon.Logs;
using Volant.Daemon.Orchestration;
using Volant.Daemon.Store;

namespace Volant.Daemon.Api;

/// <summary>Reads and follows the log of a VM, running or not, across its restarts and those of the daemon.</summary>
internal sealed class LogReader(VolantStore store, HostResources resources, LogHub hub, TimeProvider clock)
{
    /// <summary>Longest time without an item.</summary>
    public static readonly TimeSpan Heartbeat = TimeSpan.FromSeconds(15);

    private const int MaxPartial = 16 * 1024;

    private static readonly TimeSpan DeletionCheck = TimeSpan.FromSeconds(2);
    private static readonly TimeSpan ConsolePoll = TimeSpan.FromMilliseconds(200);

    /// <summary>Lines, oldest first. Null means that nothing follows at once: what was written should be sent now.</summary>
    /// <param name="vm">The VM.</param>
    /// <param name="query">Which lines.</param>
    /// <param name="follow">Whether to go on with new lines until the VM is deleted or the reader too slow.</param>
    /// <param name="consoleInstead">Whether a workload that never wrote a line is replaced by the console, which says why.</param>
    /// <param name="cancellationToken">Ends it.</param>
    public async IAsyncEnumerable<LogLine?> ReadAsync(
        VmRecord vm, LogQuery query, bool follow, bool consoleInstead, [EnumeratorCancellation] CancellationToken cancellationToken)
    {
        var paths = resources.PathsOf(vm.Vm.Uid);
        using var lease = hub.Open(vm.Vm.Uid, paths.LogDirectory);
        var fromConsole = query.Stream == LogStreams.Console;
        if (!fromConsole)
        {
            var (snapshot, feed) = lease.Log.Follow();
            try
            {
                using (snapshot)
                {
                    fromConsole = consoleInstead && query.Stream is null && snapshot.IsEmpty;
                    foreach (var line in fromConsole ? [] : snapshot.Read(query))
                    {
                        yield return line;
                    }
                }

                if (follow && !fromConsole)
                {
                    await foreach (var line in FollowAsync(vm, query, feed, cancellationToken))
                    {
                        yield return line;
                    }
                }
            }
            finally
            {
                lease.Log.Leave(feed);
            }
        }

        if (fromConsole)
        {
            await foreach (var line in ReadConsoleAsync(vm, paths.ConsoleLog, query.Tail, follow, cancellationToken))
            {
                yield return line;
            }
        }
    }

    private async IAsyncEnumerable<LogLine?> FollowAsync(
        VmRecord vm, LogQuery query, BoundedFeed<LogLine> feed, [EnumeratorCancellation] CancellationToken cancellationToken)
    {
        var heard = clock.GetTimestamp();
        var check = Task.Delay(DeletionCheck, clock, cancellationToken);
        var next = feed.WaitAsync(cancellationToken).AsTask();
        while (true)
        {
            if (!next.IsCompleted)
            {
                yield return null;
                heard = clock.GetTimestamp();
            }

            while (await Task.WhenAny(next, check) != next)
            {
                cancellationToken.ThrowIfCancellationRequested();
                if (store.FindVm(vm.Id) is null)
                {
                    yield break;
                }

                check = Task.Delay(DeletionCheck, clock, cancellationToken);
                if (clock.GetElapsedTime(heard) >= Heartbeat - DeletionCheck)
                {
                    yield return null;
                    heard = clock.GetTimestamp();
                }
            }

            if (!await next)
            {
                yield return new LogLine { Stream = LogStreams.Notice, Line = "This reader was too slow and is cut off; read again to go on.", Timestamp = clock.GetUtcNow() };
                yield break;
            }

            while (feed.TryTake(out var line))
            {
                if (query.Matches(line))
                {
                    yield return line;
                }
            }

            next = feed.WaitAsync(cancellationToken).AsTask();
        }
    }

    private async IAsyncEnumerable<LogLine?> ReadConsoleAsync(
        VmRecord vm, string path, int tail, bool follow, [EnumeratorCancellation] CancellationToken cancellationToken)
    {
        var position = File.Exists(path) ? new FileInfo(path).Length : 0;
        foreach (var line in LogTail.Read(path, tail))
        {
            yield return Console(line);
        }

        var buffer = new byte[64 * 1024];
        var partial = new StringBuilder();
        var decoder = Encoding.UTF8.GetDecoder();
        var characters = new char[buffer.Length + 1];
        while (follow && store.FindVm(vm.Id) is not null)
        {
            while (ReadNew(path, ref position, buffer) is > 0 and var count)
            {
                partial.Append(characters, 0, decoder.GetChars(buffer.AsSpan(0, count), characters, flush: false));
                var lines = partial.ToString().Split('\n');
                partial.Clear().Append(lines[^1]);
                foreach (var line in lines[..^1].Where(line => line.Length > 0))
                {
                    yield return Console(line);
                }

                if (partial.Length > MaxPartial)
                {
                    yield return Console(partial.ToString());
                    partial.Clear();
                }
            }

            yield return null;
            await Task.Delay(ConsolePoll, clock, cancellationToken);
        }
    }

    /// <summary>Reads on in a file that may have been emptied in between.</summary>
    private static int ReadNew(string path, ref long position, byte[] buffer)
    {
        try
        {
            using var file = File.OpenHandle(path, share: FileShare.ReadWrite | FileShare.Delete);
            position = RandomAccess.GetLength(file) < position ? 0 : position;
            var count = RandomAccess.Read(file, buffer, position);
            position += count;
            return count;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            // Not there yet, or gone with the VM.
            return 0;
        }
    }

    private LogLine Console(string line) => new() { Stream = LogStreams.Console, Line = LogTail.Clean(line), Timestamp = clock.GetUtcNow() };
}
