using System.Text;
using CsCheck;
using Microsoft.Extensions.Logging.Abstractions;
using Volant.Contracts.Api;
using Volant.Daemon;
using Volant.Daemon.Logs;

namespace Volant.Tests.Logs;

public sealed class LogFileTests : IDisposable
{
    private static readonly DateTimeOffset Start = new(2026, 1, 1, 0, 0, 0, TimeSpan.Zero);

    private readonly string _directory = Directory.CreateTempSubdirectory("vt-log-").FullName;

    [Fact]
    public void Lines_come_back_as_they_were_and_in_order()
    {
        var log = new VmLog(_directory);
        Assert.Null(log.Append([Line(1, "a \"b\" ä\u001b[1m"), Line(2, string.Empty, LogStreams.Stderr)]));
        Assert.Null(log.Append([Line(3, "c")]));

        using var snapshot = log.Open();
        Assert.Equal([Line(1, "a \"b\" ä\u001b[1m"), Line(2, string.Empty, LogStreams.Stderr), Line(3, "c")], snapshot.Read(new LogQuery()));
        Assert.Equal("e.3", snapshot.LastId());
        Assert.Equal(UnixFileMode.UserRead | UnixFileMode.UserWrite, File.GetUnixFileMode(log.Current));
    }

    [Fact]
    public void A_query_takes_the_last_lines_that_match()
    {
        var log = new VmLog(_directory);
        log.Append([.. Enumerable.Range(1, 100).Select(i => Line(i, $"{i}", i % 2 == 0 ? LogStreams.Stderr : LogStreams.Stdout))]);

        Assert.Equal(["99", "100"], Read(log, new LogQuery { Tail = 2 }));
        Assert.Equal(["97", "99"], Read(log, new LogQuery { Tail = 2, Stream = LogStreams.Stdout }));
        Assert.Equal(["99", "100"], Read(log, new LogQuery { Since = Start.AddSeconds(99) }));
        Assert.Equal(["98", "99", "100"], Read(log, new LogQuery { AfterId = "e.97" }));
        Assert.Equal(["100"], Read(log, new LogQuery { AfterId = "e.97", Tail = 1 }));
        Assert.Equal(100, Read(log, new LogQuery { AfterId = "e.unknown" }).Count);
        Assert.Empty(Read(log, new LogQuery { Tail = 0 }));
    }

    [Fact]
    public void Two_files_of_bounded_size_hold_the_newest_lines_without_a_gap()
    {
        var log = new VmLog(_directory);
        for (var i = 0; i < 120; i++)
        {
            log.Append([.. Enumerable.Range(i * 100, 100).Select(n => Line(n, $"{n} {new string('x', 1000)}"))]);
        }

        Assert.InRange(new FileInfo(log.Current).Length, 1, VmLog.MaxFileBytes);
        Assert.InRange(new FileInfo(log.Previous).Length, 1, VmLog.MaxFileBytes);
        Assert.Equal(2, Directory.GetFiles(_directory).Length);
        var numbers = Read(log, new LogQuery { Tail = int.MaxValue }).ConvertAll(text => int.Parse(text.Split(' ')[0]));
        Assert.Equal(Enumerable.Range(numbers[0], 12_000 - numbers[0]), numbers);
        Assert.True(numbers.Count > 4000);
    }

    [Fact]
    public void A_line_cut_short_is_skipped_and_does_not_spoil_the_next()
    {
        var log = new VmLog(_directory);
        log.Append([Line(1, "a")]);
        File.AppendAllText(log.Current, """{"stream":"stdout","li""");
        var again = new VmLog(_directory);
        again.Append([Line(2, "b")]);
        File.AppendAllText(log.Current, new string('x', 3 * LogSnapshot.MaxLine) + "\n");
        again.Append([Line(3, "c")]);

        Assert.Equal(["a", "b", "c"], Read(again, new LogQuery()));
    }

    [Fact]
    public void A_log_that_was_moved_deleted_or_cannot_be_written_harms_nobody()
    {
        var log = new VmLog(_directory);
        log.Append([Line(1, "a")]);
        File.Delete(log.Current);
        Assert.Null(log.Append([Line(2, "b")]));
        Assert.Equal(["b"], Read(log, new LogQuery()));

        var (snapshot, feed) = log.Follow();
        snapshot.Dispose();
        Directory.Delete(_directory, recursive: true);
        Assert.NotNull(log.Append([Line(3, "c")]));
        Assert.True(feed.TryTake(out var line));
        Assert.Equal("c", line.Line);
        Directory.CreateDirectory(_directory);
        Assert.Null(log.Append([Line(4, "d")]));
    }

    [Fact]
    public Task A_snapshot_and_its_feed_have_every_line_once_while_others_write() =>
        Gen.Int[1, 50].SampleAsync(
            async batches =>
            {
                var directory = Directory.CreateTempSubdirectory("vt-log-").FullName;
                var log = new VmLog(directory);
                var writing = Task.Run(() =>
                {
                    for (var i = 0; i < batches; i++)
                    {
                        log.Append([Line(2 * i, $"{2 * i}"), Line((2 * i) + 1, $"{(2 * i) + 1}")]);
                    }
                });
                var (snapshot, feed) = log.Follow();
                await writing;
                var seen = snapshot.Read(new LogQuery()).Select(line => line.Line).ToList();
                snapshot.Dispose();
                while (feed.TryTake(out var line))
                {
                    seen.Add(line.Line);
                }

                Directory.Delete(directory, recursive: true);
                return seen.SequenceEqual(Enumerable.Range(0, 2 * batches).Select(i => $"{i}"));
            },
            iter: 50);

    [Fact]
    public void A_follower_who_does_not_keep_up_is_cut_off_and_the_others_are_not()
    {
        var log = new VmLog(_directory);
        var (first, slow) = log.Follow();
        var (second, quick) = log.Follow();
        first.Dispose();
        second.Dispose();
        var taken = 0;
        for (var i = 0; i < VmLog.FollowerLines + 10; i++)
        {
            log.Append([Line(i, "x")]);
            taken += quick.TryTake(out _) ? 1 : 0;
        }

        Assert.True(slow.IsCut);
        Assert.False(quick.IsCut);
        Assert.Equal(VmLog.FollowerLines + 10, taken);
    }

    [Fact]
    public void A_console_log_that_grows_is_emptied_in_place_and_its_end_stays_readable()
    {
        var path = Path.Combine(_directory, "console.log");
        using var hypervisor = new FileStream(path, new FileStreamOptions { Mode = FileMode.Append, Access = FileAccess.Write, Share = FileShare.ReadWrite | FileShare.Delete, BufferSize = 0 });
        var lines = 0;
        while (hypervisor.Length <= ConsoleLimit.MaxBytes)
        {
            hypervisor.Write(Encoding.ASCII.GetBytes($"line {lines++} {new string('x', 1000)}\n"));
        }

        Assert.True(ConsoleLimit.Trim(path));
        Assert.False(ConsoleLimit.Trim(path));
        Assert.Equal(0, new FileInfo(path).Length);
        Assert.Equal(ConsoleLimit.KeptBytes, new FileInfo(LogTail.PreviousOf(path)).Length);
        File.AppendAllText(path, "after\n");
        Assert.Equal([$"line {lines - 1}", "after"], LogTail.Read(path, 2).Select(line => line.Split(" x")[0]));
        Assert.Equal(2, Directory.GetFiles(_directory).Length);
    }

    [Fact]
    public async Task A_watched_console_log_is_bounded_by_the_clock_and_at_the_end()
    {
        var clock = new Microsoft.Extensions.Time.Testing.FakeTimeProvider();
        using var limit = new ConsoleLimit(clock, NullLogger<ConsoleLimit>.Instance);
        var path = Path.Combine(_directory, "console.log");
        limit.Watch(path);
        await limit.StartAsync(TestContext.Current.CancellationToken);
        await File.WriteAllBytesAsync(path, new byte[ConsoleLimit.MaxBytes + 1], TestContext.Current.CancellationToken);
        while (new FileInfo(path).Length > 0)
        {
            clock.Advance(TimeSpan.FromSeconds(1));
            await Task.Yield();
        }

        await limit.StopAsync(TestContext.Current.CancellationToken);
        await File.WriteAllBytesAsync(path, new byte[ConsoleLimit.MaxBytes + 1], TestContext.Current.CancellationToken);
        limit.Release(path);
        Assert.Equal(0, new FileInfo(path).Length);
    }

    public void Dispose() => Directory.Delete(_directory, recursive: true);

    private static List<string> Read(VmLog log, LogQuery query)
    {
        using var snapshot = log.Open();
        return [.. snapshot.Read(query).Select(line => line.Line)];
    }

    private static LogLine Line(int number, string text, string stream = LogStreams.Stdout) =>
        new() { Id = $"e.{number}", Stream = stream, Line = text, Timestamp = Start.AddSeconds(number) };
}
