using System.Globalization;
using System.Text;
using Volant.Cli;

namespace Volant.Tests.Cli;

/// <summary>What one command line did.</summary>
internal sealed record CliResult(int ExitCode, string Output, string Error);

/// <summary>Runs the real command tree in this process, with streams, environment and clock of the test.</summary>
internal sealed class TestCli
{
    public Dictionary<string, string> Environment { get; } = new(StringComparer.Ordinal);

    public bool OutputIsTerminal { get; init; }

    public bool ErrorIsTerminal { get; init; }

    public int Width { get; init; } = 200;

    public string WorkingDirectory { get; init; } = "/";

    public string Root { get; init; } = "/";

    public TimeProvider Clock { get; init; } = new JumpingClock();

    public Stream? Output { get; init; }

    /// <summary>What is typed or piped.</summary>
    public Stream Input { get; init; } = Stream.Null;

    public bool InputIsTerminal { get; init; }

    /// <summary>What happened to the terminal: <c>raw</c> and <c>restored</c>, in their order.</summary>
    public List<string> Terminal { get; } = [];

    public static TestCli For(FakeDaemon daemon, TimeProvider? clock = null) => new() { Clock = clock ?? new JumpingClock(), Environment = { ["VOLANT_API_BASE"] = daemon.Address } };

    public Task<CliResult> RunAsync(params string[] args) => InterruptibleAsync(TestContext.Current.CancellationToken, args);

    public async Task<CliResult> InterruptibleAsync(CancellationToken cancellationToken, params string[] args)
    {
        using var output = new MemoryStream();
        using var error = new MemoryStream();
        var code = await Volar.RunAsync(
            args,
            new CliHost
            {
                Output = Output ?? output,
                Error = error,
                OutputIsTerminal = OutputIsTerminal,
                ErrorIsTerminal = ErrorIsTerminal,
                TerminalSize = () => (Width, 24),
                OpenInput = () => Input,
                InputIsTerminal = InputIsTerminal,
                EnterRawMode = () => new FakeMode(Terminal),
                WatchSize = _ => new FakeMode([]),
                Environment = name => Environment.GetValueOrDefault(name),
                WorkingDirectory = WorkingDirectory,
                Root = Root,
                Clock = Clock,
                CatchInterrupts = () => { },
            },
            cancellationToken);
        return new CliResult(code, Encoding.UTF8.GetString(output.ToArray()), Encoding.UTF8.GetString(error.ToArray()));
    }
}

/// <summary>A terminal's mode that is only written down.</summary>
internal sealed class FakeMode : IDisposable
{
    private readonly List<string> _log;
    private bool _restored;

    public FakeMode(List<string> log)
    {
        _log = log;
        _log.Add("raw");
    }

    public void Dispose()
    {
        if (!_restored)
        {
            _restored = true;
            _log.Add("restored");
        }
    }
}

/// <summary>
/// A clock that stands still, except that a timer of at most <paramref name="jump"/> fires at once and moves the clock to its due time:
/// a pause costs no time, and a limit is reached exactly when the pauses add up to it.
/// </summary>
internal sealed class JumpingClock(TimeSpan? jump = null) : TimeProvider
{
    private readonly TimeSpan _jump = jump ?? TimeSpan.FromSeconds(1);
    private long _ticks = (FakeAnswers.Created + TimeSpan.FromMinutes(90)).UtcTicks;

    public override long TimestampFrequency => TimeSpan.TicksPerSecond;

    public override DateTimeOffset GetUtcNow() => new(Interlocked.Read(ref _ticks), TimeSpan.Zero);

    public override long GetTimestamp() => Interlocked.Read(ref _ticks);

    public override ITimer CreateTimer(TimerCallback callback, object? state, TimeSpan dueTime, TimeSpan period)
    {
        var timer = new Timer(this, callback, state);
        timer.Change(dueTime, period);
        return timer;
    }

    public override string ToString() => GetUtcNow().ToString(CultureInfo.InvariantCulture);

    private sealed class Timer(JumpingClock clock, TimerCallback callback, object? state) : ITimer
    {
        public bool Change(TimeSpan dueTime, TimeSpan period)
        {
            if (dueTime >= TimeSpan.Zero && dueTime <= clock._jump)
            {
                Interlocked.Add(ref clock._ticks, dueTime.Ticks);
                ThreadPool.UnsafeQueueUserWorkItem(_ => callback(state), state: null);
            }

            return true;
        }

        public void Dispose()
        {
        }

        public ValueTask DisposeAsync() => ValueTask.CompletedTask;
    }
}
