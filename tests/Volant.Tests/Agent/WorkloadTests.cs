using System.Buffers.Binary;
using System.Collections.Concurrent;
using System.Text;
using CsCheck;
using Microsoft.Extensions.Time.Testing;
using Volant.Agent;
using Volant.Agent.Http;
using Volant.Agent.Power;
using Volant.Agent.Workloads;
using Volant.Contracts.Api;
using Volant.Linux.Processes;

namespace Volant.Tests.Agent;

public sealed class WorkloadTests : IDisposable
{
    private readonly ConcurrentQueue<string> _lines = new();
    private readonly FakeTimeProvider _clock = new();
    private readonly ConsoleLog _console;
    private readonly OutputLog _log = new(TimeProvider.System);
    private readonly AgentStatus _status;
    private readonly CancellationTokenSource _stop = new();

    public WorkloadTests()
    {
        _console = new ConsoleLog(line => _lines.Enqueue(Encoding.UTF8.GetString(line).TrimEnd('\n')));
        _status = new AgentStatus(_clock);
    }

    private static Task<string?> NoCommand(IReadOnlyList<string> command, CancellationToken cancellationToken) => throw new NotSupportedException();

    private static CancellationToken Token => TestContext.Current.CancellationToken;

    [Fact]
    public void Waits_double_to_half_a_minute_and_start_again_after_health()
    {
        var backoff = new Backoff(_clock);
        Assert.Equal([1, 2, 4, 8, 16, 30, 30, 30], Enumerable.Range(0, 8).Select(_ => (int)backoff.Failed().TotalSeconds));

        backoff.Health(isHealthy: true);
        _clock.Advance(TimeSpan.FromSeconds(9));
        Assert.Equal(30, backoff.Failed().TotalSeconds);

        backoff.Health(isHealthy: true);
        _clock.Advance(TimeSpan.FromSeconds(10));
        backoff.Health(isHealthy: true);
        Assert.Equal(1, backoff.Failed().TotalSeconds);
    }

    [Fact]
    public async Task A_workload_that_exits_is_started_again_after_growing_waits()
    {
        using var supervisor = Supervise(["/bin/sh", "-c", "echo out; echo err >&2; exit 3"]);
        var running = supervisor.RunAsync(_stop.Token);

        for (var i = 0; i < 4; i++)
        {
            var state = await UntilAsync(s => s.Workload is { Status: WorkloadStatus.Backoff } w && w.Restarts == i);
            Assert.Equal(3, state.Workload.ExitCode);
            Assert.False(state.Ready);
            Assert.Contains($"again in {1 << i} s", state.Workload.Message, StringComparison.Ordinal);
            _clock.Advance(TimeSpan.FromSeconds((1 << i) - 0.5));
            Assert.Equal(WorkloadStatus.Backoff, _status.Current.Workload.Status);
            _clock.Advance(TimeSpan.FromSeconds(0.5));
        }

        await UntilAsync(s => s.Workload is { Status: WorkloadStatus.Backoff, Restarts: 4 });
        await _stop.CancelAsync();
        await running.WaitAsync(Token);
        Assert.Equal(WorkloadStatus.Stopped, _status.Current.Workload.Status);
        _console.Flush(TimeSpan.FromSeconds(5));
        Assert.Contains("out", _lines);
        Assert.Contains("err", _lines);
    }

    [Fact]
    public async Task A_program_that_does_not_exist_is_told_and_tried_again()
    {
        using var supervisor = Supervise(["/nowhere/program"]);
        var running = supervisor.RunAsync(_stop.Token);

        var state = await UntilAsync(s => s.Workload.Status == WorkloadStatus.Failed);
        Assert.Contains("/nowhere/program", state.Workload.Message, StringComparison.Ordinal);
        Assert.Contains("workload.entrypoint", state.Workload.Message, StringComparison.Ordinal);
        _clock.Advance(TimeSpan.FromSeconds(1));
        await UntilAsync(s => s.Workload is { Status: WorkloadStatus.Failed, Restarts: 1 });

        await _stop.CancelAsync();
        await running.WaitAsync(Token);
    }

    [Fact]
    public async Task Stopping_ends_the_workload_and_what_it_started()
    {
        using var supervisor = Supervise(["/bin/sh", "-c", "sleep 1000 & echo child $!; wait"]);
        var running = supervisor.RunAsync(_stop.Token);
        var pid = (await UntilAsync(s => s.Workload.Status == WorkloadStatus.Running)).Workload.Pid!.Value;
        var child = int.Parse((await LineAsync("child ")).Split(' ')[1]);

        await _stop.CancelAsync();
        await running.WaitAsync(Token);

        Assert.Equal(15, _status.Current.Workload.Signal);
        Assert.Null(ProcessIdentity.Find(pid));
        await GoneAsync(child);
    }

    [Fact]
    public async Task A_workload_that_ignores_SIGTERM_is_killed_after_the_grace()
    {
        using var supervisor = Supervise(["/bin/sh", "-c", "trap '' TERM; echo deaf; while :; do sleep 1000; done"]);
        var running = supervisor.RunAsync(_stop.Token);
        await LineAsync("deaf");

        await _stop.CancelAsync();
        while (!running.IsCompleted)
        {
            _clock.Advance(WorkloadSupervisor.StopGrace);
            await Task.Yield();
        }

        await running.WaitAsync(Token);
        Assert.Equal(9, _status.Current.Workload.Signal);
    }

    [Fact]
    public async Task Readiness_follows_the_health_check()
    {
        await using var server = new CannedServer("HTTP/1.1 200 OK\r\n\r\nok");
        using var supervisor = Supervise(["/bin/sh", "-c", "sleep 1000"], server.Url);
        var running = supervisor.RunAsync(_stop.Token);

        await UntilAsync(s => s.Ready);
        await server.DisposeAsync();
        while (_status.Current.Ready)
        {
            _clock.Advance(TimeSpan.FromSeconds(5));
            await Task.Yield();
        }

        Assert.Contains("health check", _status.Current.Workload.Message, StringComparison.Ordinal);
        await _stop.CancelAsync();
        await running.WaitAsync(Token);
    }

    [Fact]
    public async Task Only_good_answers_are_healthy()
    {
        foreach (var (answer, isHealthy) in new[]
        {
            ("HTTP/1.1 200 OK\r\n\r\n", true), ("HTTP/1.1 302 Found\r\n\r\n", true), ("HTTP/1.1 404 No\r\n\r\n", false), ("HTTP/1.1 503 No\r\n\r\n", false), ("nonsense", false),
        })
        {
            await using var server = new CannedServer(answer);
            var probe = new HealthProbe(WorkloadTarget.Parse(server.Url.ToString()), new() { Endpoint = "/h" }, NoCommand, TimeProvider.System);
            Assert.Equal(isHealthy, await probe.ProbeAsync(Token) is null);
        }

        await using var silent = new CannedServer(string.Empty);
        Assert.Null(await new HealthProbe(WorkloadTarget.Parse(silent.Url.ToString()), null, NoCommand, TimeProvider.System).ProbeAsync(Token));
        Assert.NotNull(await new HealthProbe(WorkloadTarget.Parse("http://127.0.0.1:1"), null, NoCommand, TimeProvider.System).ProbeAsync(Token));
    }

    [Fact]
    public async Task A_port_a_command_or_running_alone_can_say_that_a_workload_is_ready()
    {
        await using var server = new CannedServer(string.Empty);
        Assert.Null(await Probe(new() { Port = server.Url.Port }).ProbeAsync(Token));
        Assert.Contains("connect 127.0.0.1:1", await Probe(new() { Port = 1 }).ProbeAsync(Token), StringComparison.Ordinal);
        Assert.Null(await Probe(null).ProbeAsync(Token));
        Assert.Null(await Probe(new() { Command = ["/bin/sh", "-c", "test \"$A\" = b"] }).ProbeAsync(Token));
        Assert.Contains("exited with code 3", await Probe(new() { Command = ["/bin/sh", "-c", "exit 3"] }).ProbeAsync(Token), StringComparison.Ordinal);
        Assert.Contains("/no/such", await Probe(new() { Command = ["/no/such"] }).ProbeAsync(Token), StringComparison.Ordinal);
        Assert.Contains("within 50 ms", await Probe(new() { Command = ["/bin/sleep", "1000"], TimeoutMs = 50 }).ProbeAsync(Token), StringComparison.Ordinal);

        static HealthProbe Probe(Volant.Contracts.Manifests.HealthCheck? check)
        {
            var command = new WorkloadCommand(["/bin/x"], "/", ["A=b"]);
            var reaper = new ChildReaper(reapsAll: false);
            return new HealthProbe(null, check, (arguments, cancellationToken) => command.CheckAsync(arguments, reaper, cancellationToken), TimeProvider.System);
        }
    }

    [Fact]
    public async Task Every_child_gets_its_own_exit_code_and_foreign_children_are_left_alone()
    {
        var reaper = new ChildReaper(reapsAll: false);
        var foreign = ProcessSpawner.Spawn(new SpawnRequest { Arguments = ["/bin/sh", "-c", "exit 77"] });
        var children = Enumerable.Range(0, 20).Select(i => (Code: i, Child: reaper.Spawn(new SpawnRequest { Arguments = ["/bin/sh", "-c", $"exit {i}"] }))).ToArray();

        foreach (var (code, child) in children)
        {
            Assert.Equal(new ProcessExit(child.Pid, code, null), await child.WaitForExitAsync().WaitAsync(Token));
            Assert.False(child.Signal(9));
        }

        Assert.True(ProcessWait.Peek(foreign));
        Assert.Equal(77, ProcessWait.TryReap(foreign, out _)?.ExitCode);
    }

    [Fact]
    public async Task What_a_child_leaves_behind_in_its_group_ends_with_it()
    {
        var reaper = new ChildReaper(reapsAll: false);
        using var output = new OutputRelay(_console, _log, TimeProvider.System);
        var child = reaper.Spawn(new SpawnRequest
        {
            Arguments = ["/bin/sh", "-c", "sleep 1000 & echo left $!"],
            Environment = ["PATH=/usr/bin:/bin"],
            StandardOutput = output.Output,
        });
        output.Start();

        Assert.Equal(0, (await child.WaitForExitAsync().WaitAsync(Token)).ExitCode);
        await GoneAsync(int.Parse((await LineAsync("left ")).Split(' ')[1]));
    }

    [Fact]
    public void Lines_end_at_line_ends_and_at_the_limit_however_they_arrive() =>
        Gen.Select(Gen.Int[0, 3 * LineSplitter.MaxLine].Array[0, 5], Gen.Int[1, 20_000], Gen.Bool).Sample((lengths, step, crlf) =>
        {
            var lines = lengths.Select((l, i) => new string((char)('a' + i), l)).ToArray();
            var text = string.Concat(lines.Select(l => l + (crlf ? "\r\n" : "\n"))) + "rest";

            Assert.Equal([.. lines.SelectMany(Pieces), "rest"], Split(Encoding.ASCII.GetBytes(text), step));
        });

    [Fact]
    public void A_long_line_is_never_cut_within_a_character() =>
        Gen.Select(Gen.Int[0, 3], Gen.OneOf(Gen.Const("é"), Gen.Const("€"), Gen.Const("😀")), Gen.Int[1, 9000]).Sample((shift, letter, step) =>
        {
            var line = new string('x', shift) + string.Concat(Enumerable.Repeat(letter, 10_000));
            var pieces = Split(Encoding.UTF8.GetBytes(line + "\n"), step);
            Assert.Equal(line, string.Concat(pieces));
            Assert.True(pieces.Count > 1);
        });

    private static IEnumerable<string> Pieces(string line) =>
        line.Length == 0 ? [string.Empty] : line.Chunk(LineSplitter.MaxLine).Select(piece => new string(piece));

    private static List<string> Split(byte[] bytes, int step)
    {
        var got = new List<string>();
        var splitter = new LineSplitter(l => got.Add(new UTF8Encoding(false, throwOnInvalidBytes: true).GetString(l.AsSpan()[..^1])));
        foreach (var piece in bytes.Chunk(step))
        {
            splitter.Feed(piece);
        }

        splitter.Finish();
        return got;
    }

    [Fact]
    public void A_slow_console_loses_lines_and_says_how_many()
    {
        using var gate = new SemaphoreSlim(0);
        var lines = new ConcurrentQueue<string>();
        using var console = new ConsoleLog(line =>
        {
            gate.Wait(CancellationToken.None);
            lines.Enqueue(Encoding.UTF8.GetString(line));
        });
        var line = new byte[8192];
        line[^1] = (byte)'\n';
        for (var i = 0; i < 100; i++)
        {
            console.Write(line);
        }

        console.Say("amid");
        gate.Release(1000);
        console.Flush(TimeSpan.FromSeconds(10));
        console.Say("after");
        console.Flush(TimeSpan.FromSeconds(10));

        Assert.Equal("kestrel: after\n", lines.Last());
        var told = lines.Single(l => l.Contains("lines dropped", StringComparison.Ordinal));
        Assert.Contains("kestrel: amid\n", lines, StringComparer.Ordinal);
        Assert.Equal(100, lines.Count - 3 + int.Parse(told.Split(' ')[1]));
    }

    [Fact]
    public async Task A_reader_of_the_state_gets_each_change_or_the_state_when_time_is_up()
    {
        var version = _status.Current.Revision;
        var waiting = _status.WaitAsync(version, TimeSpan.FromSeconds(30), Token);
        Assert.False(waiting.IsCompleted);
        _status.Note("Odd.");
        Assert.Equal(version + 1, (await waiting).Revision);

        var patient = _status.WaitAsync(version + 1, TimeSpan.FromSeconds(30), Token);
        _clock.Advance(TimeSpan.FromSeconds(30));
        Assert.Equal(version + 1, (await patient).Revision);
        Assert.Equal(version + 1, (await _status.WaitAsync(0, TimeSpan.Zero, Token)).Revision);
        Assert.StartsWith("Odd.", _status.Current.Workload.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Only_a_press_of_the_power_key_counts()
    {
        Assert.True(PowerButton.IsPress([.. Event(0, 0, 0), .. Event(1, 116, 1)]));
        Assert.False(PowerButton.IsPress([.. Event(1, 116, 0), .. Event(1, 30, 1), .. Event(4, 116, 1)]));
        Assert.False(PowerButton.IsPress(Event(1, 116, 1).AsSpan(0, 23)));
    }

    public void Dispose()
    {
        _stop.Dispose();
        _console.Dispose();
    }

    private static byte[] Event(ushort type, ushort code, int value)
    {
        var bytes = new byte[24];
        BinaryPrimitives.WriteUInt16LittleEndian(bytes.AsSpan(16), type);
        BinaryPrimitives.WriteUInt16LittleEndian(bytes.AsSpan(18), code);
        BinaryPrimitives.WriteInt32LittleEndian(bytes.AsSpan(20), value);
        return bytes;
    }

    private static async Task GoneAsync(int pid)
    {
        while (ProcessIdentity.Find(pid) is not null)
        {
            Token.ThrowIfCancellationRequested();
            await Task.Yield();
        }
    }

    private WorkloadSupervisor Supervise(string[] entrypoint, Uri? baseUrl = null)
    {
        var target = WorkloadTarget.Parse(baseUrl?.ToString() ?? "http://127.0.0.1:1");
        var command = new WorkloadCommand(entrypoint, "/", ["PATH=/usr/bin:/bin"]);
        return new WorkloadSupervisor(command, new HealthProbe(target, null, NoCommand, _clock), new ChildReaper(reapsAll: false), _status, _console, _log, _clock, () => 0);
    }

    private async Task<AgentState> UntilAsync(Func<AgentState, bool> condition)
    {
        var state = _status.Current;
        while (!condition(state))
        {
            state = await _status.WaitAsync(state.Revision, TimeSpan.FromHours(10), Token);
        }

        return state;
    }

    private async Task<string> LineAsync(string prefix)
    {
        while (true)
        {
            if (_lines.FirstOrDefault(l => l.StartsWith(prefix, StringComparison.Ordinal)) is { } line)
            {
                return line;
            }

            Token.ThrowIfCancellationRequested();
            await Task.Yield();
        }
    }
}
