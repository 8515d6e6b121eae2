using Microsoft.Win32.SafeHandles;
using Volant.Linux.IO;
using Volant.Linux.Kernel;

namespace Volant.Agent.Workloads;

/// <summary>Carries one run's standard output and error, line by line, to the console.</summary>
internal sealed class OutputRelay : IDisposable
{
    private const int ReadSize = 16 * 1024;

    private readonly ConsoleLog _console;
    private readonly (SafeFileHandle Read, SafeFileHandle Write) _output = Pipes.Create();
    private readonly (SafeFileHandle Read, SafeFileHandle Write) _error = Pipes.Create();
    private readonly List<FdStream> _streams = [];

    /// <summary>Makes the pipes.</summary>
    /// <exception cref="System.ComponentModel.Win32Exception">Too many open files.</exception>
    public OutputRelay(ConsoleLog console) => _console = console;

    /// <summary>For standard output of the run.</summary>
    public SafeFileHandle Output => _output.Write;

    /// <summary>For standard error of the run.</summary>
    public SafeFileHandle Error => _error.Write;

    /// <summary>Starts to carry lines, once the run has its own copy of the ends that it writes to.</summary>
    public void Start()
    {
        Output.Dispose();
        Error.Dispose();
        foreach (var end in new[] { _output.Read, _error.Read })
        {
            var stream = FdStream.Own(end);
            _streams.Add(stream);
            _ = CarryAsync(stream);
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

    private async Task CarryAsync(FdStream stream)
    {
        var lines = new LineSplitter(_console.Write);
        var buffer = new byte[ReadSize];
        try
        {
            int count;
            while ((count = await stream.ReadAsync(buffer)) > 0)
            {
                lines.Feed(buffer.AsSpan(0, count));
            }
        }
        catch (Exception e) when (e is IOException or ObjectDisposedException)
        {
            // Closed for the next run.
        }

        lines.Finish();
    }
}
