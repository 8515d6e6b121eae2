using Microsoft.Win32.SafeHandles;
using Volant.Linux.IO;
using Volant.Linux.Kernel;

namespace Volant.Agent.Workloads;

/// <summary>Carries one run's standard output and error, line by line, to the log and the console.</summary>
internal sealed class OutputRelay : IDisposable
{
    private const int ReadSize = 16 * 1024;

    /// <summary>How long <see cref="DrainAsync"/> waits for a stray process that keeps a pipe open.</summary>
    private static readonly TimeSpan DrainLimit = TimeSpan.FromMilliseconds(250);

    /// <summary>Work on output after which its reader rests for as long.</summary>
    private static readonly TimeSpan LongestWork = TimeSpan.FromMilliseconds(10);

    private readonly ConsoleLog _console;
    private readonly OutputLog _log;
    private readonly TimeProvider _clock;
    private readonly (SafeFileHandle Read, SafeFileHandle Write) _output = Pipes.Create();
    private readonly (SafeFileHandle Read, SafeFileHandle Write) _error = Pipes.Create();
    private readonly List<FdStream> _streams = [];
    private Task _carrying = Task.CompletedTask;

    /// <summary>Makes the pipes.</summary>
    /// <exception cref="System.ComponentModel.Win32Exception">Too many open files.</exception>
    public OutputRelay(ConsoleLog console, OutputLog log, TimeProvider clock)
    {
        _console = console;
        _log = log;
        _clock = clock;
    }

    /// <summary>For standard output of the run.</summary>
    public SafeFileHandle Output => _output.Write;

    /// <summary>For standard error of the run.</summary>
    public SafeFileHandle Error => _error.Write;

    /// <summary>Starts to carry lines, once the run has its own copy of the ends that it writes to.</summary>
    public void Start()
    {
        Output.Dispose();
        Error.Dispose();
        _carrying = Task.WhenAll(CarryAsync(Own(_output.Read), isError: false), CarryAsync(Own(_error.Read), isError: true));
    }

    /// <summary>Waits, once the run has ended, until all that it wrote is carried; a short while at most.</summary>
    public async Task DrainAsync()
    {
        try
        {
            await _carrying.WaitAsync(DrainLimit, _clock);
        }
        catch (TimeoutException)
        {
            // A process outside the run's group holds a pipe; what it may still write is not the run's.
        }
    }

    /// <summary>Closes the pipes: what a stray process still writes gets it a SIGPIPE.</summary>
    public void Dispose()
    {
        Output.Dispose();
        Error.Dispose();
        _output.Read.Dispose();
        _error.Read.Dispose();
        foreach (var stream in _streams)
        {
            stream.Dispose();
        }
    }

    private FdStream Own(SafeFileHandle end)
    {
        var stream = FdStream.Own(end);
        _streams.Add(stream);
        return stream;
    }

    private async Task CarryAsync(FdStream stream, bool isError)
    {
        var lines = new LineSplitter(line =>
        {
            _log.Add(isError, line);
            _console.Write(line);
        });
        var buffer = new byte[ReadSize];
        try
        {
            var work = TimeSpan.Zero;
            while (true)
            {
                var start = _clock.GetTimestamp();
                var count = await stream.ReadAsync(buffer);
                var read = _clock.GetTimestamp();
                if (count == 0)
                {
                    break;
                }

                lines.Feed(buffer.AsSpan(0, count));

                // A run that writes without end waits for its pipe; it does not make the agent take the processor from it.
                work = Max(TimeSpan.Zero, work - _clock.GetElapsedTime(start, read)) + _clock.GetElapsedTime(read);
                if (work > LongestWork)
                {
                    await Task.Delay(work, _clock);
                    work = TimeSpan.Zero;
                }
            }
        }
        catch (Exception e) when (e is IOException or ObjectDisposedException)
        {
            // Closed for the next run.
        }

        lines.Finish();
    }

    private static TimeSpan Max(TimeSpan a, TimeSpan b) => a > b ? a : b;
}
